"""How a partition stands: whether its worker gets on, in which doubts, and why it halts."""

import asyncio
from time import monotonic
from typing import Final

import structlog

from processor.core.plan import MAX_BATCH
from processor.kafka.feed import Feed
from processor.partition.doubts import claim_reason
from processor.pauses import pause, rest
from processor.protocol.backlog import Waiting
from processor.protocol.pacing import RETRY_SECONDS, Doubts, larger, smaller
from runtime.metrics import ClaimReason, PartitionActivity

STEADY_SECONDS: Final = 2.0
"""A claim that held so long was a good one: the next is tried at once, and told."""

log = structlog.get_logger(__name__)


class Standing:
    """How one partition stands. Its worker changes it; group, metrics and readiness look at it."""

    def __init__(self, partition: int, feed: Feed) -> None:
        """Begin without a claim. `feed` is paused when the partition halts."""
        self.partition = partition
        self.position: int | None = None
        """The next offset to fetch, while the claim holds. A new assignment starts there."""
        self.halted: str | None = None
        """Why the partition stands still, if it does."""
        self.ready = False
        """Whether the claim has proved to work: its first batch is done, or none waited."""
        self.waiting = Waiting()
        self.reason = ClaimReason.ASSIGNED
        """Why the partition is claimed next."""
        self.batch_size = MAX_BATCH
        self.in_hand = 0
        """How many records the batch has that is being applied; 0 where none is."""
        self._feed = feed
        self._claimed_at: float | None = None
        self._attempts = 0
        self._doubts = Doubts()

    @property
    def state(self) -> PartitionActivity:
        """What is done with the partition just now."""
        if self.halted is not None:
            return PartitionActivity.HALTED
        return PartitionActivity.WORKING if self.ready else PartitionActivity.CLAIMING

    @property
    def working(self) -> bool:
        """Whether the partition is claimed and being worked on."""
        return self.position is not None

    def claimed(self, offset: int) -> None:
        """Take note that a claim goes on at an offset."""
        self.position = offset
        self._claimed_at = monotonic()

    def dropped(self) -> None:
        """Take note that the claim is given up."""
        self.position = self._claimed_at = None
        self.ready = False
        self.in_hand = 0

    def prove(self, offset: int) -> None:
        """Take note that the claim, which has come to an offset, works."""
        if not self.ready:
            self.ready, self.halted = True, None
            log.info("partition claimed", partition=self.partition, reason=self.reason, offset=offset)

    def got_on(self) -> None:
        """Take note that the partition has got on: doubts before count no more."""
        self._doubts = Doubts()

    def done(self, records: int, seconds: float, limit: float) -> None:
        """Take note of a batch that was done within some seconds; it might have taken `limit`."""
        self.batch_size = larger(self.batch_size, records, seconds, limit)
        self._doubts = Doubts()

    def halt(self, why: str) -> None:
        """Fetch nothing, and tell why."""
        self._feed.pause()
        if self.halted != why:
            self.halted = why
            log.error("partition halted", partition=self.partition, why=why)

    def mended(self) -> None:
        """Take note that what halted the partition is gone."""
        self.reason, self._attempts, self._doubts = ClaimReason.MENDED, 0, Doubts()

    def doubt(self, error: Exception, *, stores_work: bool, stopping: bool) -> None:
        """Take note of a doubt: the first is told, and that doubts have stopped the partition."""
        now, held = monotonic(), self._claimed_at
        steady = self.ready and held is not None and now - held > STEADY_SECONDS
        doing = "claiming it" if held is None else f"a batch of {self.in_hand}" if self.in_hand else "idling"
        if self.in_hand:
            self.batch_size = smaller(min(self.batch_size, self.in_hand))
        self.reason, self._attempts = claim_reason(error), 1 if steady else self._attempts + 1
        if self._attempts == 1 and not stopping:
            log.warning("claiming again", partition=self.partition, why=repr(error), during=doing)
        if steady:
            self._doubts = Doubts()
        if stores_work:
            self._doubts = self._doubts.after(now)
        if self._doubts.have_stopped(now) and self.halted is None:
            self.halt(
                f"it has not got on for {now - self._doubts.since:.0f} s: {doing} has ended in doubt "
                f"{self._doubts.count} times in a row, this time with {error!r}. It is tried again every "
                f"{RETRY_SECONDS:.0f} s, and goes on by itself when that works"
            )

    async def pause(self, stopping: asyncio.Event) -> None:
        """Wait before the next claim: the longer the more have failed."""
        if self._doubts.have_stopped(monotonic()):
            await rest(RETRY_SECONDS, stopping)
        else:
            await pause(self._attempts, stopping)
