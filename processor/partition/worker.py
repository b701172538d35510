"""One partition's worker: claim, then batch after batch. It alone writes the partition's shipments.

A batch is one PostgreSQL transaction, then one Kafka transaction. PostgreSQL of the next batch may overlap Kafka of
this one, never overtake it. After any doubt everything in memory is dropped and the partition claimed anew: what is to
be published then comes from the database, never from memory.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from logging import ERROR, WARNING
from time import monotonic, time
from typing import Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import InvalidTimestampError, UnknownError

from processor.core.cache import Cache
from processor.core.cursor import Committed, Cursor, Resume, Stream, advanced, mark
from processor.core.errors import (
    ClaimLostError,
    CulpritError,
    FloodError,
    GapError,
    HaltError,
    MendableError,
    UnplannableError,
)
from processor.core.outputs import NO_TIME, Output, batch_messages
from processor.core.plan import MAX_BATCH, Plan
from processor.core.reading import Reading, Unreadable, authorized
from processor.kafka.emitter import Emitter
from processor.kafka.feed import Feed
from processor.kafka.offsets import committed_offset
from processor.partition.doubts import DOUBTS, claim_reason
from processor.partition.pieces import plan_piece, read_all
from processor.protocol.backlog import Oldest, Waiting
from processor.protocol.claims import MEND, Halt, Log, Sight, before_growth, decide, deleted_before
from processor.protocol.crash_points import Reached, Step
from processor.protocol.dead_letter_limit import Windows, courier_of, flooding, last_of_others, slid
from processor.protocol.pacing import RETRY_SECONDS, Doubts, back_off, larger, smaller
from processor.storage.cursors import Cursors
from processor.storage.store import Store
from runtime import postgres
from runtime.errors import UnreachableError
from runtime.kafka_asking import Admin
from runtime.metrics import ClaimReason, PartitionState, ProcessorMetrics, StoreName
from runtime.settings import DLQ_WINDOW_WEBHOOKS, Settings
from schemas.partitioning import uneven
from schemas.records import RawRecord, UnforeseenError, UnreadableError
from schemas.topics import Topic
from schemas.vocabulary import DeadLetterReason

ANSWER_SECONDS: Final = 15.0
"""How long a claim waits for one answer of Kafka's: milliseconds when all is well."""

REMEMBER_SECONDS: Final = 1.0
"""When idle so long, the database is told how far is published."""

CACHED_BYTES: Final = 64 * 1024 * 1024
"""How much a worker keeps of shipments in memory: some 5,000 of the last minutes, or one hot one."""

LOOK_SECONDS: Final = 5.0
"""How often a worker that has nothing to do looks whether its cursor is there still. A failover, or a backup that is
put back, may lose what was committed; while batches come, the first one tells."""

STEADY_SECONDS: Final = 2.0
"""A claim that held so long was a good one: the next is tried at once, and told."""

GIVE_UP_SECONDS: Final = 3.0
"""How long a cancelled emission may take to end."""

REFUSALS: Final = (InvalidTimestampError, UnknownError)
"""What brokers say of a timestamp that is too far from their clock. aiokafka does not know the newer word for it."""

NOTHING: Final = Plan()
"""What markers come to."""

log = structlog.get_logger(__name__)


class Shared(msgspec.Struct, frozen=True):
    """What all workers of a process use."""

    settings: Settings
    stream: Stream
    consumer: AIOKafkaConsumer
    admin: Admin
    cursors: Cursors
    store: Store
    metrics: ProcessorMetrics
    reached: Reached
    stores_work: Callable[[], bool]
    """Whether both stores answer, as was last seen. While one is away it is to blame for doubts, and that is said."""


