"""What a recovery looks at before it decides: topics, logs, cursors, committed offsets."""

import asyncio
from typing import Final

from aiokafka import TopicPartition

from processor.core.cursor import Committed, Cursor, Stream, digest
from processor.core.errors import RecoveryError
from processor.kafka.feed import gap_at
from processor.kafka.offsets import committed_offset
from processor.protocol.claims import Log, PartitionState
from processor.storage.cursors import Cursors
from runtime.errors import UnreachableError
from runtime.kafka_asking import Admin
from runtime.kafka_records import raw_record
from runtime.kafka_types import Consumer
from runtime.settings import Settings
from schemas.partitioning import uneven
from schemas.topics import Topic

STALL_SECONDS: Final = 30.0
"""How long the log may give no record before a recovery gives up."""


class Looking:
    """Looks at the partitions; changes nothing."""

    def __init__(self, settings: Settings, admin: Admin, reader: Consumer, cursors: Cursors) -> None:
        """Keep the clients, which are started."""
        self._settings = settings
        self._admin = admin
        self._reader = reader
        self._cursors = cursors

    async def look(self, partition: int, stream: Stream) -> PartitionState:
        """Look at a partition that may be worked on. The committed offset comes first: the cursor is ahead of it."""
        log = await self.log(stream, partition)
        before = await self._cursors.look(partition, stream, log.start)
        committed = await committed_offset(self._admin, before.stream, partition)
        cursor = await self._cursors.look(partition, stream, log.start)
        return await self._seen(partition, cursor, committed, stream, await self.log(stream, partition))

    async def sight(self, partition: int, cursor: Cursor, stream: Stream, log: Log) -> PartitionState:
        """Read what remains to be read of a claimed partition."""
        committed = await committed_offset(self._admin, cursor.stream, partition)
        return await self._seen(partition, cursor, committed, stream, log)

    async def _seen(
        self, partition: int, cursor: Cursor, committed: Committed | None, stream: Stream, log: Log
    ) -> PartitionState:
        found = await self._found(partition, cursor, stream, log)
        gap = None
        if log.start <= cursor.next_offset < log.end:
            raw = TopicPartition(stream.raw_topic, partition)
            gap = await gap_at(self._reader, raw, cursor.next_offset, log.end)
        return PartitionState(cursor=cursor, committed=committed, log=log, stream=stream, found=found, gap=gap)

    async def _found(self, partition: int, cursor: Cursor, stream: Stream, log: Log) -> bytes | None:
        last = cursor.last
        found = None
        if last is not None and log.start <= last.offset < log.end:
            raw = TopicPartition(stream.raw_topic, partition)
            self._reader.assign([raw])
            self._reader.seek(raw, last.offset)
            fetched = await self._reader.getmany(raw, timeout_ms=int(STALL_SECONDS * 1000), max_records=1)
            if not fetched:
                raise RecoveryError(f"partition {partition} gives no record at offset {last.offset}")
            (record,) = fetched[raw]
            found = digest(raw_record(record)) if record.offset == last.offset else None
        return found

    async def stream(self) -> Stream:
        """Return what is to be read by the settings in force.

        Raises:
            UnreachableError: the raw topic is missing.
            RecoveryError: topics have unequal partition counts.

        """
        name, topics = self._settings.topic(Topic.RAW), await self.topics()
        partitions = topics.get(name)
        if partitions is None:
            raise UnreachableError(f"topic {name} is missing: `waybill topics apply` makes it")
        others = {other: topics.get(other, 0) for other in map(self._settings.topic, Topic) if other != name}
        if text := uneven(name, partitions, others):
            raise RecoveryError(f"nothing can be mended before {text}")
        return Stream(name, partitions, self._settings.group_id)

    async def topics(self) -> dict[str, int]:
        """Return the partition counts of all topics."""
        return {topic["topic"]: len(topic["partitions"]) for topic in await self._admin.describe_topics()}

    async def log(self, stream: Stream, partition: int) -> Log:
        """Return where a partition's log begins and ends."""
        raw = TopicPartition(stream.raw_topic, partition)
        start, end = await asyncio.gather(self._reader.beginning_offsets([raw]), self._reader.end_offsets([raw]))
        return Log(start[raw], end[raw])
