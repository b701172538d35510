"""Reading the raw topic for a replay: what a selection comes to there, and its records chunk by chunk.

Only what the processor has applied already is read again: the rest it reads with today's code anyway.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from operators.replay.range import Choice, LogRange, Selection, Stretch, judge, search_time, stretches
from operators.shared.errors import OperatorError
from processor.core.reading import Read, read
from runtime import kafka, kafka_admin
from runtime.kafka_records import raw_record
from runtime.kafka_types import Consumer
from runtime.postgres import Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.records import RawRecord, coordinates, header_texts
from schemas.topics import Topic

SCANNED: Final = 2_000
"""Records that are looked at, at most, before a chunk is handed over: it bounds what is done anew after a kill."""

FETCH_MS: Final = 250
"""How long one fetch waits for records."""

STALL_SECONDS: Final = 30.0
"""How long the log may give nothing before a replay gives up: a broker's new leader is there by then."""

_Q: Final = load_queries("operators.replay")

Belongs = Callable[[RawRecord], bool]
"""Tells whether a record is about the selected shipment."""


class AppliedOffsets(msgspec.Struct, frozen=True):
    """How far a partition is applied, and which log its coordinates are of."""

    raw_topic: str
    partitions: int
    next_offset: int
    incarnation: int


class SelectedRange(msgspec.Struct, frozen=True):
    """What a selection comes to: stretches of the log, and how many of its records the processor has yet to apply."""

    stretches: Sequence[Stretch]
    waiting: int
    belongs: Belongs


class RecordChunk(msgspec.Struct, frozen=True):
    """The next records of a stretch. Everything before `next_offset` is dealt with when they are.

    `rereadings` and `decisions` count the records of the selection that are passed over.
    """

    partition: int
    next_offset: int
    records: Sequence[RawRecord]
    rereadings: int
    decisions: int


