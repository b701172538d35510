"""Republishing: stored events of a range go once more, to the byte, to a topic that is not one of Waybill's.

Each chunk is one Kafka transaction with the job's place in the stored outputs, committed as an offset of a group of
the job's own. So every event comes once, whatever is killed: a resumed job reads its place back from Kafka.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from operators.replay.jobs import Job, Runner
from operators.replay.progress import PLANNING, Progress, Tell
from operators.replay.range import Stretch
from operators.replay.reprocess import Control, Ended, RateLimiter, marked, settled
from operators.replay.stored_events import PAGE, Place, StoredEvents
from operators.shared.errors import OperatorError
from processor.core.messages import messages
from processor.core.outputs import Output
from runtime import kafka, kafka_admin
from runtime.kafka_types import Producer
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.topics import Topic

TRANSACTION: Final = 1_000
"""Events of one transaction, at most."""


class RepublishedUpTo(msgspec.Struct, frozen=True):
    """How far a job has published a partition: everything up to a place, so many events."""

    place: Place = Place()
    published: int = 0

    @property
    def metadata(self) -> str:
        """Write it as an offset's metadata."""
        place = self.place
        return f"{place.incarnation}:{place.cause}:{place.ordinal}:{self.published}"

    @staticmethod
    def read(metadata: str) -> "RepublishedUpTo":
        """Read an offset's metadata."""
        incarnation, cause, ordinal, published = map(int, metadata.split(":"))
        return RepublishedUpTo(Place(incarnation, cause, ordinal), published)


class RepublishCounts(msgspec.Struct, frozen=True):
    """What republishing would publish."""

    records: int
    shipments: Sequence[str]
    stretches: Sequence[Stretch]


def is_ours(settings: Settings, topic: str) -> bool:
    """Whether a topic is one that Waybill or Kafka itself keeps: nothing may be republished there."""
    own = {name for each in Topic for name in (str(each), settings.topic(each))}
    return topic in own or topic.startswith("__")


async def plan_republish(stored: StoredEvents, stretches: Sequence[Stretch], tell: Tell) -> RepublishCounts:
    """Count what would be published."""
    shipments: set[str] = set()
    records = before = 0
    offsets = sum(stretch.end - stretch.start for stretch in stretches)
    for stretch in stretches:
        async for page in stored.pages(stretch, Place(), PAGE):
            records += len(page.events)
            shipments |= {event.shipment_id for event in page.events if event.shipment_id}
            dealt = max(0, min(page.place.cause + 1, stretch.end) - stretch.start)
            tell(Progress(None, PLANNING, before + dealt, offsets, 0, 0))
        before += stretch.end - stretch.start
    return RepublishCounts(records, sorted(shipments), stretches)


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
        self._pace = RateLimiter(job.rate, TRANSACTION)
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
        known = self._target.committed.get(stretch.partition, RepublishedUpTo())
        async for page in self._stored.pages(stretch, known.place, self._pace.chunk):
            known = RepublishedUpTo(page.place, known.published + len(page.events))
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
        producer: Producer,
        group: str,
        raw_topic: str,
        topic: str,
        partitions: int,
        seconds: float,
        committed: Mapping[int, RepublishedUpTo],
    ) -> None:
        self._producer = producer
        self._group = group
        self._raw_topic = raw_topic
        self._topic = topic
        self._partitions = partitions
        self._seconds = seconds
        self.committed = committed

    async def publish(self, partition: int, events: Sequence[Output], committed: RepublishedUpTo) -> None:
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


async def _committed(settings: Settings, group: str, raw: str, partitions: Iterable[int]) -> dict[int, RepublishedUpTo]:
    async with kafka.admin_client(settings) as admin:
        found = await kafka_admin.committed_offsets(admin, group, raw, partitions)
    return {partition: RepublishedUpTo.read(metadata) for partition, (_, metadata) in found.items()}
