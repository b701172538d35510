"""`waybill recover`: repairs partitions that stand still because database and topics do not fit together.

It takes a partition over as a worker does: fence, cursor, only then the committed offset. A recovery that is killed is
seen by the next claim, and goes on where it stopped when it is run again: every step either changes nothing that was
done before, or is one transaction. It publishes only what was stored before; corrections are stored, and published by
the next claim.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from aiokafka import TopicPartition

from processor.core.cache import Cache
from processor.core.cursor import Cursor, Stream, advanced
from processor.core.errors import ClaimLostError, RecoveryError
from processor.core.messages import batch_messages
from processor.core.plan import MAX_BATCH
from processor.core.reading import Reading, authorized, is_unauthorized
from processor.kafka.emitter import Emitter
from processor.partition.pieces import plan_piece, read_all, store_piecewise
from processor.protocol.crash_points import Reached, Step, no_one
from processor.protocol.repair import Repair, repair
from processor.recovery.compare import Comparing, Say
from processor.recovery.look import STALL_SECONDS, Looking
from processor.storage.cursors import Cursors
from processor.storage.recovery import RecoveryStore
from processor.storage.store import Store
from runtime import kafka
from runtime.holding import held
from runtime.kafka import KAFKA_ERRORS
from runtime.kafka_asking import Admin
from runtime.kafka_records import raw_record
from runtime.kafka_types import Consumer
from runtime.locks import LockNumber
from runtime.postgres import DATABASE_ERRORS, Pool, connect, open_pool
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.times import milliseconds
from schemas.topics import Topic

ATTEMPTS: Final = 5
"""How often the partitions are claimed: a processor that starts meanwhile may claim one first."""

NAMED: Final = 20
"""Records that one line of progress names."""

FAILURES: Final = (*KAFKA_ERRORS, *DATABASE_ERRORS)
"""What a recovery may die of when a store is away. Running it again goes on."""


class Recovery:
    """The stores, as a recovery sees them."""

    def __init__(
        self,
        settings: Settings,
        admin: Admin,
        reader: Consumer,
        pool: Pool,
        reached: Reached,
    ) -> None:
        """Keep the clients, which are started."""
        self._settings = settings
        self._reader = reader
        self._store = Store(pool)
        self._cursors = Cursors(settings, pool)
        self._tables = RecoveryStore(pool)
        self._looking = Looking(settings, admin, reader, self._cursors)
        self._reached = reached

    async def inspect(self) -> dict[int, Repair]:
        """Return what is to be done, by partition. Changes nothing."""
        stream, cursors = await self._looking.stream(), await self._tables.cursors()
        foreign = any(cursor.stream != stream for cursor in cursors.values())
        repairs: dict[int, Repair] = {}
        for partition in range(stream.partitions):
            if partition not in cursors and foreign:
                continue
            found = repair(await self._looking.look(partition, stream), _moment())
            if found is not None:
                repairs[partition] = found
        return repairs

    async def run(self, say: Say) -> dict[int, Repair]:
        """Repair what is to be mended, and return what was done.

        Raises:
            RecoveryError: another recovery is at work, or processors keep the partitions from us.

        """
        async with self._alone():
            repairs = await self._begin()
            derived = {
                partition: await self._derive(partition, each.cursor, say)
                for partition, each in repairs.items()
                if each.cursor.recover_until is not None
            }
            comparing = Comparing(
                self._settings.topic(Topic.STATE), self._reader, self._store, self._tables, self._reached
            )
            await comparing.compare(derived, say)
            for partition in repairs:
                say(f"partition {partition}: mended")
        return repairs

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        connection = await connect(self._settings, "recover")
        try:
            taken = RecoveryError("another `waybill recover` is at work")
            lost = RecoveryError("the connection that kept a second `waybill recover` away was lost")
            async with held(connection, LockNumber.RECOVERY, taken, lost):
                yield
        finally:
            connection.terminate()

    async def _begin(self) -> dict[int, Repair]:
        """Claim what needs mending, publish what is stored, and put the new cursors in place, all at once."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._try_to_begin()
            except (ClaimLostError, *KAFKA_ERRORS) as error:
                if attempt == ATTEMPTS:
                    raise RecoveryError(f"the partitions could not be taken over: {error!r}") from error
        raise AssertionError("unreachable")

    async def _try_to_begin(self) -> dict[int, Repair]:
        stream = await self._looking.stream()
        cursors = await self._tables.cursors()
        gone = [partition for partition in cursors if partition >= stream.partitions]
        repairs: dict[int, Repair] = {}
        for partition in await self.inspect():
            log = await self._looking.log(stream, partition)
            if partition not in cursors:
                await self._cursors.claim(partition, stream, log.start)
            old = cursors[partition].stream if partition in cursors else stream
            async with self._fence(partition, old, stream) as emitter:
                cursor = await self._tables.claim(partition, secrets.randbits(63))
                self._reached(Step.CURSOR_CLAIMED)
                found = repair(await self._looking.sight(partition, cursor, stream, log), _moment())
                if found is None:
                    continue
                repairs[partition] = found
                if found.publish_from is not None:
                    await self._publish(partition, cursor, found.publish_from, emitter)
        for partition in gone:
            await self._empty(partition, cursors[partition].stream, stream)
        await self._tables.begin({partition: each.cursor for partition, each in repairs.items()}, gone)
        self._reached(Step.STORED)
        return repairs

    async def _empty(self, partition: int, old: Stream, stream: Stream) -> None:
        """Publish what is stored for a partition that the topic no longer has."""
        async with self._fence(partition, old, stream) as emitter:
            cursor = await self._tables.claim(partition, secrets.randbits(63))
            await self._publish(partition, cursor, cursor.emitted, emitter)

    @asynccontextmanager
    async def _fence(self, partition: int, old: Stream, stream: Stream) -> AsyncIterator[Emitter]:
        """Give the producer of a partition, having fenced its worker's."""

        def home_of(key: bytes) -> int:
            return partition_of(key, stream.partitions)

        moved = old.partitions != stream.partitions
        emitter = Emitter(self._settings, old, partition, self._reached, home_of if moved else None)
        try:
            await emitter.open()
            yield emitter
        finally:
            await emitter.close()

    async def _publish(self, partition: int, cursor: Cursor, start: int, emitter: Emitter) -> None:
        """Publish what is stored from `start` on; the group's offset says so where its partition is still there."""
        topics = await self._looking.topics()
        committable = partition < topics.get(cursor.raw_topic, 0)
        async for chunk in self._store.stored(partition, cursor, start):
            now_ms = milliseconds(await self._store.now())
            await emitter.publish(
                batch_messages(chunk.outputs, now_ms), chunk.end if committable else None, cursor.recovery
            )
            await self._store.note_emitted(partition, cursor, chunk.end)

    async def _derive(self, partition: int, cursor: Cursor, say: Say) -> Cursor:
        """Apply the records before `recover_until` without publishing."""
        until = cursor.recover_until
        assert until is not None
        raw = TopicPartition(cursor.raw_topic, partition)
        self._reader.assign([raw])
        self._reader.seek(raw, cursor.next_offset)
        while cursor.next_offset < until:
            fetched = await self._reader.getmany(raw, timeout_ms=int(STALL_SECONDS * 1000), max_records=MAX_BATCH)
            if not fetched:
                raise RecoveryError(f"partition {partition} gives no record at offset {cursor.next_offset}")
            records = [raw_record(record) for record in fetched[raw] if record.offset < until]
            if not records:
                break
            applying = _Applying(self._store, partition, cursor, self._settings.shipment_max_observations)
            readings = await read_all(records, self._settings.assumed_zone, cursor.partitions)
            await store_piecewise(applying.store, readings)
            cursor = applying.cursor
            if applying.unauthorized:
                say(
                    f"partition {partition}: {len(applying.unauthorized)} decisions passed over, which operator_log "
                    f"does not have: {_some(applying.unauthorized)}; operators must make them again"
                )
            self._reached(Step.WRITTEN)
            say(f"partition {partition}: applied again up to offset {cursor.next_offset} of {until}")
        return cursor


