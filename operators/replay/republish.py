"""Republishing: stored events of a range go once more, to the byte, to a topic that is none of ours.

Each chunk is one Kafka transaction with the job's place in the stored outputs, committed as an offset of a group of
the job's own. So every event comes once, whatever is killed: a resumed job reads its place back from Kafka.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from operators.replay.jobs import Job, Runner
from operators.replay.range import Selection, Stretch, within
from operators.replay.reprocess import Control, Ended, Pace, Progress, Tell, marked, settled
from operators.shared.errors import OperatorError
from processor.core.errors import StoredRowError
from processor.core.outputs import Output, messages
from runtime import kafka, kafka_admin
from runtime.postgres import Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.topics import Topic

PAGE: Final = 2_000
"""Stored outputs that are looked at at once."""

_LAST_OFFSET: Final = 2**63 - 1
_LAST_ORDINAL: Final = 2**31 - 1
_Q: Final = load_queries("operators.replay")


class _Facts(msgspec.Struct, frozen=True, gc=False):
    """What an event is selected by."""

    courier: str
    received_at: datetime


_read_facts: Final = msgspec.json.Decoder(_Facts).decode


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in a partition's stored outputs."""

    incarnation: int = -1
    cause: int = -1
    ordinal: int = -1


class Committed(msgspec.Struct, frozen=True):
    """How far a job has published a partition: everything up to a place, so many events."""

    place: Place = Place()
    published: int = 0

    @property
    def metadata(self) -> str:
        """Write it as an offset's metadata."""
        place = self.place
        return f"{place.incarnation}:{place.cause}:{place.ordinal}:{self.published}"

    @staticmethod
    def read(metadata: str) -> "Committed":
        """Read an offset's metadata."""
        incarnation, cause, ordinal, published = map(int, metadata.split(":"))
        return Committed(Place(incarnation, cause, ordinal), published)


class Page(msgspec.Struct, frozen=True):
    """The next selected events of a partition. With them, everything up to `place` is dealt with."""

    events: Sequence[Output]
    place: Place


class Published(msgspec.Struct, frozen=True):
    """What republishing would publish."""

    records: int
    shipments: Sequence[str]
    stretches: Sequence[Stretch]


def is_ours(settings: Settings, topic: str) -> bool:
    """Whether a topic is one that Waybill or Kafka itself keeps: nothing may be republished there."""
    own = {name for each in Topic for name in (str(each), settings.topic(each))}
    return topic in own or topic.startswith("__")


class StoredEvents:
    """The events that a selection comes to."""

    def __init__(self, pool: Pool, selection: Selection, current: Mapping[int, int]) -> None:
        """`current` are the partitions' incarnations: offsets that are given are of these."""
        self._pool = pool
        self._selection = selection
        self._current = current

    async def pages(self, stretch: Stretch, after: Place, most: int) -> AsyncIterator[Page]:
        """Return the selected events of a partition behind a place, at most `most` in a page."""
        async for rows in self._rows(stretch, after):
            for page in _cut(rows, self._selected, most):
                yield page

    async def _rows(self, stretch: Stretch, after: Place) -> AsyncIterator[Sequence[Any]]:
        if self._selection.shipment is not None:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(
                    _Q["stored_events_of_shipment"], self._selection.shipment, stretch.partition
                )
            found = [row for row in rows if _place(row) > after and self._within_offsets(stretch, row)]
            if found:
                yield found
            return
        async with self._pool.acquire() as connection:
            incarnations = await connection.fetch(_Q["incarnations_of_outputs"], stretch.partition)
        for incarnation in (row["incarnation"] for row in incarnations):
            if incarnation >= after.incarnation and self._reads(stretch, incarnation):
                async for rows in self._incarnation(stretch, incarnation, after):
                    yield rows

    async def _incarnation(self, stretch: Stretch, incarnation: int, after: Place) -> AsyncIterator[Sequence[Any]]:
        is_current = incarnation == self._current.get(stretch.partition, 0)
        start, end = (stretch.start, stretch.end) if is_current else (0, _LAST_OFFSET)
        place = max(after, Place(incarnation, start - 1, _LAST_ORDINAL))
        while True:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(
                    _Q["stored_page"], stretch.partition, incarnation, place.cause, place.ordinal, end, PAGE
                )
            if rows:
                yield rows
                place = _place(rows[-1])
            if len(rows) < PAGE:
                return

    def _reads(self, stretch: Stretch, incarnation: int) -> bool:
        """Whether offsets of an incarnation are meant: of the log that is there now, or of any if none are given."""
        selection = self._selection
        given = stretch.partition in selection.from_offsets or stretch.partition in selection.until_offsets
        current = self._current.get(stretch.partition, 0)
        return incarnation == current or (not given and incarnation < current)

    def _within_offsets(self, stretch: Stretch, row: Any) -> bool:
        if not self._reads(stretch, row["incarnation"]):
            return False
        is_current = row["incarnation"] == self._current.get(stretch.partition, 0)
        return not is_current or stretch.start <= row["cause_offset"] < stretch.end

    def _selected(self, row: Any) -> Output | None:
        if row["topic"] != Topic.EVENTS or row["value"] is None:
            return None
        facts = _facts(row)
        selection = self._selection
        if not within(selection, facts.received_at) or selection.courier not in {None, facts.courier}:
            return None
        return Output(
            Topic.EVENTS,
            0,
            row["cause_offset"],
            row["ordinal"],
            row["key"],
            row["value"],
            row["recorded_at"],
            row["shipment_id"],
            row["version"],
        )


