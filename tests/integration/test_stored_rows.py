"""Rows in the forms of today and of older versions, and what shipments are found by, on the database alone."""

import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest_asyncio

from operators.decisions.anomalies import Wanted, anomalies
from operators.shared.appending import decision_record
from operators.shared.finding import find_shipment
from processor.core.cursor import Cursor, Fingerprint, Stream
from processor.core.outputs import Output
from processor.core.plan import Planner
from processor.core.reading import Read, Reading, read
from processor.core.state import Shipment
from processor.storage.cursors import Cursors
from processor.storage.rows import read_event
from processor.storage.store import Store
from runtime.postgres import Pool, open_pool
from runtime.settings import Settings, load_settings
from schemas.observation import Erase
from schemas.records import RawRecord
from schemas.stored_event import event_bytes
from schemas.stored_observation import read_observation
from schemas.vocabulary import AnomalyKind
from tests.integration.system import START, Raw, dash, lives, raw_records

STREAM: Final = Stream(raw_topic="raw", partitions=1, consumer_group="group")
PERSON: Final = "Agus Wijayanto"


class Rows:
    """A processor's side of one database, without a broker: what is stored is never published."""

    def __init__(self, settings: Settings, pool: Pool, cursor: Cursor) -> None:
        self.pool = pool
        self.store = Store(pool)
        self._settings = settings
        self.cursor = cursor

    async def apply(self, records: Sequence[Raw]) -> list[Reading]:
        """Store a batch as a worker does, with what is stored of its shipments. Return its readings."""
        start, zone_of = self.cursor.next_offset, self._settings.assumed_zone
        readings = [
            read(RawRecord(0, start + place, each.key, each.value, tuple(each.headers), each.timestamp_ms), zone_of, 1)
            for place, each in enumerate(records)
        ]
        names = {each.observation.shipment_id for each in readings if isinstance(each, Read)}
        now = await self.store.now()
        plan = Planner(await self.store.load(names), STREAM.raw_topic, now).add_all(readings)
        end = start + len(records)
        moved = msgspec.structs.replace(self.cursor, next_offset=end, last=Fingerprint(end - 1, b"x"))
        await self.store.apply(0, self.cursor, moved, plan, now)
        self.cursor = moved
        return readings

    async def outputs(self) -> list[Output]:
        return [output async for chunk in self.store.stored(0, self.cursor, 0) for output in chunk.outputs]

    async def query(self, statement: str, *values: Any) -> list[Any]:
        async with self.pool.acquire() as connection:
            return list(await connection.fetch(statement, *values))


@pytest_asyncio.fixture
async def rows(database_url: str) -> AsyncIterator[Rows]:
    settings = load_settings({"WAYBILL_DATABASE_URL": database_url})
    async with await open_pool(settings, "test", 2) as pool:
        yield Rows(settings, pool, await Cursors(settings, pool).claim(0, STREAM, 0))


