"""One partition's worker: claim, then batch after batch. It alone writes the partition's shipments.

A batch is one PostgreSQL transaction, then one Kafka transaction. PostgreSQL of the next batch may overlap Kafka of
this one, never overtake it. After any doubt everything in memory is dropped and the partition claimed anew: what is to
be published then comes from the database, never from memory.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from processor.claims import MARK, Committed, Cursor, Halt, Log, Stream, decide
from processor.emitter import KAFKA_ERRORS, Emitter
from processor.errors import ClaimLostError, HaltError, UnstorableError
from processor.outputs import batch_messages
from processor.plan import Plan, Read, Reading, Unreadable, plan, read
from processor.shipment import Shipment
from processor.steps import Reached, Step
from processor.store import DATABASE_ERRORS, Store
from runtime.errors import UnreachableError
from runtime.metrics import ProcessorMetrics
from runtime.settings import Settings
from schemas.records import RawRecord, UnreadableError
from schemas.vocabulary import DeadLetterReason

MAX_BATCH: Final = 2_000
"""Records of one batch: enough to pay for two commits, little enough to leave the loop free every 100 ms."""

FETCH_SECONDS: Final = 0.25
"""How long a fetch waits for records: a worker that is to stop notices within this time."""

REMEMBER_SECONDS: Final = 1.0
"""When idle so long, the database is told how far is published."""

CACHED_SHIPMENTS: Final = 4_000
"""Shipments a worker keeps in memory: those of the last minutes, some 20 kB each at most."""

BACK_OFF: Final = (timedelta(seconds=0.2), timedelta(seconds=5))
"""The first and the longest wait before a partition is claimed again; each is twice the one before, with jitter."""

DOUBTS: Final = (ClaimLostError, UnreachableError, *KAFKA_ERRORS, *DATABASE_ERRORS)
"""After these it is unknown what the stores hold: claim anew."""

log = structlog.get_logger(__name__)


class Shared(msgspec.Struct, frozen=True):
    """What all workers of a process use."""

    settings: Settings
    stream: Stream
    consumer: AIOKafkaConsumer
    admin: AIOKafkaAdminClient
    store: Store
    metrics: ProcessorMetrics
    reached: Reached


class Worker:
    """Applies one partition from its assignment until `stop`."""

    def __init__(self, shared: Shared, partition: int) -> None:
        """Prepare; `run` does the work."""
        self.partition = partition
        self.position: int | None = None
        """The next offset to fetch, while the claim holds. A new assignment starts there."""
        self.halted: str | None = None
        """Why the partition stands still, if an operator must look."""
        self._shared = shared
        self._raw = TopicPartition(shared.stream.raw_topic, partition)
        self._stopping = asyncio.Event()
        self._shipments: dict[str, Shipment] = {}
        self._emitter: Emitter | None = None
        self._emission: asyncio.Task[int] | None = None
        self._emitted = 0
        self._remembered = 0

    @property
    def working(self) -> bool:
        """Whether the partition is claimed and being worked on."""
        return self.position is not None

    def stop(self) -> None:
        """Ask for an orderly end: the batch in hand is finished."""
        self._stopping.set()

    async def run(self) -> None:
        """Claim and work until stopped."""
        reason, attempt, known = "assigned", 0, ""
        while not self._stopping.is_set():
            try:
                cursor = await self._claim(reason)
                log.info("partition claimed", partition=self.partition, reason=reason, offset=cursor.next_offset)
                attempt, known = 0, ""
                await self._work(cursor)
            except HaltError as error:
                self.halted = str(error)
                log.error("partition halted", partition=self.partition, why=self.halted)  # noqa: TRY400
                await self._stopping.wait()
            except DOUBTS as error:
                reason, attempt = type(error).__name__, attempt + 1
                if reason != known:
                    log.warning("claiming again", partition=self.partition, why=repr(error))
                    known = reason
            finally:
                await self._drop_claim()
            await pause(attempt, self._stopping)

    async def _claim(self, reason: str) -> Cursor:
        shared = self._shared
        self._emitter = Emitter(shared.settings, self.partition, shared.reached)
        await self._emitter.open()
        shared.reached(Step.FENCED)
        log_range = await self._log_range()
        cursor = await shared.store.claim(self.partition, log_range.start)
        shared.reached(Step.CURSOR_CLAIMED)
        committed = await self._committed()
        decision = decide(cursor, committed, log_range, shared.stream)
        if isinstance(decision, Halt):
            raise HaltError(decision.why)
        if decision.ignored:
            log.warning("committed offset ignored: moved ahead by hand", partition=self.partition)
        await self._publish_again(decision.emit_from, cursor, committed)
        shared.reached(Step.PUBLISHED_AGAIN)
        shared.metrics.claims.labels(reason).inc()
        self._emitted, self._remembered = cursor.next_offset, cursor.emitted
        self.position = cursor.next_offset
        shared.consumer.seek(self._raw, cursor.next_offset)
        shared.consumer.resume(self._raw)
        return cursor

    async def _log_range(self) -> Log:
        consumer = self._shared.consumer
        start = await consumer.beginning_offsets([self._raw])
        end = await consumer.end_offsets([self._raw])
        return Log(start[self._raw], end[self._raw])

    async def _committed(self) -> Committed | None:
        found = await self._shared.admin.list_consumer_group_offsets(
            self._shared.settings.group_id, partitions=[self._raw]
        )
        committed = found.get(self._raw)
        return None if committed is None or committed.offset < 0 else Committed(committed.offset, committed.metadata)

    async def _publish_again(self, start: int, cursor: Cursor, committed: Committed | None) -> None:
        """Publish what is stored but not known to be published, and leave our mark on the committed offset."""
        assert self._emitter is not None
        if start < cursor.next_offset:
            log.info("publishing stored outputs", partition=self.partition, start=start, end=cursor.next_offset)
            async for chunk in self._shared.store.stored(self.partition, start, cursor.next_offset):
                await self._emitter.publish(batch_messages(chunk.outputs), chunk.end)
        elif committed != Committed(cursor.next_offset, MARK):
            await self._emitter.publish((), cursor.next_offset)

    async def _drop_claim(self) -> None:
        self.position = None
        self._shipments.clear()
        if self._emission is not None:
            self._emission.cancel()
            await asyncio.wait([self._emission])
            self._emission = None
        if self._emitter is not None:
            await self._emitter.close()
            self._emitter = None

    async def _work(self, cursor: Cursor) -> None:
        last_batch = monotonic()
        while not self._stopping.is_set():
            records = await self._fetch()
            if records:
                cursor = await self._process(cursor, records)
                last_batch = monotonic()
            elif monotonic() - last_batch > REMEMBER_SECONDS:
                await self._remember(cursor)
        await self._remember(cursor)

    async def _fetch(self) -> list[RawRecord]:
        fetched = await self._shared.consumer.getmany(
            self._raw, timeout_ms=int(FETCH_SECONDS * 1000), max_records=MAX_BATCH
        )
        records = [_raw_record(record) for record in fetched.get(self._raw, ())]
        if records:
            self.position = records[-1].offset + 1
        self._measure_lag()
        return records

    def _measure_lag(self) -> None:
        consumer = self._shared.consumer
        end = consumer.highwater(self._raw) if self._raw in consumer.assignment() else None
        if end is not None and self.position is not None:
            self._shared.metrics.lag_records.labels(str(self.partition)).set(max(0, end - self.position))

    async def _process(self, cursor: Cursor, records: Sequence[RawRecord]) -> Cursor:
        settings, stream = self._shared.settings, self._shared.stream
        readings = [read(record, settings.assumed_zone, stream.partitions) for record in records]
        return await self._apply(cursor, readings, records[-1].offset + 1)

    async def _apply(self, cursor: Cursor, readings: Sequence[Reading], after: int) -> Cursor:
        """Store and publish a batch. One that the database refuses is cut in two until the culprit stands alone."""
        try:
            done = await self._store(cursor, readings, after)
        except UnstorableError as error:
            if len(readings) > 1:
                half = len(readings) // 2
                cursor = await self._apply(cursor, readings[:half], readings[half].record.offset)
                return await self._apply(cursor, readings[half:], after)
            if isinstance(readings[0], Unreadable):
                raise HaltError(
                    f"offset {readings[0].record.offset} cannot even be stored as it is: {error}"
                ) from error
            log.warning("unstorable record", partition=self.partition, offset=readings[0].record.offset)
            refusal = UnreadableError(DeadLetterReason.UNSTORABLE, str(error))
            done = await self._store(cursor, [Unreadable(readings[0].record, refusal)], after)
        await self._emission_done()
        self._emission = asyncio.create_task(self._emit(done, after))
        return msgspec.structs.replace(cursor, next_offset=after)

    async def _store(self, cursor: Cursor, readings: Sequence[Reading], after: int) -> Plan:
        shared = self._shared
        named = {reading.observation.shipment_id for reading in readings if isinstance(reading, Read)}
        missing = named - self._shipments.keys()
        loaded = await shared.store.load(missing)
        now = datetime.now(UTC)
        planned = plan(readings, {**self._shipments, **loaded}, shared.stream.raw_topic, now)
        shared.reached(Step.PLANNED)
        started = monotonic()
        await shared.store.apply(self.partition, cursor, after, self._emitted, planned, now)
        shared.metrics.commit_duration.labels("postgres").observe(monotonic() - started)
        shared.reached(Step.STORED)
        self._keep(planned.shipments)
        self._remembered = max(self._remembered, self._emitted)
        return planned

    def _keep(self, shipments: Mapping[str, Shipment]) -> None:
        """Keep the newest shipments in memory; the oldest go first."""
        kept = self._shipments
        for name, shipment in shipments.items():
            kept.pop(name, None)
            kept[name] = shipment
        for name in list(kept)[: max(0, len(kept) - CACHED_SHIPMENTS)]:
            del kept[name]

    async def _emit(self, done: Plan, after: int) -> int:
        assert self._emitter is not None
        started = monotonic()
        await self._emitter.publish(batch_messages(done.outputs), after)
        self._shared.metrics.commit_duration.labels("kafka").observe(monotonic() - started)
        self._count(done)
        return after

    async def _emission_done(self) -> None:
        if self._emission is not None:
            emission, self._emission = self._emission, None
            self._emitted = await emission

    async def _remember(self, cursor: Cursor) -> None:
        """Tell the database how far is published, if it does not know."""
        await self._emission_done()
        if self._remembered < self._emitted:
            await self._shared.store.note_emitted(self.partition, cursor, self._emitted)
            self._remembered = self._emitted

    def _count(self, done: Plan) -> None:
        metrics, now = self._shared.metrics, datetime.now(UTC)
        for row in done.observations:
            metrics.observations.labels(row.observation.courier, row.outcome).inc()
            if row.version is not None:
                metrics.event_delay.observe((now - row.observation.received_at).total_seconds())
        for unreadable in done.dead_letters:
            metrics.dead_letters.labels(unreadable.error.reason).inc()


async def pause(attempt: int, stop: asyncio.Event) -> None:
    """Wait before another attempt, longer each time, until `stop` is set. Attempt 0 does not wait."""
    if attempt == 0:
        return
    first, longest = BACK_OFF
    wait = min(first * 2 ** (attempt - 1), longest) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), wait.total_seconds())


def _raw_record(record: Any) -> RawRecord:
    return RawRecord(
        record.partition, record.offset, record.key, record.value or b"", tuple(record.headers), record.timestamp
    )
