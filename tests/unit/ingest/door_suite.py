"""What couriers rely on, whatever keeps the records. One suite for the fake and for the real broker."""

import gzip
import hashlib
import uuid
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from schemas.couriers import COURIERS
from schemas.partitioning import partition_of
from schemas.times import read_time
from tests.unit.ingest.doors import CREDENTIALS, DASH, KIRIMINAJA, Kept, RunningDoor, Store
from tests.unit.schemas.examples import SAMPLES

PARTITIONS = 4
DELIVERY = b'{ "deliveryID":"DE-1", "status":"VERIFIED" }'


def header(record: Kept, name: str) -> str | None:
    return next((value.decode() for key, value in record.headers if key == name), None)


class DoorSuite:
    """Needs the fixtures `door`, a RunningDoor of the settings in `doors`, and `store`."""

    async def test_a_webhook_is_kept_byte_for_byte(self, door: RunningDoor, store: Store) -> None:
        before = datetime.now(UTC)
        answer = await door.post("/webhooks/dash", DELIVERY, DASH | {"Content-Type": "application/json; x=y"})
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert "Server" not in answer.headers
        accepted = msgspec.json.decode(answer.body)
        assert answer.body == msgspec.json.encode(
            {"status": "accepted", "webhook_id": accepted["webhook_id"], "records": 1}
        )
        assert uuid.UUID(accepted["webhook_id"]).version == 4
        (record,) = await store.kept(1)
        assert record.value == DELIVERY
        assert record.key == b"dash:DE-1"
        assert record.partition == partition_of(b"dash:DE-1", PARTITIONS)
        received_at = header(record, "received-at")
        assert received_at is not None
        assert record.headers == [
            ("courier", b"dash"),
            ("webhook-id", accepted["webhook_id"].encode()),
            ("item", b"1/1"),
            ("received-at", received_at.encode()),
            ("source", b"push"),
            ("content-type", b"application/json; x=y"),
        ]
        received = read_time(received_at, UTC)
        assert received is not None
        assert before <= received[0] <= datetime.now(UTC)
        assert record.timestamp_ms == (received[0] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    async def test_items_become_records_of_their_own(self, door: RunningDoor, store: Store) -> None:
        body = b'{"method":"shipped_packages","data":[{"order_id":"A", "x": 1.0},{"order_id":"B"},{"awb":"C"}]}'
        answer = await door.post("/webhooks/kiriminaja", body, KIRIMINAJA)
        assert msgspec.json.decode(answer.body)["records"] == 3
        kept = sorted(await store.kept(3), key=lambda record: header(record, "item") or "")
        assert [record.key for record in kept] == [b"kiriminaja:A", b"kiriminaja:B", b"kiriminaja:C"]
        assert [header(record, "item") for record in kept] == ["1/3", "2/3", "3/3"]
        assert b'{"order_id":"A", "x": 1.0}' in kept[0].value
        assert len({header(record, "webhook-id") for record in kept}) == 1
        assert all(record.partition == partition_of(record.key, PARTITIONS) for record in kept)

    @pytest.mark.parametrize(
        "body",
        [b"not json", b" ", b"\x00\xff\xfe", b'{"deliveryID":', b"[]", b"null", b'{"deliveryID":7}', b"[" * 5000],
    )
    @pytest.mark.parametrize("courier", sorted(COURIERS))
    async def test_what_is_no_webhook_is_kept_as_it_came(
        self, door: RunningDoor, store: Store, courier: str, body: bytes
    ) -> None:
        answer = await door.post(f"/webhooks/{courier}", body, CREDENTIALS[courier])
        assert answer.status == 200
        (record,) = await store.kept(1)
        assert record.value == body
        assert record.key == hashlib.blake2b(body, digest_size=16).hexdigest().encode()

    @pytest.mark.parametrize(
        ("encoding", "pack"),
        [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
    )
    async def test_compressed_bodies_are_kept_decompressed(
        self, door: RunningDoor, store: Store, encoding: str, pack: Callable[[bytes], bytes]
    ) -> None:
        answer = await door.post("/webhooks/dash", pack(DELIVERY), DASH | {"Content-Encoding": encoding})
        assert answer.status == 200
        (record,) = await store.kept(1)
        assert record.value == DELIVERY

    async def test_every_sample_is_accepted(self, door: RunningDoor, store: Store) -> None:
        total = 0
        for courier, body in ((name.partition("/")[0], path.read_bytes()) for name, path in SAMPLES.items()):
            answer = await door.post(f"/webhooks/{courier}", body, CREDENTIALS[courier])
            assert answer.status == 200
            total += msgspec.json.decode(answer.body)["records"]
        assert {header(record, "courier") for record in await store.kept(total)} == set(COURIERS)

    async def test_a_body_of_just_the_limit_is_kept(self, door: RunningDoor, store: Store) -> None:
        body = DELIVERY + b" " * (1_048_576 - len(DELIVERY))
        assert (await door.post("/webhooks/dash", body, DASH)).status == 200
        (record,) = await store.kept(1)
        assert record.value == body

    async def test_a_bulk_body_of_ten_thousand_items_is_kept(self, door: RunningDoor, store: Store) -> None:
        items = ",".join(
            f'{{"order_id":"ORDER-{n:07}","awb":"AWB-{n:07}","shipped_at":"2024-12-27 22:00:00"}}'
            for n in range(10_000)
        )
        body = f'{{"method":"shipped_packages","data":[{items}]}}'.encode()
        answer = await door.post("/webhooks/kiriminaja", body, KIRIMINAJA)
        assert answer.status == 200
        assert msgspec.json.decode(answer.body)["records"] == 10_000
        kept = await store.kept(10_000)
        assert len({record.key for record in kept}) == 10_000
        for partition in range(PARTITIONS):
            places = [
                int((header(record, "item") or "0").split("/")[0]) for record in kept if record.partition == partition
            ]
            assert places == sorted(places)

    async def test_nothing_refused_is_kept(self, door: RunningDoor, store: Store) -> None:
        wrong = {"X-Dash-Secret": "guess"}
        (await door.post("/webhooks/dash", DELIVERY, wrong)).assert_problem(401)
        (await door.post("/webhooks/dash", DELIVERY, KIRIMINAJA)).assert_problem(401)
        (await door.post("/webhooks/dash", b"", DASH)).assert_problem(400)
        (await door.post("/webhooks/dash", bytes(1_048_577), DASH)).assert_problem(413)
        (await door.post("/webhooks/dash", DELIVERY, DASH | {"Content-Encoding": "gzip"})).assert_problem(400)
        (await door.post("/webhooks/nobody", DELIVERY, DASH)).assert_problem(404)
        assert (await door.post("/webhooks/dash", DELIVERY, DASH)).status == 200
        (record,) = await store.kept(1)
        assert record.value == DELIVERY
