"""Following a topic: what was published, in order, as it comes."""

import heapq
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from time import monotonic
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from operators.shared.errors import OperatorError
from operators.shared.personal import masked
from processor.core.reading import Unreadable, read
from runtime import kafka, kafka_admin
from runtime.errors import UnreachableError
from runtime.kafka import KAFKA_ERRORS
from runtime.kafka_records import raw_record
from runtime.kafka_types import Consumer
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.records import header_texts
from schemas.shipment_ids import parse_shipment_id
from schemas.times import format_time, milliseconds, moment_of
from schemas.topics import Topic

FETCH_MS: Final = 200
"""How long one look at the topic may wait for something new."""

QUIET_SECONDS: Final = 5.0
"""How long nothing comes until it is looked whether the topic is still there, and Kafka."""

Tell = Callable[[str], None]
"""Takes a line that says what is waited for."""

BODIES: Final = frozenset({Topic.RAW, Topic.DEAD_LETTERS})
"""The topics whose values are couriers' bodies, full of personal data."""


class Edge(StrEnum):
    """Where to begin, if not at a moment."""

    EARLIEST = "earliest"
    LATEST = "latest"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be followed.

    `shipment` is an id. `type` is an event's type, with or without `shipment.`; an anomaly's kind, a dead letter's
    reason, a raw record's source. `until_end`: stop at the end that the topic has at the start.
    """

    topic: Topic
    since: datetime | Edge = Edge.LATEST
    shipment: str | None = None
    courier: str | None = None
    type: str | None = None
    until_end: bool = False
    show_personal: bool = False


class ShownReading(msgspec.Struct, frozen=True, omit_defaults=True):
    """What today's code makes of a raw record or a dead letter: an observation, or why there is none."""

    shipment_id: str | None = None
    word: str | None = None
    status: str | None = None
    dead_letter: str | None = None
    detail: str | None = None


class ShownRecord(msgspec.Struct, frozen=True):
    """A record as it may be shown. `value` is null for a body that is not shown; `size` is in bytes."""

    topic: str
    partition: int
    offset: int
    timestamp: str
    key: str | None
    headers: Mapping[str, str]
    size: int
    value: Any
    reading: ShownReading | None = None


async def follow(settings: Settings, choice: Choice, tell: Tell) -> AsyncGenerator[ShownRecord, None]:
    """Give the records that are chosen, read committed. In order within a partition, else by their time.

    While Kafka is away it waits, and tells so once.

    Raises:
        UnreachableError: Kafka cannot be reached at the start.
        OperatorError: the topic is missing, or goes.

    """
    name = settings.topic(choice.topic)
    count = await partitions_of(settings, name)
    async with kafka.open_reader(settings, "waybill-tail") as reader:
        homes = _homes(choice, count)
        parts = [TopicPartition(name, partition) for partition in homes]
        reader.assign(parts)
        ends = dict(await reader.end_offsets(parts))
        for part, start in (await _starts(reader, parts, choice.since, ends)).items():
            reader.seek(part, start)
        show = shower(settings, choice, count)
        quiet = Quiet(settings, name, tell)
        while not choice.until_end or any([await reader.position(part) < ends[part] for part in parts]):
            fetched = await reader.getmany(timeout_ms=FETCH_MS)
            await quiet.saw(bool(fetched))
            for record in merged(fetched.values()):
                past = choice.until_end and record.offset >= ends[TopicPartition(name, record.partition)]
                if not past and _is_chosen(record, choice):
                    shown = show(record)
                    if _is_wanted(shown, choice):
                        yield shown


class Quiet:
    """Looks whether the topic is there when it was quiet for long: a reader waits in vain without a word."""

    def __init__(self, settings: Settings, topic: str, tell: Tell) -> None:
        """Look at a topic, by its full name; tell what is waited for."""
        self._settings = settings
        self._topic = topic
        self._tell = tell
        self._since = monotonic()
        self._away = False

    async def saw(self, something: bool) -> None:
        """Take note that a look at the topic found something, or nothing."""
        if something:
            self._since = monotonic()
        elif monotonic() - self._since > QUIET_SECONDS:
            await self._look()
            self._since = monotonic()

    async def _look(self) -> None:
        try:
            await partitions_of(self._settings, self._topic)
        except (UnreachableError, *KAFKA_ERRORS) as error:
            if not self._away:
                self._tell(f"waiting: {(str(error) or repr(error)).splitlines()[0]}")
            self._away = True
        else:
            if self._away:
                self._tell("Kafka is back")
            self._away = False


