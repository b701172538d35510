"""Watching what comes in and what is published: the newest records, a few a second, and how many were left out."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, MutableMapping, Sequence
from time import monotonic
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from operators.shared.errors import OperatorError
from operators.shared.personal import masked
from operators.views.tail import BODIES, Choice, Quiet, ShownRecord, Tell, merged, shower
from runtime import kafka, kafka_admin
from runtime.kafka_types import Consumer
from runtime.settings import Settings
from schemas.topics import Topic

WATCHED: Final = (Topic.RAW, Topic.DEAD_LETTERS, Topic.EVENTS, Topic.ANOMALIES)
"""What comes in, what is refused, what is published. A state tells what its event told."""

MOST_A_SECOND: Final = 20
"""Records of any second that are shown: more, nobody can read."""

TICK_SECONDS: Final = 0.2
"""How often it is looked: what comes is shown well within a second."""

BEFORE: Final = 10
"""Offsets of each partition that are looked at before its end: so that a first look is not empty."""

BEFORE_SECONDS: Final = 1.0
"""How long those may take. An event of a transaction that is still open is not waited for."""

MOST_BEHIND: Final = 1_000
"""Offsets that a partition may be behind. Then they are left out unread: the newest are wanted, and reading costs."""


class Watched(msgspec.Struct, frozen=True):
    """A record with everything that stands in it: `hidden` takes away what is personal."""

    topic: Topic
    record: ShownRecord


class Glimpse(msgspec.Struct, frozen=True):
    """What came since the one before: some records in their order, and how many others, by their offsets."""

    records: tuple[Watched, ...]
    left_out: int


def hidden(watched: Watched) -> ShownRecord:
    """Return a record as those see it who may not see personal data."""
    value = watched.record.value
    if watched.topic in BODIES:
        value = None
    elif isinstance(value, dict):
        value = masked(value)
    return msgspec.structs.replace(watched.record, value=value)


def chosen(batches: Iterable[Sequence[Any]], most: int) -> list[Any]:
    """Return the newest of some records, so many at most, each topic having its share. In the order of their times."""
    of_topic: dict[str, list[Any]] = {}
    for batch in batches:
        if batch and most:
            of_topic.setdefault(batch[0].topic, []).append(batch[-most:])
    waiting = [list(merged(each)) for each in of_topic.values()]
    found: list[list[Any]] = [[] for _ in waiting]
    left = min(most, sum(map(len, waiting)))
    while left:
        for place, records in enumerate(waiting):
            if records and left:
                found[place].append(records.pop())
                left -= 1
    return list(merged(each[::-1] for each in found))


async def watch(
    settings: Settings, positions: MutableMapping[TopicPartition, int], tell: Tell
) -> AsyncGenerator[Glimpse, None]:
    """Give a glimpse every `TICK_SECONDS`, empty ones too; the first is of what came before.

    `positions` is where an earlier watch of the same process stopped, and is kept up to date: nothing is shown twice.
    While Kafka is away it waits, and tells so once.

    Raises:
        UnreachableError: Kafka cannot be reached at the start.
        OperatorError: a topic is missing, or the raw topic goes.

    """
    names = {settings.topic(topic): topic for topic in WATCHED}
    counts = await _partitions(settings, list(names))
    show = {name: shower(settings, Choice(topic=names[name], show_personal=True), counts[name]) for name in names}
    quiet = Quiet(settings, settings.topic(Topic.RAW), tell)
    pace, again = _Pace(), bool(positions)
    async with kafka.open_reader(settings, "waybill-console") as reader:
        fetched, left_out = await _before(reader, counts, positions)
        came, first = again * sum(map(len, fetched.values())), not again
        while True:
            picked = chosen(fetched.values(), MOST_A_SECOND if first else pace.allowed(monotonic()))
            if not first:  # what was there before takes the place of nothing that comes
                pace.took(len(picked), monotonic())
            first = False
            records = tuple(Watched(names[each.topic], show[each.topic](each)) for each in picked)
            yield Glimpse(records, left_out + max(0, came - len(picked)))
            await asyncio.sleep(TICK_SECONDS)
            fetched = await reader.getmany()
            await quiet.saw(bool(fetched))
            came = sum(map(len, fetched.values()))
            left_out = await _catch_up(reader, positions)


async def _before(
    reader: Consumer, counts: Mapping[str, int], positions: MutableMapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, list[Any]], int]:
    """Read the newest records of each partition; begin behind what was shown, and tell how many are left out."""
    parts = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    reader.assign(parts)
    starts, ends = await reader.beginning_offsets(parts), await reader.end_offsets(parts)
    left_out = 0
    for part in parts:
        known = min(positions.get(part, 0), ends[part])
        start = max(starts[part], ends[part] - BEFORE, known)
        left_out += max(0, start - known) if part in positions else 0
        reader.seek(part, start)
    found: dict[TopicPartition, list[Any]] = {part: [] for part in parts}
    until = monotonic() + BEFORE_SECONDS
    while any([await reader.position(part) < ends[part] for part in parts]) and monotonic() < until:
        for part, records in (await reader.getmany(timeout_ms=100)).items():
            found[part] += records
    for part in parts:
        positions[part] = await reader.position(part)
    return found, left_out


async def _catch_up(reader: Consumer, positions: MutableMapping[TopicPartition, int]) -> int:
    """Keep where each partition is. One that is too far behind goes to its end: return how many it leaves out."""
    left_out = 0
    for part in reader.assignment():
        positions[part] = await reader.position(part)
        end = reader.highwater(part)
        if end is not None and end - positions[part] > MOST_BEHIND:
            left_out += end - positions[part]
            positions[part] = end
            reader.seek(part, end)
    return left_out


async def _partitions(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    async with kafka.admin_client(settings) as admin:
        found = await kafka_admin.find_topics(admin, names, [])
    for name in names:
        if name not in found:
            raise OperatorError(f"topic {name} is missing: `waybill topics apply` makes it")
    return {name: found[name].partitions for name in names}


class _Pace:
    """How many records may be shown: never more than `MOST_A_SECOND` within any second."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, int]] = deque()

    def allowed(self, now: float) -> int:
        """Return how many may be shown now."""
        while self._shown and self._shown[0][0] <= now - 1:
            self._shown.popleft()
        return max(0, MOST_A_SECOND - sum(count for _, count in self._shown))

    def took(self, count: int, now: float) -> None:
        """Take note that so many were."""
        if count:
            self._shown.append((now, count))
