"""Stored outputs: published in bounded chunks that end between causes, and kept until they are published."""

from datetime import UTC, datetime

import msgspec
import pytest

from processor.core.cursor import Cursor, Fingerprint, Stream
from processor.core.messages import messages
from processor.core.plan import Plan, Planner
from processor.core.reading import read
from processor.storage import outputs as outputs_module
from processor.storage.cursors import Cursors
from processor.storage.store import Store
from runtime.postgres import open_pool
from schemas.records import RawRecord
from tests.integration.recovering import OpenLab, one_more  # noqa: F401 - a fixture
from tests.integration.system import START, Raw, lives, raw_records

CHUNK = 4


@pytest.mark.parametrize(
    "counts", [[], [1], [4], [9], [1, 9, 1], [2, 2, 2, 2], [3, 3, 3], [4, 4], [1, 4, 0, 4, 1], [0, 0, 5, 5, 0]]
)
async def test_chunks_end_between_causes(
    one_more: OpenLab,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    counts: list[int],
) -> None:
    monkeypatch.setattr(outputs_module, "STORED_CHUNK", CHUNK)
    lab = await one_more()
    for cause, count in enumerate(counts):
        await lab.system.execute(
            "insert into outputs (raw_partition, incarnation, cause_offset, ordinal, topic, value, recorded_at) "
            f"select 0, 7, {cause}, n, 'shipment.events', '', now() from generate_series(1, {count}) n"
        )
    await lab.system.execute(
        "insert into outputs (raw_partition, cause_offset, ordinal, topic, value, recorded_at) "
        "values (0, 0, 0, 'shipment.events', 'of another incarnation', now())"
    )
    cursor = Cursor(
        raw_topic="raw",
        partitions=1,
        consumer_group="group",
        next_offset=len(counts),
        emitted=0,
        epoch=0,
        incarnation=7,
    )
    async with await open_pool(lab.system.settings, "test", 1) as pool:
        chunks = [chunk async for chunk in Store(pool).stored(0, cursor, 0)]
    found = [(output.cause, output.ordinal) for chunk in chunks for output in chunk.outputs]
    assert found == [(cause, each + 1) for cause, count in enumerate(counts) for each in range(count)]
    start = 0
    for chunk in chunks:
        assert all(start <= output.cause < chunk.end for output in chunk.outputs)
        start = chunk.end
    assert start == len(counts)


async def test_chunks_are_bounded_by_bytes_unless_one_cause_has_more(
    one_more: OpenLab,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outputs_module, "STORED_BYTES", 10_000)
    lab = await one_more()
    sizes = [4_000, 4_000, 4_000, 9_999, 30_000, 1, 1]
    for cause, size in enumerate(sizes):
        await lab.system.execute(
            "insert into outputs (raw_partition, cause_offset, ordinal, topic, value, headers, recorded_at) "
            f"select 0, {cause}, 0, 'courier.webhooks.raw.dlq', convert_to(repeat('x', {size}), 'UTF8'), '\\x90', now()"
        )
    cursor = Cursor(raw_topic="raw", partitions=1, consumer_group="group", next_offset=len(sizes), emitted=0, epoch=0)
    async with await open_pool(lab.system.settings, "test", 1) as pool:
        chunks = [chunk async for chunk in Store(pool).stored(0, cursor, 0)]
    assert [[len(output.value or b"") for output in chunk.outputs] for chunk in chunks] == [
        [4_000, 4_000],
        [4_000],
        [9_999],
        [30_000],
        [1, 1],
    ]
    assert [chunk.end for chunk in chunks] == [2, 3, 4, 5, 7]


async def test_retiring_deletes_no_output_that_is_not_known_to_be_published(one_more: OpenLab) -> None:  # noqa: F811
    lab = await one_more()
    await lab.system.execute(
        """
        insert into cursors
            (raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, updated_at)
        values (0, 'raw', 1, 'group', 1, 5, 3, now());
        insert into outputs (raw_partition, cause_offset, ordinal, topic, value, shipment_id, version, recorded_at)
        select 0, n, 0, 'shipment.events', '', 'dash:X', n + 1, now() from generate_series(0, 4) n;
        insert into observations (raw_partition, raw_offset, shipment_id, outcome, kept, said, event, recorded_at)
        select 0, n, 'dash:X', 'event', true, 'said', case when n <> 4 then 'event'::bytea end, now()
        from generate_series(0, 4) n;
        """
    )
    held = Cursor(raw_topic="raw", partitions=1, consumer_group="group", next_offset=5, emitted=3, epoch=1)
    moved = msgspec.structs.replace(held, next_offset=6, last=Fingerprint(5, b"x"))
    retiring = Plan(retired={"dash:X"})
    async with await open_pool(lab.system.settings, "test", 1) as pool:
        await Store(pool).apply(0, held, moved, retiring, datetime.now(UTC))
    kept = await lab.system.rows("select cause_offset from outputs order by cause_offset")
    assert [row["cause_offset"] for row in kept] == [3, 4]
    kept = await lab.system.rows("select raw_offset from observations order by raw_offset")
    assert [row["raw_offset"] for row in kept] == [3], "its event waits; nothing of the last one does"
    assert [row["rowless"] for row in await lab.system.rows("select rowless from cursors")] == [4]


async def test_events_beside_their_observations_are_published_in_their_place(one_more: OpenLab) -> None:  # noqa: F811
    """With what stands in the other table: in the order of the causes, to the byte."""
    lab = await one_more()
    records = [
        msgspec.structs.replace(record, offset=offset)
        for offset, record in enumerate(map(raw_of, [*lives(3), *raw_records("dash", b"[1]", START), *lives(1, "Z")]))
    ]
    readings = [read(record, lab.system.settings.assumed_zone, 1) for record in records]
    async with await open_pool(lab.system.settings, "test", 1) as pool:
        store = Store(pool)
        stream = Stream(raw_topic="raw", partitions=1, consumer_group="group")
        cursor = await Cursors(lab.system.settings, pool).claim(0, stream, 0)
        now = await store.now()
        plan = Planner({}, "raw", now).add_all(readings)
        moved = msgspec.structs.replace(cursor, next_offset=len(records), last=Fingerprint(0, b"x"))
        await store.apply(0, cursor, moved, plan, now)
        found = [output async for chunk in store.stored(0, moved, 0) for output in chunk.outputs]
    assert [each.cause for each in found] == list(range(len(records)))
    for stored, planned in zip(found, plan.outputs, strict=True):
        assert (stored.topic, stored.key, stored.value) == (planned.topic, planned.key, planned.value)
        assert [*messages(stored)] == [*messages(planned)]


def raw_of(record: Raw) -> RawRecord:
    return RawRecord(0, 0, record.key, record.value, tuple(record.headers), record.timestamp_ms)