def _homes(choice: Choice, partitions: int) -> Iterable[int]:
    """Return the partitions to follow: a shipment has one, but a dead letter may be one for standing elsewhere."""
    if choice.shipment is None or choice.topic is Topic.DEAD_LETTERS:
        return range(partitions)
    return [partition_of(choice.shipment.encode(), partitions)]


async def partitions_of(settings: Settings, topic: str) -> int:
    """Return how many partitions a topic has.

    Raises:
        UnreachableError: Kafka cannot be reached.
        OperatorError: the topic is missing.

    """
    async with kafka.admin_client(settings) as admin:
        found = (await kafka_admin.find_topics(admin, [topic], [])).get(topic)
    if found is None:
        raise OperatorError(f"topic {topic} is missing: `waybill topics apply` makes it")
    return found.partitions


async def _starts(
    reader: Consumer,
    parts: Sequence[TopicPartition],
    since: datetime | Edge,
    ends: Mapping[TopicPartition, int],
) -> dict[TopicPartition, int]:
    match since:
        case Edge.LATEST:
            return dict(ends)
        case Edge.EARLIEST:
            return dict(await reader.beginning_offsets(parts))
        case _:
            found = await reader.offsets_for_times(dict.fromkeys(parts, max(0, milliseconds(since))))
            return {part: at.offset if (at := found.get(part)) else ends[part] for part in parts}


def merged(batches: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Merge partitions by time. Within a partition the order stays, whatever the times are."""
    return heapq.merge(*batches, key=lambda record: record.timestamp)


def _is_chosen(record: Any, choice: Choice) -> bool:
    """Whether a record is of the shipment and of the time; received times do not grow with the offsets."""
    if choice.shipment is not None and record.key != choice.shipment.encode():
        return False
    return isinstance(choice.since, Edge) or record.timestamp >= milliseconds(choice.since)


def _is_wanted(shown: ShownRecord, choice: Choice) -> bool:
    courier, kind = marks(shown, choice.topic)
    if choice.courier is not None and courier != choice.courier:
        return False
    return choice.type is None or (kind is not None and choice.type in {kind, kind.removeprefix("shipment.")})


def marks(shown: ShownRecord, topic: Topic) -> tuple[str | None, str | None]:
    """Return a record's courier, and what `--type` goes by."""
    value = shown.value if isinstance(shown.value, dict) else {}
    match topic:
        case Topic.RAW:
            return shown.headers.get("courier"), shown.headers.get("source")
        case Topic.DEAD_LETTERS:
            return shown.headers.get("courier"), shown.headers.get("dlq-reason")
        case Topic.ANOMALIES:
            return value.get("courier"), value.get("kind")
        case Topic.EVENTS:
            return value.get("courier"), value.get("type")
        case Topic.STATE:
            return value.get("courier", parse_shipment_id(shown.key or "").courier), None


def shower(settings: Settings, choice: Choice, partitions: int) -> Callable[[Any], ShownRecord]:
    """Return what makes of Kafka's record what may be shown."""
    bodies = choice.topic in BODIES

    def value_of(record: Any) -> Any:
        if record.value is None or (bodies and not choice.show_personal):
            return None
        try:
            value = msgspec.json.decode(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return record.value.decode(errors="replace")
        return masked(value) if isinstance(value, dict) and not (bodies or choice.show_personal) else value

    def reading_of(record: Any) -> ShownReading | None:
        if not bodies:
            return None
        found = read(raw_record(record), settings.assumed_zone, partitions)
        if isinstance(found, Unreadable):
            return ShownReading(dead_letter=found.error.reason, detail=found.error.detail)
        return ShownReading(found.observation.shipment_id, found.observation.word, found.observation.status)

    def show(record: Any) -> ShownRecord:
        return ShownRecord(
            record.topic,
            record.partition,
            record.offset,
            _time(record.timestamp),
            None if record.key is None else record.key.decode(errors="replace"),
            {name: "" for name, _ in record.headers} | header_texts(record.headers),
            len(record.value or b""),
            value_of(record),
            reading_of(record),
        )

    return show


def _time(timestamp_ms: int) -> str:
    """Write a record's timestamp, which may be any number."""
    moment = moment_of(timestamp_ms)
    return f"{timestamp_ms} ms" if moment is None else format_time(moment)
