"""What one claim publishes: batches, one behind the other, each while the next one is stored."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from aiokafka.errors import InvalidTimestampError, UnknownError

from processor.core.cursor import Committed, Cursor, Stream, mark
from processor.core.messages import NO_TIME, batch_messages
from processor.core.outputs import Output
from processor.kafka.emitter import Emitter
from processor.partition.shared import Shared
from schemas.times import milliseconds

GIVE_UP_SECONDS: Final = 3.0
"""How long a cancelled emission may take to end."""

REFUSALS: Final = (InvalidTimestampError, UnknownError)
"""What brokers say of a timestamp that is too far from their clock. aiokafka does not know the newer word for it."""

log = structlog.get_logger(__name__)


class Publishing:
    """The publishing side of one claim. After any doubt it is of no more use: close it and claim again."""

    def __init__(self, shared: Shared, partition: int, *, timeless: bool = False) -> None:
        """Prepare; nothing is fenced before `open`. `timeless`: outputs are not stamped with the time."""
        self.emitted = 0
        """Everything before this offset is known to be published."""
        self.refused = False
        """Whether the brokers have refused the time that outputs were stamped with: the next claim stamps none."""
        self._shared = shared
        self._partition = partition
        self._timeless = timeless
        self._emitter: Emitter | None = None
        self._emission: asyncio.Task[int] | None = None

    async def open(self, stream: Stream) -> None:
        """Fence every earlier claim's producer."""
        self._emitter = Emitter(self._shared.settings, stream, self._partition, self._shared.reached)
        await self._emitter.open()

    async def close(self) -> None:
        """Give up what is being published, and let the producer go."""
        if self._emission is not None:
            self._emission.cancel()
            await asyncio.wait([self._emission], timeout=GIVE_UP_SECONDS)
            self._emission = None
        if self._emitter is not None:
            emitter, self._emitter = self._emitter, None
            await emitter.close()

    async def publish_again(self, start: int, cursor: Cursor, committed: Committed | None) -> None:
        """Publish what is stored but not known to be published, and leave our mark on the committed offset."""
        if start < cursor.next_offset:
            log.info("publishing stored outputs", partition=self._partition, start=start, end=cursor.next_offset)
            async for chunk in self._shared.store.stored(self._partition, cursor, start):
                now = await self._shared.store.now()
                await self.publish(chunk.outputs, chunk.end, cursor.recovery, now)
        elif committed != Committed(cursor.next_offset, mark(cursor.recovery)):
            assert self._emitter is not None
            await self._emitter.publish((), cursor.next_offset, cursor.recovery)
        self.emitted = cursor.next_offset

    async def publish(self, outputs: Sequence[Output], next_offset: int, recovery: int, now: datetime) -> None:
        """Publish outputs stamped with the time, or without one, where the brokers have refused it."""
        assert self._emitter is not None
        timestamp_ms = NO_TIME if self._timeless else milliseconds(now)
        try:
            await self._emitter.publish(batch_messages(outputs, timestamp_ms), next_offset, recovery)
        except REFUSALS as error:
            self.refused = True
            log.warning("publishing without timestamps", partition=self._partition, refused=str(now), why=repr(error))
            raise

    def begin(self, emission: Coroutine[Any, Any, int]) -> None:
        """Begin to publish a batch, when the one before it is done. It returns what `emitted` is then."""
        assert self._emission is None
        self._emission = asyncio.create_task(emission)

    async def done(self) -> None:
        """Wait until the batch that is being published is."""
        if self._emission is not None:
            emission, self._emission = self._emission, None
            self.emitted = await emission