class Worker:
    """Applies one partition from its assignment until `stop`."""

    def __init__(self, shared: Shared, partition: int) -> None:
        """Prepare; `run` does the work."""
        self.partition = partition
        self.position: int | None = None
        """The next offset to fetch, while the claim holds. A new assignment starts there."""
        self.halted: str | None = None
        """Why the partition stands still, if it does."""
        self.ready = False
        """Whether the claim has proved to work: its first batch is done, or none waited."""
        self.waiting = Waiting()
        self._shared = shared
        self._raw = TopicPartition(shared.stream.raw_topic, partition)
        self._feed = Feed(shared.consumer, self._raw)
        self._suspect: int | None = None
        """Where the log gave no record: the next claim looks what is there."""
        self._stopping = asyncio.Event()
        self._stream = shared.stream
        self._cursor: Cursor | None = None
        self._shipments = Cache(CACHED_BYTES)
        self._emitter: Emitter | None = None
        self._emission: asyncio.Task[int] | None = None
        self._emitted = 0
        self._windows: Windows = {}
        self._holding = False
        """Whether a courier is held back."""
        self._others_until = 0
        """Up to here other couriers' records stand behind the dead letters of one that is held back."""
        self._refused = False
        """Whether the brokers have refused the time that outputs were stamped with: the next claim stamps none."""
        self._timeless = False
        self._told: set[str] = set()
        self._reason = ClaimReason.ASSIGNED
        self._claimed_at: float | None = None
        self._attempts = 0
        self._doubts = Doubts()
        self._batch_size = MAX_BATCH
        self._in_hand = 0

    @property
    def state(self) -> PartitionState:
        """What is done with the partition just now."""
        if self.halted is not None:
            return PartitionState.HALTED
        return PartitionState.WORKING if self.ready else PartitionState.CLAIMING

    @property
    def working(self) -> bool:
        """Whether the partition is claimed and being worked on."""
        return self.position is not None

    def stop(self) -> None:
        """Ask for an orderly end: the piece in hand is finished. Nothing is fetched any more."""
        self._stopping.set()
        self._feed.close()

    async def run(self) -> None:
        """Claim and work until stopped."""
        while not self._stopping.is_set():
            try:
                await self._claim()
                await self._work()
            except MendableError as error:
                self._halt(str(error))
                await self._drop_claim()
                await self._wait_until_mended()
                self._reason, self._attempts, self._doubts = ClaimReason.MENDED, 0, Doubts()
            except HaltError as error:
                self._halt(str(error))
                if self._cursor is not None:
                    with suppress(*DOUBTS):  # what is stored is published; else the next claim does it
                        await self._remember()
                await self._drop_claim()
                await self._stopping.wait()
            except DOUBTS as error:
                self._doubt(error)
            finally:
                # A worker that is cancelled just now still closes its producer.
                await asyncio.shield(self._drop_claim())
            if self._doubts.have_stopped(monotonic()):
                await rest(RETRY_SECONDS, self._stopping)
            else:
                await pause(self._attempts, self._stopping)

    def _doubt(self, error: Exception) -> None:
        """Take note of a doubt: the first is told, and that they have stopped the partition."""
        now, held = monotonic(), self._claimed_at
        steady = self.ready and held is not None and now - held > STEADY_SECONDS
        doing = "claiming it" if held is None else f"a batch of {self._in_hand}" if self._in_hand else "idling"
        if self._in_hand:
            self._batch_size = smaller(min(self._batch_size, self._in_hand))
        self._reason, self._attempts = claim_reason(error), 1 if steady else self._attempts + 1
        if self._attempts == 1 and not self._stopping.is_set():
            log.warning("claiming again", partition=self.partition, why=repr(error), during=doing)
        if steady:
            self._doubts = Doubts()
        if self._shared.stores_work():
            self._doubts = self._doubts.after(now)
        if self._doubts.have_stopped(now) and self.halted is None:
            self._halt(
                f"it has not got on for {now - self._doubts.since:.0f} s: {doing} has ended in doubt "
                f"{self._doubts.count} times in a row, this time with {error!r}. It is tried again every "
                f"{RETRY_SECONDS:.0f} s, and goes on by itself when that works"
            )

    def _halt(self, why: str) -> None:
        self._feed.pause()
        if self.halted != why:
            self.halted = why
            log.error("partition halted", partition=self.partition, why=why)

    def _prove(self) -> None:
        """Take note that the claim works."""
        if self._cursor is not None and not self.ready:
            self.ready, self.halted = True, None
            log.info(
                "partition claimed", partition=self.partition, reason=self._reason, offset=self._cursor.next_offset
            )

    async def _wait_until_mended(self) -> None:
        """Look, without claiming, until the partition can go on."""
        attempt = 0
        while not self._stopping.is_set():
            attempt += 1
            await pause(attempt, self._stopping)
            with suppress(*DOUBTS):
                (stream, narrow), log_range = await self._topics_now(), await self._log_range()
                cursor = await self._shared.cursors.look(self.partition, stream, log_range.start)
                self.waiting.next_offset = cursor.next_offset
                if isinstance(decide(await self._sight(cursor, stream, log_range, narrow)), Resume):
                    log.info("partition mended", partition=self.partition)
                    self.halted = None
                    return

    async def _claim(self) -> None:
        shared = self._shared
        self._timeless, self._refused = self._refused, False
        stream, narrow = await self._topics_now()
        self._emitter = Emitter(shared.settings, stream, self.partition, shared.reached)
        await self._emitter.open()
        shared.reached(Step.FENCED)
        log_range = await self._log_range()
        cursor = await shared.cursors.claim(self.partition, stream, log_range.start)
        shared.reached(Step.CURSOR_CLAIMED)
        if self.waiting.next_offset is not None and cursor.next_offset > self.waiting.next_offset:
            self._doubts = Doubts()  # the commit in doubt had got through
        self.waiting.next_offset = cursor.next_offset
        self.waiting.log_is(log_range.start, log_range.end, time())
        sight = await self._sight(cursor, stream, log_range, narrow)
        decision = decide(sight)
        if isinstance(decision, Halt) and (before := before_growth(sight)) is not None:
            sight, decision = before, decide(before)
        if isinstance(decision, Halt):
            if await shared.cursors.look(self.partition, stream, log_range.start) != cursor:
                raise ClaimLostError("another claim has taken the partition over")
            raise MendableError(decision.why)
        if deleted := deleted_before(cursor):
            log.warning("records deleted before they were read", partition=self.partition, records=deleted)
        if decision.ignored:
            log.warning("committed offset ignored: moved ahead by hand", partition=self.partition)
        await self._publish_again(decision.emit_from, cursor, sight.committed)
        shared.reached(Step.PUBLISHED_AGAIN)
        shared.metrics.claims.labels(self._reason).inc()
        self._stream, self._cursor, self._emitted = sight.stream, cursor, cursor.next_offset
        self.position = cursor.next_offset
        self._feed.go_on(cursor.next_offset)
        self._claimed_at = monotonic()
        if not self.waiting.records:
            self._prove()

    async def _topics_now(self) -> tuple[Stream, str | None]:
        """Return what is read, with the partition count it has now, and which of our topics lack this partition."""
        names = [self._shared.settings.topic(topic) for topic in Topic]
        async with asyncio.timeout(ANSWER_SECONDS):
            described = await self._shared.admin.describe_topics(names)
        counts = {each["topic"]: 0 if each["error_code"] else len(each["partitions"]) for each in described}
        partitions = counts.pop(self._raw.topic)
        if not partitions:
            raise UnreachableError(f"topic {self._raw.topic} is not there")
        narrow = uneven(self._raw.topic, partitions, counts) if min(counts.values()) <= self.partition else None
        return msgspec.structs.replace(self._shared.stream, partitions=partitions), narrow

    async def _log_range(self) -> Log:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._feed.log_range()

    async def _sight(self, cursor: Cursor, stream: Stream, log_range: Log, narrow: str | None) -> Sight:
        """Read what remains to be read. The cursor is claimed by now, so nobody else moves the committed offset."""
        async with asyncio.timeout(ANSWER_SECONDS):
            committed = await committed_offset(self._shared.admin, stream, self.partition)
        found = await self._feed.reread(cursor, log_range)
        suspected = self._suspect == cursor.next_offset
        gap = await self._feed.gap(cursor.next_offset, log_range.end) if suspected else None
        return Sight(cursor, committed, log_range, stream, found, narrow, gap)

    async def _publish_again(self, start: int, cursor: Cursor, committed: Committed | None) -> None:
        """Publish what is stored but not known to be published, and leave our mark on the committed offset."""
        assert self._emitter is not None
        if start < cursor.next_offset:
            log.info("publishing stored outputs", partition=self.partition, start=start, end=cursor.next_offset)
            async for chunk in self._shared.store.stored(self.partition, cursor, start):
                await self._publish(chunk.outputs, chunk.end, cursor.recovery, await self._shared.store.now())
        elif committed != Committed(cursor.next_offset, mark(cursor.recovery)):
            await self._emitter.publish((), cursor.next_offset, cursor.recovery)

    async def _drop_claim(self) -> None:
        self.position = self._cursor = self._claimed_at = None
        self.ready = False
        self._in_hand = 0
        self._shipments.clear()
        if self._emission is not None:
            self._emission.cancel()
            await asyncio.wait([self._emission], timeout=GIVE_UP_SECONDS)
            self._emission = None
        if self._emitter is not None:
            emitter, self._emitter = self._emitter, None
            await emitter.close()

    async def _work(self) -> None:
        last_batch = looked_at = monotonic()
        while not self._stopping.is_set():
            records = await self._fetch()
            self._in_hand = len(records)
            if records:
                try:
                    await self._process(records)
                except FloodError as flood:
                    await self._hold_back(flood)
                last_batch = monotonic()
            elif monotonic() - last_batch > REMEMBER_SECONDS:
                await self._pass_markers()
                await self._remember()
                if monotonic() - looked_at > LOOK_SECONDS and self._shared.stores_work():
                    await self._look()
                    looked_at = monotonic()
                if not self.waiting.records:
                    self._prove()
        await self._remember()

    async def _look(self) -> None:
        """See whether the database has the cursor as this claim left it.

        Raises:
            ClaimLostError: it has not.

        """
        cursor = self._cursor
        assert cursor is not None
        found = await self._shared.cursors.look(self.partition, self._stream, cursor.next_offset)
        if (found.epoch, found.next_offset) != (cursor.epoch, cursor.next_offset):
            raise ClaimLostError("the cursor is not where this claim has left it")

    async def _pass_markers(self) -> None:
        """Move the cursor behind markers of transactions that nothing follows: they are no records that wait."""
        cursor = self._cursor
        assert cursor is not None
        behind = await self._feed.behind_markers(cursor.next_offset)
        if behind == cursor.next_offset:
            return
        await self._emission_done()
        now = await self._shared.store.now()
        moved = msgspec.structs.replace(cursor, next_offset=behind, emitted=max(cursor.emitted, self._emitted))
        await self._shared.store.apply(self.partition, cursor, moved, NOTHING, now)
        self._cursor, self.position, self.waiting.next_offset = moved, behind, behind
        await self._publish((), behind, moved.recovery, now)
        self._emitted = behind

    async def _fetch(self) -> list[RawRecord]:
        records = await self._fetch_on()
        if records:
            self.waiting.oldest = Oldest(records[0].offset, records[0].timestamp_ms / 1000)
        return records

    async def _fetch_on(self) -> list[RawRecord]:
        """Fetch what comes next, whether it is to be applied or only looked at."""
        assert self.position is not None
        try:
            records = await self._feed.fetch(self.position, self._batch_size)
        except GapError as error:
            self._suspect = error.gap.start
            raise
        if records:
            self.position = records[-1].offset + 1
        if (end := self._feed.end) is not None:
            self.waiting.log_end = max(self.waiting.log_end, end)
        return records

    async def _process(self, records: Sequence[RawRecord]) -> None:
        readings = await read_all(records, self._shared.settings.assumed_zone, self._stream.partitions)
        self._tell_faults(readings)
        if any(is_misrouted(reading) for reading in readings):
            stream, _ = await self._topics_now()
            if stream != self._stream:
                raise MendableError(
                    f"{self._raw.topic} has {stream.partitions} partitions now, not {self._stream.partitions}, and "
                    f"records come by the new count: {MEND}"
                )
        awaited = [each for each in readings if each.record.offset < self._others_until]
        for part in (awaited, readings[len(awaited) :]):
            if part:
                await store_piecewise(self._store, part)

    async def _hold_back(self, flood: FloodError) -> None:
        """Stand still before a flood, until a record of another courier is seen behind it."""
        self._in_hand = 0
        await self._remember()
        assert self._cursor is not None
        start, self._holding = self._cursor.next_offset, True
        self._halt(str(flood))
        self._go_back(start)
        while not self._stopping.is_set():
            last = last_of_others(await self._fetch_on(), flood.couriers)
            if last is not None:
                log.warning("dead letters after all: others' records stand behind", partition=self.partition)
                self._others_until = last + 1
                self._go_back(start)
                return

    def _go_back(self, offset: int) -> None:
        self.position = offset
        self._feed.go_on(offset)

    def _tell_faults(self, readings: Iterable[Reading]) -> None:
        """Log each kind of our own faults once, with its traceback. Each record's dead letter names the kind."""
        for reading in readings:
            if isinstance(reading, Unreadable) and isinstance(reading.error, UnforeseenError):
                cause = reading.error.__cause__
                kind = place_of(cause)
                if kind not in self._told:
                    self._told.add(kind)
                    log.error("a record cannot be read: a fault of ours", record=reading.record.at, exc_info=cause)

    async def _store(self, readings: Sequence[Reading]) -> int:
        """Store the first piece of a batch, then publish it while the next one is stored; return how long it is.

        A worker that is to stop gives up the rest of its batch: the next claim begins behind what is stored.
        """
        if self._stopping.is_set():
            return len(readings)
        shared, cursor, began = self._shared, self._cursor, monotonic()
        assert cursor is not None
        readings = authorized(readings, await shared.store.written_down(readings))
        now = await shared.store.now()
        limit = shared.settings.shipment_max_observations
        piece = await plan_piece(shared.store, self._shipments, readings, cursor, now, limit)
        planned, last = piece.plan, readings[piece.taken - 1].record
        windows = self._judge(readings[: piece.taken])
        if planned.retired:
            await self._emission_done()  # what is not known to be published stays stored
        shared.reached(Step.PLANNED)
        started = monotonic()
        moved = advanced(cursor, last, self._emitted)
        await shared.store.apply(self.partition, cursor, moved, planned, now)
        shared.metrics.commit_duration.labels(StoreName.POSTGRES).observe(monotonic() - started)
        shared.reached(Step.STORED)
        self._cursor, self._windows = moved, windows
        self.waiting.applied(moved.next_offset, last.timestamp_ms / 1000)
        if self._holding and not flooding(windows, DLQ_WINDOW_WEBHOOKS, shared.settings.dlq_max_ratio):
            self._holding, self.halted = False, None
        self._shipments.put(piece.shipments)
        stored_in = monotonic() - began
        await self._emission_done()
        self._emission = asyncio.create_task(self._emit(planned, moved, now, piece.taken, stored_in))
        return piece.taken

    def _judge(self, readings: Sequence[Reading]) -> Windows:
        """Return the windows with a batch more.

        Raises:
            FloodError: a courier floods, and nobody else's records stand behind its dead letters here.

        """
        size, ratio = DLQ_WINDOW_WEBHOOKS, self._shared.settings.dlq_max_ratio
        windows = slid(self._windows, readings, size)
        couriers = flooding(windows, size, ratio)
        held = couriers & {
            courier_of(each.record)
            for each in readings
            if isinstance(each, Unreadable) and each.record.offset >= self._others_until
        }
        if held:
            named = " and ".join(each or "no known courier" for each in sorted(held))
            raise FloodError(
                held,
                f"of the newest {size} webhooks of {named} more would be dead letters than "
                f"WAYBILL_DLQ_MAX_RATIO={ratio:g} allows; other couriers' records go on: roll back what was deployed "
                "and start again, or, if they are garbage indeed, start again with WAYBILL_DLQ_MAX_RATIO=1",
            )
        return windows

    async def _emit(self, done: Plan, moved: Cursor, now: datetime, records: int, stored_in: float) -> int:
        """Publish a batch of so many records, which was planned at `now` and stored within `stored_in` seconds."""
        started = monotonic()
        await self._publish(done.outputs, moved.next_offset, moved.recovery, now)
        published_in = monotonic() - started
        self._shared.metrics.commit_duration.labels(StoreName.KAFKA).observe(published_in)
        self._count(done, now + timedelta(seconds=stored_in + published_in))
        limit = min(postgres.COMMAND_SECONDS, self._shared.settings.kafka_transaction_timeout.total_seconds())
        self._batch_size = larger(self._batch_size, records, max(stored_in, published_in), limit)
        self._doubts = Doubts()
        self._prove()
        return moved.next_offset

    async def _publish(self, outputs: Sequence[Output], next_offset: int, recovery: int, now: datetime) -> None:
        """Publish outputs stamped with the time, or without one, where the brokers have refused it."""
        assert self._emitter is not None
        timestamp_ms = NO_TIME if self._timeless else int(now.timestamp() * 1000)
        try:
            await self._emitter.publish(batch_messages(outputs, timestamp_ms), next_offset, recovery)
        except REFUSALS as error:
            self._refused = True
            log.warning("publishing without timestamps", partition=self.partition, refused=str(now), why=repr(error))
            raise

    async def _emission_done(self) -> None:
        if self._emission is not None:
            emission, self._emission = self._emission, None
            self._emitted = await emission

    async def _remember(self) -> None:
        """Tell the database how far is published, if it does not know."""
        await self._emission_done()
        cursor = self._cursor
        assert cursor is not None
        if cursor.emitted < self._emitted:
            await self._shared.store.note_emitted(self.partition, cursor, self._emitted)
            self._cursor = msgspec.structs.replace(cursor, emitted=self._emitted)

    def _count(self, done: Plan, now: datetime) -> None:
        metrics = self._shared.metrics
        for row in done.observations:
            metrics.observations.labels(row.observation.courier, row.outcome).inc()
            if row.version is not None:
                metrics.event_delay.observe((now - row.observation.received_at).total_seconds())
        for unreadable in done.dead_letters:
            metrics.dead_letters.labels(unreadable.error.reason).inc()
        for output in done.outputs:
            if output.anomaly is not None:
                metrics.anomalies.labels(output.anomaly.courier, output.anomaly.kind).inc()