class ReplayLog:
    """The raw topic, as a replay reads it."""

    def __init__(self, settings: Settings, reader: Consumer, pool: Pool, partitions: int) -> None:
        """Keep the clients, which are started."""
        self.topic = settings.topic(Topic.RAW)
        self.partitions = partitions
        self._settings = settings
        self._reader = reader
        self._pool = pool

    async def applied(self) -> dict[int, AppliedOffsets]:
        """Return how far each partition is applied.

        Raises:
            OperatorError: the database belongs to another log.

        """
        applied = await applied_offsets(self._pool)
        for each in applied.values():
            if (each.raw_topic, each.partitions) != (self.topic, self.partitions):
                raise OperatorError(
                    f"the database belongs to {each.raw_topic} with {each.partitions} partitions, not to "
                    f"{self.topic} with {self.partitions}: see what `waybill recover` says"
                )
        return applied

    async def find(self, selection: Selection) -> SelectedRange:
        """Look up what a selection comes to, as of now.

        Raises:
            OperatorError: it names a partition that there is not, or the database belongs to another log.

        """
        if unknown := sorted(selection.named - set(range(self.partitions))):
            raise OperatorError(f"{self.topic} has the partitions 0 to {self.partitions - 1}, no {unknown[0]}")
        ranges = await self._ranges(selection)
        known = await self._known_roots(selection.shipment) if selection.shipment else frozenset[tuple[int, int]]()
        homes = self._homes(selection.shipment, known) if selection.shipment else None
        asked = stretches(selection, ranges, homes)
        applied = await self.applied()
        found, waiting = [], 0
        for stretch in asked:
            done = applied[stretch.partition].next_offset if stretch.partition in applied else 0
            end = max(stretch.start, min(stretch.end, done))
            waiting += stretch.end - end
            found.append(msgspec.structs.replace(stretch, end=end))
        return SelectedRange(found, waiting, self._belongs(selection.shipment, known))

    async def belonging(self, selection: Selection) -> Belongs:
        """Return what tells whether a record is about the selected shipment."""
        known = await self._known_roots(selection.shipment) if selection.shipment else frozenset[tuple[int, int]]()
        return self._belongs(selection.shipment, known)

    async def starts(self) -> dict[int, int]:
        """Return where each partition's log starts now."""
        starts = await self._reader.beginning_offsets(self._parts(range(self.partitions)))
        return {part.partition: start for part, start in starts.items()}

    async def ends(self) -> dict[int, int]:
        """Return where each partition's log ends now."""
        ends = await self._reader.end_offsets(self._parts(range(self.partitions)))
        return {part.partition: end for part, end in ends.items()}

    async def chunks(
        self, selection: Selection, parts: Sequence[Stretch], belongs: Belongs, most: int
    ) -> AsyncIterator[RecordChunk]:
        """Return the records of stretches, of every partition in turn, at most `most` selected ones in a chunk.

        Raises:
            OperatorError: the log gives nothing for too long.

        """
        left = {stretch.partition: stretch for stretch in parts if stretch.start < stretch.end}
        self._reader.assign(self._parts(left))
        for stretch in left.values():
            self._reader.seek(TopicPartition(self.topic, stretch.partition), stretch.start)
        while left:
            for partition, stretch in list(left.items()):
                chunk = await self._chunk(selection, stretch, belongs, most)
                yield chunk
                if chunk.next_offset >= stretch.end:
                    del left[partition]

    async def _chunk(self, selection: Selection, stretch: Stretch, belongs: Belongs, most: int) -> RecordChunk:
        part = TopicPartition(self.topic, stretch.partition)
        selected: list[RawRecord] = []
        seen = dict.fromkeys(Choice, 0)
        position = 0
        while len(selected) < most and sum(seen.values()) < SCANNED:
            fetched = await self._fetch(part, stretch.end, most - len(selected))
            position = fetched[-1].offset + 1 if fetched else stretch.end
            for record in fetched:
                if record.offset < stretch.end:
                    verdict = judge(selection, raw := raw_record(record), belongs)
                    seen[verdict] += 1
                    if verdict is Choice.SELECTED:
                        selected.append(raw)
            if position >= stretch.end:
                break
        return RecordChunk(
            stretch.partition, min(position, stretch.end), selected, seen[Choice.REREADING], seen[Choice.DECISION]
        )

    async def _fetch(self, part: TopicPartition, end: int, most: int) -> list[Any]:
        """Return the next records; none: there are no more before `end`."""
        deadline = monotonic() + STALL_SECONDS
        while await self._reader.position(part) < end:
            fetched = await self._reader.getmany(part, timeout_ms=FETCH_MS, max_records=most)
            if fetched:
                return list(fetched[part])
            if monotonic() > deadline:
                raise OperatorError(f"Kafka gives no records of {part.topic} partition {part.partition}")
        return []

    async def _ranges(self, selection: Selection) -> dict[int, LogRange]:
        parts = self._parts(range(self.partitions))
        starts = await self._reader.beginning_offsets(parts)
        ends = await self._reader.end_offsets(parts)
        since = dict(starts)
        if selection.since is not None:
            found = await self._reader.offsets_for_times(dict.fromkeys(parts, search_time(selection.since)))
            since = {part: first.offset if (first := found.get(part)) else ends[part] for part in parts}
        return {part.partition: LogRange(starts[part], ends[part], since[part]) for part in parts}

    def _parts(self, partitions: Any) -> list[TopicPartition]:
        return [TopicPartition(self.topic, partition) for partition in partitions]

    async def _known_roots(self, shipment: str) -> frozenset[tuple[int, int]]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["roots_of_shipment"], shipment)
        return frozenset((row["raw_partition"], row["raw_offset"]) for row in rows)

    def _homes(self, shipment: str, known: frozenset[tuple[int, int]]) -> frozenset[int]:
        return frozenset({partition_of(shipment.encode(), self.partitions), *(partition for partition, _ in known)})

    def _belongs(self, shipment: str | None, known: frozenset[tuple[int, int]]) -> Belongs:
        """By key as it was appended, by what its reading gave then, or by what it gives today."""
        if shipment is None:
            return lambda _record: True
        key = shipment.encode()

        def belongs(record: RawRecord) -> bool:
            root = header_texts(record.headers).get("replay-of")
            if record.key == key or (record.partition, record.offset) in known or (root and _at(root) in known):
                return True
            reading = read(msgspec.structs.replace(record, partition=0), self._settings.assumed_zone, 1)
            return isinstance(reading, Read) and reading.observation.shipment_id == shipment

        return belongs


async def applied_offsets(pool: Pool) -> dict[int, AppliedOffsets]:
    """Return how far each partition is applied."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["applied_offsets"])
    return {partition: AppliedOffsets(*values) for partition, *values in rows}


def _at(replay_of: str) -> tuple[int, int] | None:
    try:
        return coordinates(replay_of)
    except ValueError:
        return None


def ahead(applied: Mapping[int, AppliedOffsets], targets: Mapping[int, int]) -> int:
    """Return how many records are yet to be applied until the targets, offsets by partition, are reached."""
    return sum(
        max(0, target - (applied[partition].next_offset if partition in applied else 0))
        for partition, target in targets.items()
    )


@asynccontextmanager
async def open_replay_log(settings: Settings, pool: Pool) -> AsyncIterator[ReplayLog]:
    """Give the raw topic.

    Raises:
        OperatorError: the topic is missing.
        UnreachableError: Kafka cannot be reached.

    """
    topic = settings.topic(Topic.RAW)
    async with kafka.admin_client(settings) as admin:
        found = await kafka_admin.find_topics(admin, [topic], [])
    if topic not in found:
        raise OperatorError(f"topic {topic} is missing: `waybill topics apply` makes it")
    async with kafka.open_reader(settings, "waybill-replay") as reader:
        log = ReplayLog(settings, reader, pool, found[topic].partitions)
        reader.assign([TopicPartition(topic, partition) for partition in range(log.partitions)])
        yield log
