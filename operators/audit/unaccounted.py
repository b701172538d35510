"""Offsets before a partition's cursor that have no row: the log says of each whether a record is missing."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from aiokafka import TopicPartition

from operators.audit.accounting import Gone, is_accounted
from operators.audit.partition_reader import Heard, PartitionReader
from processor.core.cursor import Cursor
from processor.core.offsets import Span, joined, without
from processor.core.reading import Read, read
from runtime import kafka_log
from runtime.kafka_records import raw_record
from runtime.kafka_types import Consumer
from runtime.postgres import Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.records import RawRecord

OFFSETS: Final = 200_000
"""Offsets looked up in one statement: some tenths of a second."""

_Q: Final = load_queries("operators.audit")

Missing = tuple[int, str | None]
"""An offset that nothing accounts for, and the shipment its record is about, where it has one."""


class Unaccounted:
    """One partition's offsets, compared with its rows."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        reader: Consumer,
        tail: PartitionReader,
        heard: Heard,
        partition: int,
        cursor: Cursor,
        gone: Gone,
    ) -> None:
        """Keep the reader, which is started and reads nothing but `tail` meanwhile. `heard` hears of every stretch."""
        self._settings = settings
        self._pool = pool
        self._reader = reader
        self._raw = TopicPartition(cursor.raw_topic, partition)
        self._tail = tail
        self._heard = heard
        self._cursor = cursor
        self._gone = gone

    async def find(self) -> AsyncIterator[list[Missing]]:
        """Give what is missing between the log's start, or where it began to be applied, and the cursor."""
        await self._tail.rewind()
        start = max(await self._tail.start(), self._cursor.began_at)
        end = min(await self._tail.end(), self._cursor.next_offset)
        for at in range(start, end, OFFSETS):
            self._heard(at - start, end - start)
            for hole in await self._holes(at, min(at + OFFSETS, end)):
                async for missing in self._missing(hole):
                    yield missing

    async def _holes(self, start: int, end: int) -> list[Span]:
        """Return the stretches without a row."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["audit_holes"], self._raw.partition, self._cursor.incarnation, start, end)
        return [Span(row["start"], row["end"]) for row in rows]

    async def _missing(self, hole: Span) -> AsyncIterator[list[Missing]]:
        there: list[int] = []
        await self._tail.go_to(hole.start)
        async for found in self._tail.up_to(hole.end):
            records = [raw_record(each) for each in found if each.offset >= hole.start]
            there += [each.offset for each in records]
            yield await self._without_account(records)
        if nowhere := without([hole], joined(there)):
            batches = kafka_log.batches(self._reader, self._raw, nowhere[0].start, nowhere[-1].end)
            marks = [Span(batch.start, batch.end) async for batch in batches if batch.explained]
            yield [(offset, None) for each in without(nowhere, marks) for offset in range(each.start, each.end)]

    async def _without_account(self, records: Sequence[RawRecord]) -> list[Missing]:
        zone_of, cursor = self._settings.assumed_zone, self._cursor
        readings = [read(record, zone_of, cursor.partitions) for record in records]
        names = [each.observation.shipment_id if isinstance(each, Read) else None for each in readings]
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["audit_standing"], [name for name in names if name is not None])
        standing = {row["shipment_id"]: row["retired"] for row in rows}
        return [
            (reading.record.offset, name)
            for reading, name in zip(readings, names, strict=True)
            if not is_accounted(
                reading,
                self._gone,
                row=name in standing,
                retired=name is not None and standing.get(name, False),
                recovered=cursor.recovery > 0,
            )
        ]
