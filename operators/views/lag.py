"""How far each partition is: what is in the log, applied, published."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from operators.shared.errors import OperatorError
from processor.core.cursor import Committed, Cursor, Stream, emission
from processor.storage.recovery import RecoveryStore
from runtime import kafka, kafka_admin
from runtime.kafka_types import Consumer
from runtime.postgres import OPERATOR, Pool, open_pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.times import moment_of
from schemas.topics import Topic

READ_SECONDS: Final = 15.0
"""How long the oldest waiting records may take to be read. Without one its age stays unknown."""

FETCH_MS: Final = 200
"""How long one look at the topic may wait."""

_Q: Final = load_queries("operators.views")


class Lag(msgspec.Struct, frozen=True):
    """One partition: offsets and counts, and how long the oldest have waited.

    `processed` and `emitted` are the next offsets to be applied and published; null where no processor has been yet.
    `oldest_seconds` is the age of the oldest record not applied, `unpublished_seconds` of the oldest output that is
    stored and not published.
    """

    partition: int
    log_start: int
    log_end: int
    processed: int | None
    emitted: int | None
    behind: int
    unpublished: int
    oldest_seconds: float | None
    unpublished_seconds: float | None = None


class Total(msgspec.Struct, frozen=True):
    """All partitions together; `oldest_seconds` is the oldest one's."""

    behind: int
    unpublished: int
    oldest_seconds: float | None


async def find_lag(settings: Settings) -> list[Lag]:
    """Measure each partition of the raw topic.

    Raises:
        UnreachableError: Kafka or PostgreSQL cannot be reached.
        OperatorError: the topic is missing, or the database belongs to another one.

    """
    name = settings.topic(Topic.RAW)
    async with (
        kafka.admin_client(settings) as admin,
        await open_pool(settings, OPERATOR, 1) as pool,
        kafka.open_reader(settings, "waybill-lag") as reader,
    ):
        topic = (await kafka_admin.find_topics(admin, [name], [])).get(name)
        if topic is None:
            raise OperatorError(f"topic {name} is missing: `waybill topics apply` makes it")
        parts = [TopicPartition(name, partition) for partition in range(topic.partitions)]
        stream = Stream(name, len(parts), settings.group_id)
        # Each is read before what it may not be ahead of: published, applied, in the log.
        offsets = await kafka_admin.committed_offsets(
            admin, settings.group_id, name, [part.partition for part in parts]
        )
        committed = {part: Committed.of(offsets, part.partition) for part in parts}
        cursors = await RecoveryStore(pool).cursors()
        for cursor in cursors.values():
            # A topic that has grown is measured as it is: `waybill doctor` says what is to be done.
            if msgspec.structs.replace(cursor.stream, partitions=stream.partitions) != stream:
                raise OperatorError(f"the database belongs to {cursor.stream}, not to {stream}")
        starts, ends = await reader.beginning_offsets(parts), await reader.end_offsets(parts)
        found = [
            measured(part.partition, starts[part], ends[part], cursors.get(part.partition), committed[part])
            for part in parts
        ]
        found = [await _unpublished(pool, lag, cursors[lag.partition]) if lag.unpublished else lag for lag in found]
        return await _aged(reader, name, found)


def measured(partition: int, start: int, end: int, cursor: Cursor | None, committed: Committed | None) -> Lag:
    """Say how far a partition is; the age is left open."""
    if cursor is None:
        return Lag(partition, start, end, None, None, end - start, 0, None)
    emitted = emission(cursor, committed).emit_from
    behind = max(0, end - max(cursor.next_offset, start))
    return Lag(partition, start, end, cursor.next_offset, emitted, behind, max(0, cursor.next_offset - emitted), None)


def total(lags: Sequence[Lag]) -> Total:
    """Sum the partitions up."""
    ages = [lag.oldest_seconds for lag in lags if lag.oldest_seconds is not None]
    return Total(sum(lag.behind for lag in lags), sum(lag.unpublished for lag in lags), max(ages, default=None))


async def _unpublished(pool: Pool, lag: Lag, cursor: Cursor) -> Lag:
    async with pool.acquire() as connection:
        age = await connection.fetchval(_Q["age_of_unpublished"], lag.partition, cursor.incarnation, lag.emitted)
    return msgspec.structs.replace(lag, unpublished_seconds=None if age is None else round(age.total_seconds(), 3))


async def _aged(reader: Consumer, topic: str, lags: list[Lag]) -> list[Lag]:
    """Read the oldest waiting record of each partition that has one."""
    waiting = {
        TopicPartition(topic, lag.partition): max(lag.processed or 0, lag.log_start) for lag in lags if lag.behind
    }
    if not waiting:
        return lags
    oldest: dict[int, float] = {}
    reader.assign(list(waiting))
    for part, offset in waiting.items():
        reader.seek(part, offset)
    try:
        async with asyncio.timeout(READ_SECONDS):
            while len(oldest) < len(waiting):
                await _look(reader, oldest)
    except TimeoutError:
        pass  # a record that cannot be read has no age
    return [msgspec.structs.replace(lag, oldest_seconds=oldest.get(lag.partition)) for lag in lags]


async def _look(reader: Consumer, oldest: dict[int, float]) -> None:
    fetched: Mapping[TopicPartition, list[Any]] = await reader.getmany(timeout_ms=FETCH_MS, max_records=1)
    for part, records in fetched.items():
        now = datetime.now(UTC)
        received = moment_of(records[0].timestamp) or now
        oldest[part.partition] = max(0.0, round((now - received).total_seconds(), 3))
        reader.pause(part)