class _Applying:
    """Applies batches of a partition without publishing."""

    def __init__(self, store: Store, partition: int, cursor: Cursor, limit: int) -> None:
        self._store = store
        self._partition = partition
        self._limit = limit
        self.cursor = cursor
        self.unauthorized: list[str] = []

    async def store(self, readings: Sequence[Reading]) -> int:
        cursor, now, nothing = self.cursor, await self._store.now(), Cache(0)
        readings = authorized(readings, await self._store.written_down(readings))
        piece = await plan_piece(self._store, nothing, readings, cursor, now, self._limit)
        self.unauthorized += [each.record.at for each in readings[: piece.taken] if is_unauthorized(each)]
        last = readings[piece.taken - 1].record
        moved = advanced(cursor, last, last.offset + 1)
        await self._store.apply(self._partition, cursor, moved, piece.plan.unpublished(), now)
        self.cursor = moved
        return piece.taken


@asynccontextmanager
async def open_recovery(settings: Settings, reached: Reached = no_one) -> AsyncIterator[Recovery]:
    """Give a recovery with its clients. `reached` hears of every step.

    Raises:
        UnreachableError: Kafka or PostgreSQL cannot be reached.

    """
    async with (
        kafka.admin_client(settings) as admin,
        await open_pool(settings, "recover", 2) as pool,
        kafka.open_reader(settings, "waybill-recover") as reader,
    ):
        yield Recovery(settings, admin, reader, pool, reached)


async def halted(settings: Settings) -> dict[int, str]:
    """Return the partitions that stand still until a recovery has run, each with why.

    Raises:
        UnreachableError: Kafka or PostgreSQL cannot be reached.

    """
    async with open_recovery(settings) as recovery:
        return {partition: repair.why for partition, repair in (await recovery.inspect()).items()}


def _some(places: Sequence[str]) -> str:
    rest = len(places) - NAMED
    return ", ".join(places[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _moment() -> int:
    return int(datetime.now(UTC).timestamp())
