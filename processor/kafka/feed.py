"""One worker's hold on its partition of the group's consumer.

All workers of a process share the consumer, and with it one position a partition: whoever fetches or seeks moves it.
So a worker touches the consumer through its feed alone, and the group sets the position only for the worker that it
assigns the partition to. A closed feed does nothing any more, not even what it had begun: what a leaving worker has not
fetched yet is left to the one behind it.
"""

import asyncio
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError

from processor.core.cursor import Cursor, digest
from processor.core.errors import ClaimLostError, GapError
from processor.core.offsets import Span, holes, without
from processor.protocol.claims import Log
from runtime import kafka_log
from runtime.kafka_records import raw_record
from runtime.kafka_types import Consumer
from schemas.records import RawRecord

FETCH_SECONDS: Final = 0.25
"""How long a fetch waits for records, before the worker looks at what else is to be done."""

LOOK_SECONDS: Final = 10.0
"""How long may be waited for a record that is there, or for what the log holds at a gap: milliseconds when all is
well."""

UNREADABLE: Final = (CorruptRecordException, UnsupportedCodecError)
"""What our Kafka client says of a record that it cannot take apart, though its broker could."""

PAST_IT: Final = (
    "the record at offset {} cannot be read by our Kafka client ({}): if that stays so, `kafka-dump-log` shows it; "
    "append it again in a form that can be read, delete the log up to behind it with `kafka-delete-records`, then "
    "`waybill recover`"
)

log = structlog.get_logger(__name__)


class Feed:
    """Reads one partition, record after record, until it is closed."""

    def __init__(self, consumer: Consumer, raw: TopicPartition) -> None:
        """Begin without a position: `go_on` gives one."""
        self._consumer = consumer
        self._raw = raw
        self._closed = False
        self._fetching: asyncio.Task[Any] | None = None
        self._connection: AIOKafkaConnection | None = None

    def close(self) -> None:
        """Touch the consumer no more. A fetch under way takes nothing."""
        self._closed = True
        if self._fetching is not None:
            self._fetching.cancel()

    def go_on(self, position: int) -> None:
        """Fetch from a position on.

        Raises:
            ClaimLostError: the feed is closed.

        """
        self._must_be_open()
        self._consumer.seek(self._raw, position)
        self._consumer.resume(self._raw)

    def pause(self) -> None:
        """Fetch nothing until `go_on`."""
        if not self._closed and self._raw in self._consumer.assignment():
            self._consumer.pause(self._raw)

    @property
    def end(self) -> int | None:
        """The log's end as the last fetch saw it."""
        if self._closed or self._raw not in self._consumer.assignment():
            return None
        seen: int | None = self._consumer.highwater(self._raw)
        return seen

    async def log_range(self) -> Log:
        """Return what the log holds. From here on `fetch` notices when it is read over another connection."""
        start = await self._consumer.beginning_offsets([self._raw])
        self._connection = kafka_log.connection(self._consumer, self._raw)
        end = await self._consumer.end_offsets([self._raw])
        return Log(start[self._raw], end[self._raw])

    async def fetch(self, position: int, limit: int) -> list[RawRecord]:
        """Return the next records. They join up with the position; none come in time, or once the feed is closed.

        Raises:
            GapError: the log gives no record at the position, but later ones, and nothing explains it.
            ClaimLostError: a broker ended or the partition has a new leader, so the log may have lost its end; or the
                records are from before the position; or the first cannot be read.

        """
        records = await self._getmany(position, limit)
        connection = kafka_log.connection(self._consumer, self._raw)
        if connection is not None and connection is not self._connection:
            raise ClaimLostError("the log is read over a new connection: has it kept what was applied?")
        if records and records[0].offset < position:
            raise ClaimLostError(f"offset {records[0].offset} was given again, at {position}")
        missing = holes(position, [record.offset for record in records])
        if not missing or not (left := await self._unexplained(missing)):
            return records
        if left[0].start == position:
            raise GapError(left[0])
        self.go_on(left[0].start)
        return [record for record in records if record.offset < left[0].start]

    async def behind_markers(self, position: int) -> int:
        """Return where the next record can stand, if what was read last at the position were markers alone."""
        self._must_be_open()
        async with asyncio.timeout(LOOK_SECONDS):
            read = int(await self._consumer.position(self._raw))
            return position if read <= position or await self._unexplained([Span(position, read)]) else read

    async def reread(self, cursor: Cursor, log_range: Log) -> bytes | None:
        """Read the record again that was applied last, if the log still reaches there. Return its digest."""
        last = cursor.last
        if last is None or not log_range.start <= last.offset < log_range.end:
            return None
        self.pause()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                while True:
                    if self._raw in self._consumer.paused():  # at first, and after a rebalance, which moves it too
                        self.go_on(last.offset)
                    for record in await self._getmany(last.offset, 1):
                        if record.offset >= last.offset:
                            return digest(record) if record.offset == last.offset else None
        finally:
            self.pause()

    async def gap(self, position: int, end: int) -> int | None:
        """Return the first record's offset behind a gap at the position, as `gap_at` does."""
        async with asyncio.timeout(LOOK_SECONDS):
            return await gap_at(self._consumer, self._raw, position, end)

    async def _getmany(self, position: int, limit: int) -> list[RawRecord]:
        while True:
            self._must_be_open()
            wait = int(FETCH_SECONDS * 1000)
            fetching = asyncio.create_task(self._consumer.getmany(self._raw, timeout_ms=wait, max_records=limit))
            self._fetching = fetching
            try:
                fetched = await fetching
            except UNREADABLE as error:
                if limit == 1:
                    raise ClaimLostError(PAST_IT.format(position, error)) from error
                limit //= 2  # what comes before it is read all the same
                self.go_on(position)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not self._closed or (task is not None and task.cancelling()):
                    raise
                return []
            else:
                return [] if self._closed else [raw_record(record) for record in fetched.get(self._raw, ())]

    async def _unexplained(self, missing: list[Span]) -> list[Span]:
        async with asyncio.timeout(LOOK_SECONDS):
            explained = [
                Span(batch.start, batch.end)
                async for batch in kafka_log.batches(self._consumer, self._raw, missing[0].start, missing[-1].end)
                if batch.explained
            ]
        return without(missing, explained)

    def _must_be_open(self) -> None:
        if self._closed:
            raise ClaimLostError("the partition was taken away")


async def gap_at(consumer: Consumer, raw: TopicPartition, position: int, end: int) -> int | None:
    """Return the offset of the first record of a log behind a position, if what lies between is not explained.

    None: there is a record at the position, or transactions explain that there is none, or none follows up to `end`.
    """
    explained: list[Span] = []
    async for batch in kafka_log.batches(consumer, raw, position, end):
        if batch.explained:
            explained.append(Span(batch.start, batch.end))
        ahead = next((offset for offset in batch.offsets if offset >= position), None)
        if ahead is not None:
            return ahead if without([Span(position, ahead)], explained) else None
    return None