def _facts(row: Any) -> _Facts:
    try:
        found: _Facts = _read_facts(row["value"])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise StoredRowError(f"the event {row['shipment_id']}/{row['version']}", error) from error
    return found


def event_stretches(selection: Selection, applied: Mapping[int, int], partitions: Collection[int]) -> list[Stretch]:
    """Return what of each partition's stored outputs is looked through. `applied` says where they end just now."""
    return [
        _stretch(selection, partition, applied.get(partition, 0))
        for partition in sorted(selection.named or partitions)
        if partition in partitions
    ]


def _stretch(selection: Selection, partition: int, applied: int) -> Stretch:
    end = min(applied, selection.until_offsets.get(partition, applied))
    return Stretch(partition, min(selection.from_offsets.get(partition, 0), end), end)


async def plan_republish(stored: StoredEvents, stretches: Sequence[Stretch]) -> Published:
    """Count what would be published."""
    shipments: set[str] = set()
    records = 0
    for stretch in stretches:
        async for page in stored.pages(stretch, Place(), PAGE):
            records += len(page.events)
            shipments |= {event.shipment_id for event in page.events if event.shipment_id}
    return Published(records, sorted(shipments), stretches)


async def republish(
    settings: Settings, stored: StoredEvents, job: Job, runner: Runner, stop: asyncio.Event, tell: Tell
) -> Ended:
    """Publish what is left of a job.

    Raises:
        OperatorError: the topic is missing, or how far the job was is forgotten; the job is marked as failed.

    """
    async with marked(runner), _open(settings, job) as target:
        republishing = _Republishing(stored, job, runner, target, Control(runner, stop), tell)
        status = await settled(runner, done=await republishing.run())
    return Ended(job.job, status, republishing.published, 0, 0, {})


class _Republishing:
    """One run of a job."""

    def __init__(
        self, stored: StoredEvents, job: Job, runner: Runner, target: "_Target", control: Control, tell: Tell
    ) -> None:
        self._stored = stored
        self._job = job
        self._runner = runner
        self._target = target
        self._control = control
        self._tell = tell
        self._pace = Pace(job.rate)
        self._left = job.left
        self.published = sum(each.published for each in target.committed.values())

    async def run(self) -> bool:
        """Publish what is left, one partition after the other. False: it was interrupted."""
        starts = {stretch.partition: stretch.start for stretch in self._job.asked.stretches}
        for position in self._job.positions:
            stretch = Stretch(position.partition, starts[position.partition], position.until_offset)
            if not await self._partition(stretch, position.next_offset):
                return False
        return True

    async def _partition(self, stretch: Stretch, dealt: int) -> bool:
        known = self._target.committed.get(stretch.partition, Committed())
        async for page in self._stored.pages(stretch, known.place, self._pace.chunk):
            known = Committed(page.place, known.published + len(page.events))
            await self._target.publish(stretch.partition, page.events, known)
            self.published += len(page.events)
            dealt = await self._note(stretch, dealt, page.place.cause + 1, known.published)
            if not await self._control.goes_on(self._pace.wait(len(page.events))):
                return False
        await self._note(stretch, dealt, stretch.end, known.published)
        return True

    async def _note(self, stretch: Stretch, dealt: int, reached: int, published: int) -> int:
        reached = max(dealt, min(reached, stretch.end))
        await self._runner.place(stretch.partition, reached, published)
        self._left -= reached - dealt
        offsets = self._job.asked.offsets
        self._tell(Progress(self._job.job, "publishing", offsets - self._left, offsets, self.published, 0))
        return reached


