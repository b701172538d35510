"""Reading one partition of a topic for an audit: from its start, on and on."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Any, Final

from aiokafka import TopicPartition

from operators.shared.errors import OperatorError
from processor.core.plan import MAX_BATCH
from runtime.kafka_types import Consumer

STALL_SECONDS: Final = 30.0
"""How long a topic may give no record before its end is reached: a broker's new leader is there by then."""

PATIENCE_SECONDS: Final = 10.0
"""How long something published may take to show, once for each partition: a transaction's end reaches the partitions
one after the other, within milliseconds when all is well."""

POLL_SECONDS: Final = 0.2


Heard = Callable[[int, int], None]
"""Hears, as records come, at which offset the reader is, and up to which it reads."""


class PartitionReader:
    """Reads one partition of a topic from its start, on and on."""

    def __init__(self, reader: Consumer, topic: str, partition: int, heard: Heard) -> None:
        """Keep the reader, which is started; it serves one partition at a time."""
        self._reader = reader
        self._heard = heard
        self._topic = TopicPartition(topic, partition)
        self._ahead: deque[Any] = deque()

    async def rewind(self) -> None:
        """Begin, or begin again, at the first record."""
        self._ahead.clear()
        self._reader.assign([self._topic])
        await self._reader.seek_to_beginning(self._topic)

    async def go_to(self, offset: int) -> None:
        """Go on at an offset, or a little before: what is near is read through. Offsets only go up."""
        while self._ahead and self._ahead[0].offset < offset:
            self._ahead.popleft()
        if not self._ahead and not 0 <= offset - await self._reader.position(self._topic) <= MAX_BATCH:
            self._reader.seek(self._topic, offset)

    async def start(self) -> int:
        """Return the first offset."""
        return int((await self._reader.beginning_offsets([self._topic]))[self._topic])

    async def end(self) -> int:
        """Return the offset behind the last committed record."""
        return int((await self._reader.end_offsets([self._topic]))[self._topic])

    async def up_to(self, offset: int) -> AsyncIterator[list[Any]]:
        """Give the records not given yet, up to an offset."""
        waiting_since = monotonic()
        while True:
            taken = []
            while self._ahead and self._ahead[0].offset < offset:
                taken.append(self._ahead.popleft())
            if taken:
                yield taken
                waiting_since = monotonic()
            if self._ahead or await self._reader.position(self._topic) >= offset:
                return
            fetched = await self._reader.getmany(self._topic, timeout_ms=1000, max_records=MAX_BATCH)
            self._ahead.extend(fetched.get(self._topic, ()))
            if self._ahead:
                self._heard(min(self._ahead[-1].offset + 1, offset), offset)
            if monotonic() - waiting_since > STALL_SECONDS:
                raise OperatorError(f"{self._topic.topic}, partition {self._topic.partition}, gives no record")

    async def at(self, offset: int) -> bytes | None:
        """Return the value of a record read before; the next read begins again behind the newest read."""
        position = await self._reader.position(self._topic)
        self._reader.seek(self._topic, offset)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                while not (fetched := await self._reader.getmany(self._topic, timeout_ms=1000, max_records=1)):
                    pass
        finally:
            self._reader.seek(self._topic, position)
        (record,) = fetched[self._topic]
        return record.value if record.offset == offset else None
