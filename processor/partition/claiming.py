"""How a worker takes its partition over: fence, cursor, and only then what is to be decided by."""

import asyncio
from time import time
from typing import Final

import msgspec
import structlog

from processor.core.cursor import Cursor, Resume, Stream
from processor.core.errors import ClaimLostError, MendableError
from processor.kafka.feed import Feed
from processor.kafka.offsets import committed_offset
from processor.partition.publishing import Publishing
from processor.partition.shared import Shared
from processor.partition.standing import Standing
from processor.protocol.claims import Halt, Log, PartitionState, before_growth, decide, deleted_before
from processor.protocol.crash_points import Step
from runtime.errors import UnreachableError
from schemas.partitioning import uneven
from schemas.topics import Topic

ANSWER_SECONDS: Final = 15.0
"""How long a claim waits for one answer of Kafka's: milliseconds when all is well."""

log = structlog.get_logger(__name__)


class Claimed(msgspec.Struct, frozen=True):
    """A partition as its claim found it. `stream` is by what it is read."""

    cursor: Cursor
    stream: Stream


class Claiming:
    """Claims one partition, as often as its worker needs to."""

    def __init__(self, shared: Shared, standing: Standing, feed: Feed) -> None:
        """Prepare; `take_over` claims."""
        self.standing = standing
        self.suspect: int | None = None
        """Where the log gave no record: the next claim looks what is there."""
        self._shared = shared
        self._feed = feed
        self._partition = standing.partition

    async def take_over(self, publishing: Publishing) -> Claimed:
        """Claim the partition, and publish what is stored and not known to be published.

        Raises:
            ClaimLostError: another claim was faster.
            MendableError: going on would skip or repeat something.

        """
        shared, waiting = self._shared, self.standing.waiting
        stream, narrow = await self.topics_now()
        await publishing.open(stream)
        shared.reached(Step.FENCED)
        log_range = await self._log_range()
        cursor = await shared.cursors.claim(self._partition, stream, log_range.start)
        shared.reached(Step.CURSOR_CLAIMED)
        if waiting.next_offset is not None and cursor.next_offset > waiting.next_offset:
            self.standing.got_on()  # the commit in doubt had got through
        waiting.next_offset = cursor.next_offset
        waiting.log_is(log_range.start, log_range.end, time())
        sight = await self._sight(cursor, stream, log_range, narrow)
        decision = decide(sight)
        if isinstance(decision, Halt) and (before := before_growth(sight)) is not None:
            sight, decision = before, decide(before)
        if isinstance(decision, Halt):
            if await shared.cursors.look(self._partition, stream, log_range.start) != cursor:
                raise ClaimLostError("another claim has taken the partition over")
            raise MendableError(decision.why)
        if deleted := deleted_before(cursor):
            log.warning("records deleted before they were read", partition=self._partition, records=deleted)
        if decision.ignored:
            log.warning("committed offset ignored: moved ahead by hand", partition=self._partition)
        await publishing.publish_again(decision.emit_from, cursor, sight.committed)
        shared.reached(Step.PUBLISHED_AGAIN)
        shared.metrics.claims.labels(self.standing.reason).inc()
        return Claimed(cursor, sight.stream)

    async def could_resume(self) -> bool:
        """Look, without claiming, whether a claim could go on now."""
        (stream, narrow), log_range = await self.topics_now(), await self._log_range()
        cursor = await self._shared.cursors.look(self._partition, stream, log_range.start)
        self.standing.waiting.next_offset = cursor.next_offset
        return isinstance(decide(await self._sight(cursor, stream, log_range, narrow)), Resume)

    async def topics_now(self) -> tuple[Stream, str | None]:
        """Return what is read, with the partition count it has now, and which of our topics lack this partition."""
        names = [self._shared.settings.topic(topic) for topic in Topic]
        async with asyncio.timeout(ANSWER_SECONDS):
            described = await self._shared.admin.describe_topics(names)
        counts = {each["topic"]: 0 if each["error_code"] else len(each["partitions"]) for each in described}
        raw_topic = self._shared.stream.raw_topic
        partitions = counts.pop(raw_topic)
        if not partitions:
            raise UnreachableError(f"topic {raw_topic} is not there")
        narrow = uneven(raw_topic, partitions, counts) if min(counts.values()) <= self._partition else None
        return msgspec.structs.replace(self._shared.stream, partitions=partitions), narrow

    async def _log_range(self) -> Log:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._feed.log_range()

    async def _sight(self, cursor: Cursor, stream: Stream, log_range: Log, narrow: str | None) -> PartitionState:
        """Read what remains to be read. The cursor is claimed by now, so nobody else moves the committed offset."""
        async with asyncio.timeout(ANSWER_SECONDS):
            committed = await committed_offset(self._shared.admin, stream, self._partition)
        found = await self._feed.reread(cursor, log_range)
        suspected = self.suspect == cursor.next_offset
        gap = await self._feed.gap(cursor.next_offset, log_range.end) if suspected else None
        return PartitionState(
            cursor=cursor, committed=committed, log=log_range, stream=stream, found=found, narrow=narrow, gap=gap
        )