class _Target:
    """The topic that is published to, and how far each partition is."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        group: str,
        raw_topic: str,
        topic: str,
        partitions: int,
        seconds: float,
        committed: Mapping[int, Committed],
    ) -> None:
        self._producer = producer
        self._group = group
        self._raw_topic = raw_topic
        self._topic = topic
        self._partitions = partitions
        self._seconds = seconds
        self.committed = committed

    async def publish(self, partition: int, events: Sequence[Output], committed: Committed) -> None:
        """Publish events, and that they are published, or nothing at all."""
        if not events:
            return
        producer, part = self._producer, TopicPartition(self._raw_topic, partition)
        offset = OffsetAndMetadata(committed.place.cause + 1, committed.metadata)
        async with asyncio.timeout(self._seconds):
            await producer.begin_transaction()
            sends = [await self._send(message) for event in events for message in messages(event, with_state=False)]
            await asyncio.gather(*sends)
            await producer.send_offsets_to_transaction({part: offset}, self._group)
            await producer.commit_transaction()

    async def _send(self, message: Any) -> Any:
        return await self._producer.send(
            self._topic,
            message.value,
            message.key,
            partition_of(message.key or b"", self._partitions),
            message.timestamp_ms,
            message.headers,
        )


@asynccontextmanager
async def _open(settings: Settings, job: Job) -> AsyncIterator[_Target]:
    """Fence an earlier run of the job, then read how far it came."""
    if job.to_topic is None or is_ours(settings, job.to_topic):
        raise OperatorError(f"nothing is republished to {job.to_topic}: its subscribers would take old events for new")
    name = f"{settings.topic_prefix}{job.job}"
    partitions = await target_partitions(settings, job.to_topic)
    producer = kafka.new_transactional_producer(settings, name)
    await kafka.start(producer)
    try:
        raw = settings.topic(Topic.RAW)
        committed = await _committed(settings, name, raw, [position.partition for position in job.positions])
        forgotten = [each.partition for each in job.positions if each.appended and each.partition not in committed]
        if forgotten:
            raise OperatorError(
                f"Kafka has forgotten how far {job.job} came (groups are forgotten after "
                "`offsets.retention.minutes`): begin a new job, to another topic"
            )
        seconds = settings.kafka_transaction_timeout.total_seconds()
        yield _Target(producer, name, raw, job.to_topic, partitions, seconds, committed)
    finally:
        await kafka.stop(producer)


async def target_partitions(settings: Settings, topic: str) -> int:
    """Return how many partitions a topic has.

    Raises:
        OperatorError: it is missing.

    """
    async with kafka.admin_client(settings) as admin:
        found = await kafka_admin.find_topics(admin, [topic], [])
    if topic not in found:
        raise OperatorError(f"topic {topic} does not exist: make it first")
    return found[topic].partitions


async def _committed(settings: Settings, group: str, raw: str, partitions: Iterable[int]) -> dict[int, Committed]:
    async with kafka.admin_client(settings) as admin:
        found = await kafka_admin.committed_offsets(admin, group, raw, partitions)
    return {partition: Committed.read(metadata) for partition, (_, metadata) in found.items()}


def _place(row: Any) -> Place:
    return Place(row["incarnation"], row["cause_offset"], row["ordinal"])


def _cut(rows: Sequence[Any], selected: Any, most: int) -> Iterator[Page]:
    """Cut rows into pages of at most `most` selected events; the last one ends with the rows."""
    events: list[Output] = []
    place = Place()
    for row in rows:
        event = selected(row)
        if event is not None:
            if len(events) == most:
                yield Page(events, place)
                events = []
            events.append(event)
        place = _place(row)
    yield Page(events, place)