def told(number: int, awb: str, minute: int, method: str = "shipped_packages") -> list[Raw]:
    """Return a webhook of an order that tells an AWB, and happened at a minute."""
    at = (START + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")
    item = {"order_id": f"O-{number}", "awb": awb, "shipped_at": at, "finished_at": at, "driver": {"name": PERSON}}
    return raw_records(
        "kiriminaja", msgspec.json.encode({"method": method, "data": [item]}), START + timedelta(hours=9)
    )


async def test_a_shipment_is_found_by_every_awb_it_ever_had(rows: Rows) -> None:
    """Told in any order, also late, refused or before there was a status; however the batches are cut."""
    dice = random.Random(23)
    records, expected = list[Raw](), set[tuple[str, str]]()
    for _ in range(300):
        number = dice.randrange(25)
        awb = f"{dice.choice('ABCD')}-{number}"
        method = dice.choice(["shipped_packages"] * 4 + ["finished_packages", "odd_packages"])
        records += told(number, awb, dice.randrange(500), method)
    seen = 0
    while seen < len(records):
        cut = seen + dice.randint(1, 40)
        for reading in await rows.apply(records[seen:cut]):
            assert isinstance(reading, Read)
            assert reading.observation.details.awb is not None
            expected.add((reading.observation.details.awb, reading.observation.shipment_id))
        seen = cut
    assert len(expected) > 80
    for awb, shipment_id in expected:
        assert await find_shipment(rows.pool, awb) == shipment_id
    counted = await rows.query("select count(*) filter (where awb is not null) as told, count(*) from observations")
    assert counted[0]["told"] < counted[0]["count"], "what the row shows needs no entry of its own"


async def as_older_versions_stored(rows: Rows) -> None:
    """Bring every row into the form that the version before gave it."""
    found = await rows.query(
        "select *, null as value, coalesce(replay_of_partition, raw_partition) as root_partition, "
        "coalesce(replay_of_offset, raw_offset) as root_offset from observations"
    )
    for row in found:
        place = row["raw_partition"], row["incarnation"], row["raw_offset"]
        said = read_observation(row["shipment_id"], None, row["said"])
        await rows.query(
            "update observations set said = null, event = null, awb = null, reading = $4::json "
            "where (raw_partition, incarnation, raw_offset) = ($1, $2, $3)",
            *place,
            msgspec.json.encode(said).decode(),
        )
        if row["event"] is not None:
            await rows.query(
                "insert into outputs (raw_partition, incarnation, cause_offset, ordinal, topic, key, value, "
                "shipment_id, version, recorded_at) values ($1, $2, $3, 0, 'shipment.events', $4, $5, $6, $7, $8)",
                *place,
                row["shipment_id"].encode(),
                event_bytes(read_event(row)),
                *(row["shipment_id"], row["version"], row["recorded_at"]),
            )
    await rows.query("update outputs set anomaly_kind = null")
    await rows.query("update shipments set awbs = null")


def known(shipment: Shipment) -> tuple[Any, ...]:
    return shipment.snapshot, shipment.version, shipment.records, shipment.anomalies, shipment.entries


async def test_what_older_versions_stored_is_read_as_it_was(rows: Rows) -> None:
    history = [*lives(3), *told(1, "A-1", 10), *told(1, "B-1", 5), *told(2, "C-2", 1, "odd_packages")]
    await rows.apply(history)
    names = ["dash:DE-0", "dash:DE-1", "dash:DE-2", "kiriminaja:O-1", "kiriminaja:O-2"]
    before, published = await rows.store.load(names), await rows.outputs()
    await as_older_versions_stored(rows)
    after, again = await rows.store.load(names), await rows.outputs()
    assert before.keys() == after.keys() == set(names)
    assert [known(after[name]) for name in names] == [known(before[name]) for name in names]
    assert [(each.topic, each.key, each.value) for each in again] == [
        (each.topic, each.key, each.value) for each in published
    ]
    for awb in ("A-1", "B-1", "C-2"):
        assert await find_shipment(rows.pool, awb) == f"kiriminaja:O-{awb[-1]}"
    await rows.apply(lives(3))
    assert {row["outcome"] for row in await rows.query("select outcome from observations where raw_offset >= 24")} == {
        "duplicate"
    }


async def test_erasing_reaches_both_forms(rows: Rows) -> None:
    await rows.apply([*told(1, "A-1", 10), *told(1, "B-1", 5)])
    await as_older_versions_stored(rows)
    await rows.apply([*told(1, "C-1", 20)])
    everything = "select convert_from(convert_to(o::text, 'UTF8'), 'UTF8') as row from {} as o"
    stored = [str(row) for table in ("observations", "outputs") for row in await rows.query(everything.format(table))]
    assert any(PERSON in row or PERSON.encode().hex() in row for row in stored)
    erase = Erase(shipment_id="kiriminaja:O-1", by="dewi", reason="asked")
    record = decision_record(erase, "kiriminaja", None, "erase-1", START + timedelta(hours=10))
    await rows.apply([Raw(record.key or b"", record.value, record.headers, record.timestamp_ms)])
    stored = [
        str(row)
        for table in ("observations", "outputs", "shipments")
        for row in await rows.query(everything.format(table))
    ]
    assert not any(PERSON in row or PERSON.encode().hex() in row for row in stored)
    assert len([each for each in await rows.outputs() if each.version is not None]) == 4
    for awb in ("A-1", "B-1", "C-1"):
        assert await find_shipment(rows.pool, awb) == "kiriminaja:O-1"


async def test_anomalies_of_a_kind_or_a_courier_are_those_among_all(rows: Rows) -> None:
    """Also those of which an older version stored no kind."""
    words = ("ALLOCATING", "TELEPORTED", "PREPARING", "PREPARING AGAIN")
    told_by_dash = [dash(f"DE-{number}", word, minute) for number in range(4) for minute, word in enumerate(words)]
    records = [each for body in told_by_dash for each in raw_records("dash", body, START + timedelta(hours=1))]
    await rows.apply([*records, *told(1, "A-1", 1), *told(1, "A-1", 2, "odd_packages")])
    await rows.query("update outputs set anomaly_kind = null where cause_offset % 2 = 0")
    found = [each async for each in anomalies(rows.pool, Wanted())]
    kinds, couriers = ({getattr(each.anomaly, name) for each in found} for name in ("kind", "courier"))
    assert (len(kinds) > 1, couriers) == (True, {"dash", "kiriminaja"})
    for wanted in (
        *(Wanted(kinds=(kind,)) for kind in AnomalyKind),
        *(Wanted(couriers=(courier,)) for courier in couriers),
        Wanted(kinds=("unknown_status", "service_conflict"), couriers=("dash",)),
    ):
        assert [each async for each in anomalies(rows.pool, wanted)] == [
            each for each in found if wanted.holds(each.anomaly)
        ]