async def store_piecewise(store: Callable[[Sequence[Reading]], Awaitable[int]], readings: Sequence[Reading]) -> None:
    """Store a batch. `store` stores its first piece and returns how many readings that are.

    What cannot be stored is cut in two until the culprit stands alone: a dead letter.

    Raises:
        HaltError: a dead letter cannot be stored either.

    """
    while readings:
        try:
            stored = await store(readings)
            readings = readings[stored:]
        except CulpritError as error:
            half = len(readings) // 2
            if half:
                await store_piecewise(store, readings[:half])
                readings = readings[half:]
            else:
                readings = [_dead(readings[0], error)]


def _dead(reading: Reading, error: CulpritError) -> Unreadable:
    """Return the dead letter of a record that cannot be stored."""
    at = reading.record.at
    if isinstance(reading, Unreadable):
        raise HaltError(f"the record {at} cannot even be stored as it is: {error}") from error
    fault = isinstance(error, UnplannableError)
    log.log(ERROR if fault else WARNING, "a record cannot be stored", record=at, why=str(error), exc_info=fault)
    return Unreadable(reading.record, UnreadableError(error.reason, str(error)), reading.command_id)


def place_of(error: BaseException | None) -> str:
    """Name the kind of an error and the line it comes from."""
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__} {line}"


def is_misrouted(reading: Reading) -> bool:
    """Whether a record's shipment belongs to another partition."""
    return isinstance(reading, Unreadable) and reading.error.reason is DeadLetterReason.MISROUTED


async def pause(attempt: int, stop: asyncio.Event) -> None:
    """Wait before another attempt, longer each time, until `stop` is set. Attempt 0 does not wait."""
    await rest(back_off(attempt), stop)


async def rest(seconds: float, stop: asyncio.Event) -> None:
    """Wait for half of this to all of it, at random, until `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
