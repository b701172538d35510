"""The processor's side of Kafka: one transaction a batch, with the outputs and the raw offset."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from aiokafka.structs import OffsetAndMetadata

from processor.core.cursor import Stream, mark
from processor.core.messages import Message, publishable
from processor.protocol.crash_points import Reached, Step
from runtime import kafka
from runtime.kafka import KAFKA_ERRORS
from runtime.settings import Settings
from schemas.topics import Topic

TOO_SMALL: Final = "less than `waybill topics apply` sets it to"
"""What is wrong where brokers refuse a message for its size: nothing stored is larger than topics are made for."""

HomeOf = Callable[[bytes], int]
"""Says which partition a key belongs to."""

log = structlog.get_logger(__name__)


class Emitter:
    """The transactional producer of one claim. After any error it is of no more use: close it and claim again."""

    def __init__(
        self, settings: Settings, stream: Stream, partition: int, reached: Reached, home_of: HomeOf | None = None
    ) -> None:
        """Prepare; nothing is fenced before `open`.

        `stream` says whose offset is committed. Messages go to the partition of the same number, or where `home_of`
        says.
        """
        self._settings = settings
        self._partition = partition
        self._reached = reached
        self._home_of = home_of
        self._group = stream.consumer_group
        self._raw = TopicPartition(stream.raw_topic, partition)
        self._producer = kafka.new_transactional_producer(settings, f"{stream.consumer_group}-{partition}")
        self._seconds = settings.kafka_transaction_timeout.total_seconds()

    async def open(self) -> None:
        """Fence every earlier claim's producer and end its open transaction."""
        await kafka.start(self._producer)

    async def close(self) -> None:
        """Let the producer go."""
        await kafka.stop(self._producer)

    async def publish(self, messages: Iterable[Message], next_offset: int | None, recovery: int) -> None:
        """Publish messages, and that everything before `next_offset` is published, or nothing at all.

        `recovery` is the cursor's. Without `next_offset` only the messages are published.

        An error leaves open whether it was published: the next claim finds out.

        Raises:
            StoredRowError: something stored cannot be read. No transaction was begun.

        """
        limit = self._settings.max_message_bytes
        whole = [publishable(message, limit) for message in messages]
        try:
            async with asyncio.timeout(self._seconds):
                await self._transact(whole, next_offset, recovery)
        except KAFKA_ERRORS as error:
            if denial := kafka.denial_of_transaction(self._producer):
                raise denial from error
            raise
        self._reached(Step.EMITTED)

    async def _transact(self, messages: Iterable[Message], next_offset: int | None, recovery: int) -> None:
        await self._producer.begin_transaction()
        try:
            await asyncio.gather(*await self._send(messages))
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise type(error)(f"a topic's max.message.bytes is too small, {TOO_SMALL}") from error
        self._reached(Step.SENT)
        if next_offset is not None:
            offset = OffsetAndMetadata(next_offset, mark(recovery))
            await self._producer.send_offsets_to_transaction({self._raw: offset}, self._group)
        self._reached(Step.OFFSETS_ADDED)
        await self._producer.commit_transaction()

    async def _send(self, messages: Iterable[Message]) -> list[asyncio.Future[Any]]:
        """Hand the messages over in whole batches, several times faster than one by one. Return the deliveries."""
        deliveries: list[asyncio.Future[Any]] = []
        try:
            await self._send_all(messages, deliveries)
        except BaseException:
            for delivery in deliveries:
                delivery.cancel()  # an error that nobody asks for would be logged as lost
            raise
        return deliveries

    async def _send_all(self, messages: Iterable[Message], deliveries: list[asyncio.Future[Any]]) -> None:
        open_batches: dict[tuple[Topic, int], Any] = {}
        for message in messages:
            place = message.topic, self._home_of(message.key or b"") if self._home_of else self._partition
            batch = open_batches.get(place)
            if batch is None or not _append(batch, message):
                if batch is not None:
                    deliveries.append(await self._send_batch(*place, batch))
                batch = open_batches[place] = self._producer.create_batch()
                if not _append(batch, message):
                    raise KafkaError(f"a message of {len(message.value or b'')} bytes does not fit into an empty batch")
        for place, batch in open_batches.items():
            deliveries.append(await self._send_batch(*place, batch))

    async def _send_batch(self, topic: Topic, partition: int, batch: Any) -> asyncio.Future[Any]:
        batch.close()
        delivery: asyncio.Future[Any] = await self._producer.send_batch(
            batch, self._settings.topic(topic), partition=partition
        )
        return delivery


def _append(batch: Any, message: Message) -> bool:
    appended = batch.append(
        timestamp=message.timestamp_ms, key=message.key, value=message.value, headers=message.headers
    )
    return appended is not None
