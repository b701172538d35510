"""A worker's hold on the shared consumer: what it fetches joins up, and once it is closed it touches nothing."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException

from processor.core.errors import ClaimLostError, GapError
from processor.core.offsets import Span
from processor.kafka.feed import Feed, gap_at
from runtime import kafka_log
from runtime.kafka_log import Batch

RAW = TopicPartition("raw", 0)


class Consumer:
    """One position that all who hold it share, as aiokafka's has."""

    def __init__(self, offsets: list[int]) -> None:
        self.offsets = offsets
        self.at = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.resting: set[TopicPartition] = set()
        self.unreadable: int | None = None

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await self.gate.wait()
        ahead = [offset for offset in self.offsets if offset >= self.at][:max_records]
        self.at = ahead[-1] + 1 if ahead else self.at
        if self.unreadable in ahead:
            raise CorruptRecordException("no record")
        return {RAW: [_record(offset) for offset in ahead]}

    async def beginning_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 0)

    async def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, self.offsets[-1] + 1)

    async def position(self, _: TopicPartition) -> int:
        return self.at

    def seek(self, _: TopicPartition, position: int) -> None:
        self.at = position

    def pause(self, *parts: TopicPartition) -> None:
        self.resting |= set(parts)

    def resume(self, *parts: TopicPartition) -> None:
        self.resting -= set(parts)

    def paused(self) -> set[TopicPartition]:
        return self.resting

    def assignment(self) -> set[TopicPartition]:
        return {RAW}


def _record(offset: int) -> Any:
    return SimpleNamespace(partition=0, offset=offset, key=b"k", value=b"v", headers=(), timestamp=0)


class Broker:
    """What the log holds besides records, and the connection to it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.connection: object = object()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    there = Broker()

    async def batches(_: Any, __: TopicPartition, start: int, end: int) -> AsyncIterator[Batch]:
        for batch in there.batches:
            if batch.end > start and batch.start < end:
                yield batch

    monkeypatch.setattr(kafka_log, "batches", batches)
    monkeypatch.setattr(kafka_log, "connection", lambda *_: there.connection)
    return there


async def opened(offsets: list[int], position: int = 0) -> tuple[Feed, Consumer]:
    consumer = Consumer(offsets)
    feed = Feed(cast("Any", consumer), RAW)
    await feed.log_range()
    feed.go_on(position)
    return feed, consumer


async def fetched(feed: Feed, position: int) -> list[int]:
    return [record.offset for record in await feed.fetch(position, 100)]


async def test_records_that_join_up_are_given(broker: Broker) -> None:
    feed, _ = await opened([0, 1, 2])
    assert await fetched(feed, 0) == [0, 1, 2]
    assert await fetched(feed, 3) == []


async def test_a_fetch_under_way_takes_nothing_once_the_feed_is_closed(broker: Broker) -> None:
    feed, consumer = await opened([0, 1, 2])
    consumer.gate.clear()
    fetching = asyncio.create_task(feed.fetch(0, 100))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    consumer.gate.set()  # the records arrive in the very moment in which the partition goes
    feed.close()
    assert await fetching == []
    assert consumer.at == 0


async def test_a_closed_feed_leaves_position_and_pauses_to_its_successor(broker: Broker) -> None:
    feed, consumer = await opened([0, 1, 2])
    feed.close()
    consumer.at = 2
    feed.pause()
    for touch in (feed.fetch(0, 100), asyncio.to_thread(feed.go_on, 0)):
        with pytest.raises(ClaimLostError):
            await touch
    assert (consumer.at, consumer.resting) == (2, set())


async def test_a_fetch_that_is_cancelled_from_outside_is_cancelled(broker: Broker) -> None:
    feed, consumer = await opened([0])
    consumer.gate.clear()
    fetching = asyncio.create_task(feed.fetch(0, 100))
    await asyncio.sleep(0)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching


async def test_a_gap_is_told_after_the_records_before_it(broker: Broker) -> None:
    feed, _ = await opened([0, 1, 5, 6])
    assert await fetched(feed, 0) == [0, 1]
    with pytest.raises(GapError) as caught:
        await feed.fetch(2, 100)
    assert caught.value.gap == Span(2, 5)


async def test_records_that_the_consumer_passed_over_are_no_explanation(broker: Broker) -> None:
    feed, _ = await opened([4], 2)
    broker.batches = [Batch(2, 4, (2, 3), explained=False)]
    with pytest.raises(GapError):
        await feed.fetch(2, 100)


async def test_what_transactions_leave_is_passed_over(broker: Broker) -> None:
    feed, _ = await opened([0, 1, 5, 8])
    broker.batches = [Batch(2, 4, (), explained=True), Batch(4, 5, (), explained=True)]
    broker.batches += [Batch(5, 6, (5,), explained=False), Batch(6, 8, (), explained=True)]
    assert await fetched(feed, 0) == [0, 1, 5, 8]


@pytest.mark.parametrize(
    ("read", "batches", "behind"),
    [
        (3, [], 3),
        (5, [Batch(3, 5, (), explained=True)], 5),
        (5, [Batch(3, 4, (), explained=True)], 3),
        (5, [Batch(3, 5, (3, 4), explained=False)], 3),
    ],
)
async def test_markers_that_nothing_follows_are_passed(
    broker: Broker, read: int, batches: list[Batch], behind: int
) -> None:
    feed, consumer = await opened([2], 3)
    broker.batches, consumer.at = batches, read
    assert await feed.behind_markers(3) == behind


async def test_a_record_given_again_is_a_doubt(broker: Broker) -> None:
    feed, _ = await opened([3, 4], 3)
    with pytest.raises(ClaimLostError):
        await feed.fetch(4, 100)


async def test_a_new_connection_is_a_doubt_until_the_log_was_looked_at(broker: Broker) -> None:
    feed, _ = await opened([0, 1, 2])
    broker.connection = object()
    with pytest.raises(ClaimLostError, match="new connection"):
        await feed.fetch(0, 100)
    await feed.log_range()
    feed.go_on(0)
    assert await fetched(feed, 0) == [0, 1, 2]


@pytest.mark.parametrize(
    ("batches", "gap"),
    [
        ([], None),
        ([Batch(2, 4, (2, 3), explained=False)], None),
        ([Batch(1, 4, (1, 2, 3), explained=False)], None),
        ([Batch(2, 5, (), explained=True), Batch(5, 6, (5,), explained=False)], None),
        ([Batch(2, 5, (), explained=True)], None),
        ([Batch(5, 6, (5,), explained=False)], 5),
        ([Batch(2, 5, (), explained=False), Batch(5, 6, (5,), explained=False)], 5),
        ([Batch(2, 4, (), explained=True), Batch(5, 6, (5,), explained=False)], 5),
        ([Batch(1, 6, (1, 5), explained=False)], 5),
    ],
)
async def test_a_gap_is_what_no_marker_explains(broker: Broker, batches: list[Batch], gap: int | None) -> None:
    broker.batches = batches
    assert await gap_at(cast("Any", Consumer([])), RAW, 2, 10) == gap


async def test_all_is_read_up_to_the_record_that_cannot_be(broker: Broker) -> None:
    consumer = Consumer(list(range(100)))
    consumer.unreadable = 90
    feed, got = Feed(cast("Any", consumer), RAW), list[int]()
    await feed.log_range()

    async def go_on() -> None:
        while not got or got[-1] < 99:
            got.extend(record.offset for record in await feed.fetch(got[-1] + 1 if got else 0, 64))

    with pytest.raises(ClaimLostError, match=r"offset 90 cannot be read.*no record.*waybill recover"):
        await go_on()
    assert got == list(range(90))
