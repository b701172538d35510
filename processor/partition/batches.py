"""What a worker does with its claimed partition: batch after batch, each stored and then published.

PostgreSQL of the next batch may overlap Kafka of this one, never overtake it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import msgspec
import structlog

from processor.core.cache import Cache
from processor.core.cursor import Cursor, Stream, advanced
from processor.core.errors import ClaimLostError, DeadLetterLimitError, GapError, MendableError
from processor.core.plan import Plan
from processor.core.reading import Reading, Unreadable, authorized
from processor.kafka.feed import Feed
from processor.partition.claiming import Claimed, Claiming
from processor.partition.pieces import Piece, plan_piece, read_all, store_piecewise
from processor.partition.publishing import Publishing
from processor.partition.shared import Shared
from processor.protocol.backlog import Oldest
from processor.protocol.claims import MEND
from processor.protocol.crash_points import Step
from processor.protocol.dead_letter_limit import DeadLetterLimit, last_of_others
from runtime import postgres
from runtime.metrics import ProcessorMetrics, StoreName
from runtime.settings import DLQ_WINDOW_WEBHOOKS
from schemas.records import RawRecord, UnforeseenError
from schemas.vocabulary import DeadLetterReason

REMEMBER_SECONDS: Final = 1.0
"""When idle so long, the database is told how far is published."""

CACHED_BYTES: Final = 64 * 1024 * 1024
"""How much a worker keeps of shipments in memory: some 5,000 of the last minutes, or one hot one."""

LOOK_SECONDS: Final = 5.0
"""How often a worker that has nothing to do looks whether its cursor is there still. A failover, or a backup that is
put back, may lose what was committed; while batches come, the first one tells."""

NOTHING: Final = Plan()
"""What markers come to."""

log = structlog.get_logger(__name__)


class Batches:
    """The batches of one partition. What is in memory of shipments lives as long as a claim."""

    def __init__(self, shared: Shared, claiming: Claiming, feed: Feed, stopping: asyncio.Event) -> None:
        """Begin without a claim. Nothing new is begun once `stopping` is set."""
        self._shared = shared
        self._claiming = claiming
        self._standing = claiming.standing
        self._partition = claiming.standing.partition
        self._feed = feed
        self._stopping = stopping
        self._limit = DeadLetterLimit(DLQ_WINDOW_WEBHOOKS, shared.settings.dlq_max_ratio)
        self._faults: set[str] = set()
        """The kinds of our own faults that were told."""
        self._shipments = Cache(CACHED_BYTES)
        self._cursor: Cursor | None = None
        self._stream: Stream = shared.stream
        self._publishing = Publishing(shared, self._partition)

    def begin(self, claimed: Claimed, publishing: Publishing) -> None:
        """Begin where a claim found the partition."""
        self._cursor, self._stream, self._publishing = claimed.cursor, claimed.stream, publishing
        self._standing.claimed(claimed.cursor.next_offset)
        self._feed.go_on(claimed.cursor.next_offset)
        if not self._standing.waiting.records:
            self._prove()

    def drop(self) -> None:
        """Forget everything that the claim knew."""
        self._cursor = None
        self._shipments.clear()

    async def work(self) -> None:
        """Apply and publish batches until the worker is to stop."""
        last_batch = looked_at = monotonic()
        while not self._stopping.is_set():
            records = await self._fetch_next()
            self._standing.in_hand = len(records)
            if records:
                try:
                    await self._process(records)
                except DeadLetterLimitError as error:
                    await self._hold_back(error)
                last_batch = monotonic()
            elif monotonic() - last_batch > REMEMBER_SECONDS:
                await self._pass_markers()
                await self.remember()
                if monotonic() - looked_at > LOOK_SECONDS and self._shared.stores_work():
                    await self._look()
                    looked_at = monotonic()
                if not self._standing.waiting.records:
                    self._prove()
        await self.remember()

    async def remember(self) -> None:
        """Tell the database how far is published, if it does not know. Without a claim nothing is told."""
        if self._cursor is None:
            return
        await self._publishing.done()
        cursor, emitted = self._held(), self._publishing.emitted
        if cursor.emitted < emitted:
            await self._shared.store.note_emitted(self._partition, cursor, emitted)
            self._cursor = msgspec.structs.replace(cursor, emitted=emitted)

    def _held(self) -> Cursor:
        """Return the cursor as this claim left it."""
        assert self._cursor is not None
        return self._cursor

    def _prove(self) -> None:
        if self._cursor is not None:
            self._standing.prove(self._cursor.next_offset)

    async def _look(self) -> None:
        """See whether the database has the cursor as this claim left it.

        Raises:
            ClaimLostError: it has not.

        """
        cursor = self._held()
        found = await self._shared.cursors.look(self._partition, self._stream, cursor.next_offset)
        if (found.epoch, found.next_offset) != (cursor.epoch, cursor.next_offset):
            raise ClaimLostError("the cursor is not where this claim has left it")

    async def _pass_markers(self) -> None:
        """Move the cursor behind markers of transactions that nothing follows: they are not records that wait."""
        cursor, publishing = self._held(), self._publishing
        behind = await self._feed.behind_markers(cursor.next_offset)
        if behind == cursor.next_offset:
            return
        await publishing.done()
        now = await self._shared.store.now()
        moved = msgspec.structs.replace(cursor, next_offset=behind, emitted=max(cursor.emitted, publishing.emitted))
        await self._shared.store.apply(self._partition, cursor, moved, NOTHING, now)
        self._cursor, self._standing.position, self._standing.waiting.next_offset = moved, behind, behind
        await publishing.publish((), behind, moved.recovery, now)
        publishing.emitted = behind

    async def _fetch_next(self) -> list[RawRecord]:
        """Fetch what is to be applied next."""
        records = await self._fetch()
        if records:
            self._standing.waiting.oldest = Oldest(records[0].offset, records[0].timestamp_ms / 1000)
        return records

    async def _fetch(self) -> list[RawRecord]:
        """Fetch what comes next, whether it is to be applied or only looked at."""
        standing = self._standing
        assert standing.position is not None
        try:
            records = await self._feed.fetch(standing.position, standing.batch_size)
        except GapError as error:
            self._claiming.suspect = error.gap.start
            raise
        if records:
            standing.position = records[-1].offset + 1
        if (end := self._feed.end) is not None:
            standing.waiting.log_end = max(standing.waiting.log_end, end)
        return records

    async def _process(self, records: Sequence[RawRecord]) -> None:
        """Read a batch, store it and begin to publish it."""
        readings = await read_all(records, self._shared.settings.assumed_zone, self._stream.partitions)
        unreadable = [each for each in readings if isinstance(each, Unreadable)]
        self._tell_faults(unreadable)
        if any(map(is_misrouted, unreadable)):
            stream, _ = await self._claiming.topics_now()
            if stream != self._stream:
                raise MendableError(
                    f"{stream.raw_topic} has {stream.partitions} partitions now, not {self._stream.partitions}, and "
                    f"records come by the new count: {MEND}"
                )
        for part in self._limit.parts(readings):
            await store_piecewise(self._store, part)

    async def _hold_back(self, error: DeadLetterLimitError) -> None:
        """Stand still before what is beyond the limit, until a record of another courier is seen behind it."""
        self._standing.in_hand = 0
        await self.remember()
        start = self._held().next_offset
        self._limit.hold()
        self._standing.halt(str(error))
        self._go_back(start)
        while not self._stopping.is_set():
            last = last_of_others(await self._fetch(), error.couriers)
            if last is not None:
                log.warning("dead letters after all: others' records stand behind", partition=self._partition)
                self._limit.let_pass(last + 1)
                self._go_back(start)
                return

    def _go_back(self, offset: int) -> None:
        self._standing.position = offset
        self._feed.go_on(offset)

    def _tell_faults(self, unreadable: Iterable[Unreadable]) -> None:
        """Log each kind of our own faults once, with its traceback. Each record's dead letter names the kind."""
        for reading in unreadable:
            if isinstance(reading.error, UnforeseenError):
                cause = reading.error.__cause__
                kind = place_of(cause)
                if kind not in self._faults:
                    self._faults.add(kind)
                    log.error("a record cannot be read: a fault of ours", record=reading.record.at, exc_info=cause)

    async def _store(self, readings: Sequence[Reading]) -> int:
        """Store the first piece of a batch, then publish it while the next one is stored; return how long it is.

        A worker that is to stop gives up the rest of its batch: the next claim begins behind what is stored.
        """
        if self._stopping.is_set():
            return len(readings)
        shared, cursor, publishing, began = self._shared, self._held(), self._publishing, monotonic()
        readings = authorized(readings, await shared.store.written_down(readings))
        now = await shared.store.now()
        limit = shared.settings.shipment_max_observations
        piece = await plan_piece(shared.store, self._shipments, readings, cursor, now, limit)
        planned, last = piece.plan, readings[piece.taken - 1].record
        windows = self._limit.judge(readings[: piece.taken])
        if planned.retired:
            await publishing.done()  # what is not known to be published stays stored
        shared.reached(Step.PLANNED)
        started = monotonic()
        moved = advanced(cursor, last, publishing.emitted)
        await shared.store.apply(self._partition, cursor, moved, planned, now)
        shared.metrics.commit_duration.labels(StoreName.POSTGRES).observe(monotonic() - started)
        shared.reached(Step.STORED)
        self._cursor = moved
        self._standing.waiting.applied(moved.next_offset, last.timestamp_ms / 1000)
        if self._limit.stored(windows):
            self._standing.halted = None
        self._shipments.put(piece.shipments)
        stored_in = monotonic() - began
        await publishing.done()
        publishing.begin(self._publish(piece, moved, now, stored_in))
        return piece.taken

    async def _publish(self, piece: Piece, moved: Cursor, now: datetime, stored_in: float) -> int:
        """Publish a piece that was planned at `now` and stored within `stored_in` seconds; return how far that is."""
        started, shared = monotonic(), self._shared
        with self._traced(piece, stored_in):
            await self._publishing.publish(piece.plan.outputs, moved.next_offset, moved.recovery, now)
        published_in = monotonic() - started
        shared.metrics.commit_duration.labels(StoreName.KAFKA).observe(published_in)
        count(shared.metrics, piece.plan, now + timedelta(seconds=stored_in + published_in))
        limit = min(postgres.COMMAND_SECONDS, shared.settings.kafka_transaction_timeout.total_seconds())
        self._standing.done(piece.taken, max(stored_in, published_in), limit)
        self._prove()
        return moved.next_offset

    def _traced(self, piece: Piece, stored_in: float) -> AbstractContextManager[None]:
        """Make a span of publishing a piece, if it holds records of traced webhooks."""
        spans, traces = self._shared.spans, piece.plan.traces
        if spans is None or not traces:
            return nullcontext()
        return spans.batch(self._stream.raw_topic, self._partition, piece.taken, traces.values(), stored_in)


def count(metrics: ProcessorMetrics, done: Plan, now: datetime) -> None:
    """Count what a batch came to, which is published now."""
    outcomes = Counter([(row.observation.courier, row.outcome) for row in done.observations])
    for (courier, outcome), times in outcomes.items():
        metrics.observations.labels(courier, outcome).inc(times)
    metrics.event_delay.observe(
        [(now - row.observation.received_at).total_seconds() for row in done.observations if row.version is not None]
    )
    for unreadable in done.dead_letters:
        metrics.dead_letters.labels(unreadable.error.reason).inc()
    for output in done.outputs:
        if output.anomaly is not None:
            metrics.anomalies.labels(output.anomaly.courier, output.anomaly.kind).inc()


def place_of(error: BaseException | None) -> str:
    """Name the kind of an error and the line it comes from."""
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__} {line}"


def is_misrouted(reading: Unreadable) -> bool:
    """Whether a record's shipment belongs to another partition."""
    return reading.error.reason is DeadLetterReason.MISROUTED
