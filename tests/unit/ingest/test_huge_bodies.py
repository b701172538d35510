"""Bodies that consist of very many items, or of nothing but commas: what they cost, and what becomes of them."""

import asyncio
import hashlib
import time
import tracemalloc
from unittest.mock import patch

import msgspec
import pytest

import ingest.app
import ingest.splitting
from ingest.pieces import MAX_TOKENS, tokens
from ingest.splitting import LOOP_TOKENS, Splitter
from schemas.couriers import COURIERS
from schemas.couriers.base import MAX_ITEMS, Courier, WebhookItem
from tests.unit.ingest.doors import CREDENTIALS, DASH, KIRIMINAJA, FakePublisher, RunningDoor
from tests.waiting import DEADLINE

LIMIT = 1_048_576


def body_of(item: bytes, count: int) -> bytes:
    return b'{"method":"shipped_packages","data":[%s]}' % b",".join([item] * count)


def filled(opening: bytes, filling: bytes, closing: bytes = b"") -> bytes:
    """Make a body of the limit."""
    return opening + filling * ((LIMIT - len(opening) - len(closing)) // len(filling)) + closing


HUGE = {
    "empty objects": filled(b'{"method":"shipped_packages","data":[', b"{},", b"{}]}"),
    "numbers": filled(b'{"method":"shipped_packages","data":[', b"1,", b"1]}"),
    "items and packages": filled(b'{"method":"m","data":[{}],"packages":[', b"{},", b"{}]}"),
    "members": filled(b"{", b'"":1,', b'"":1}'),
    "commas": filled(b"", b","),
    "brackets": filled(b"", b"["),
    "braces": filled(b"", b'{"":'),
    "commas in a text": filled(b'{"deliveryID":"', b",", b'"}'),
    "no JSON after all": filled(b'{"method":"shipped_packages","data":[', b"{},", b"{}]"),
    "short items": filled(b'{"method":"shipped_packages","data":[', b'{"awb":"A"},', b"{}]}"),
}


@pytest.mark.parametrize("courier", sorted(COURIERS))
@pytest.mark.parametrize("kind", HUGE)
async def test_a_huge_body_is_kept_whole_as_one_record(
    door: RunningDoor, publisher: FakePublisher, kind: str, courier: str
) -> None:
    body = HUGE[kind]
    headers = CREDENTIALS[courier] | {"Content-Type": "application/json; x=" + "y" * 8_000}
    answer = await door.post(f"/webhooks/{courier}", body, headers)
    assert (answer.status, msgspec.json.decode(answer.body)["records"]) == (200, 1)
    (record,) = publisher.records
    assert record.value == body
    assert record.key == hashlib.blake2b(body, digest_size=16).hexdigest().encode()
    (content_type,) = [value for name, value in record.headers if name == "content-type"]
    assert len(content_type) == ingest.app.CONTENT_TYPE_CHARACTERS


@pytest.mark.parametrize(("count", "records"), [(MAX_ITEMS, MAX_ITEMS), (MAX_ITEMS + 1, 1)])
async def test_the_most_items_are_split(door: RunningDoor, publisher: FakePublisher, count: int, records: int) -> None:
    answer = await door.post("/webhooks/kiriminaja", body_of(b'{"awb":"A"}', count), KIRIMINAJA)
    assert (answer.status, msgspec.json.decode(answer.body)["records"]) == (200, records)
    assert len(publisher.records) == records


async def test_items_and_packages_that_do_not_match_are_counted_together(
    door: RunningDoor, publisher: FakePublisher
) -> None:
    items, packages = ([b'{"awb":"%s%d"}' % (name, at) for at in range(MAX_ITEMS // 2 + 1)] for name in (b"A", b"B"))
    body = b'{"method":"m","data":[%s],"packages":[%s]}' % (b",".join(items), b",".join(packages))
    assert (await door.post("/webhooks/kiriminaja", body, KIRIMINAJA)).status == 200
    assert [record.value for record in publisher.records] == [body]


async def test_other_webhooks_are_answered_while_a_long_one_is_split(
    door: RunningDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is long is split in a thread: here it takes until another webhook has been answered."""
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()
    courier = COURIERS["kiriminaja"]
    split = courier.split

    def slow(body: bytes) -> list[WebhookItem]:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(answered.wait(), DEADLINE), loop).result()
        return split(body)

    monkeypatch.setattr(type(courier), "split", staticmethod(slow))
    long = asyncio.create_task(door.post("/webhooks/kiriminaja", body_of(b'{"awb":"A"}', 2_000), KIRIMINAJA))
    assert (await door.post("/webhooks/dash", b'{"deliveryID":"D"}', DASH)).status == 200
    assert not long.done()
    answered.set()
    assert (await long).status == 200


async def test_a_body_that_waits_too_long_for_its_splitting_is_told_to_come_later(
    door: RunningDoor, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.splitting, "SPLIT_SECONDS", 0.05)

    def slow(body: bytes) -> list[WebhookItem]:
        time.sleep(0.3)
        return [WebhookItem(body, None)]

    monkeypatch.setattr(type(COURIERS["kiriminaja"]), "split", staticmethod(slow))
    answer = await door.post("/webhooks/kiriminaja", body_of(b"{}", 2_000), KIRIMINAJA)
    answer.assert_problem(503)
    assert int(answer.headers["Retry-After"]) > 0
    assert publisher.records == []


@pytest.mark.parametrize("courier", COURIERS.values(), ids=lambda courier: courier.name)
async def test_what_a_split_costs_is_bounded(courier: Courier) -> None:
    """Memory, as time depends on the machine: some tens of megabytes, not gigabytes."""
    splitter = Splitter()
    most = body_of(b'{"awb":"A"}', MAX_ITEMS)
    for body in (HUGE["short items"], HUGE["commas"], most):
        tracemalloc.start()
        try:
            with patch.object(ingest.splitting, "SPLIT_SECONDS", DEADLINE):
                await splitter.split(courier, body)
            assert tracemalloc.get_traced_memory()[1] < 60_000_000
        finally:
            tracemalloc.stop()


def test_a_usual_body_is_split_at_once() -> None:
    body = b'{"method":"finished_packages","data":[{"order_id":"A","awb":"B","finished_at":"2026-11-24 10:00:00"}]}'
    assert tokens(body) < LOOP_TOKENS / 10
    real = body_of(
        b'{"order_id":"ORDER-1","awb":"A-1","shipped_at":"2026-11-24 10:00:00","service":"x","cod":0}', 9_999
    )
    assert len(real) < LIMIT
    assert tokens(real) < MAX_TOKENS / 2
