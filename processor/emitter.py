"""The processor's side of Kafka: one transaction a batch, with the outputs and the raw offset."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError
from aiokafka.structs import OffsetAndMetadata

from processor.claims import MARK
from processor.outputs import Message
from processor.steps import Reached, Step
from runtime import kafka
from runtime.settings import Settings
from schemas.topics import Topic

KAFKA_ERRORS: Final = (KafkaError, IllegalOperation, ConsumerStoppedError, OSError, TimeoutError)
"""What Kafka's clients raise when the brokers are away, or when another claim has fenced us."""

log = structlog.get_logger(__name__)


class Emitter:
    """The transactional producer of one claim. After any error it is of no more use: close it and claim again."""

    def __init__(self, settings: Settings, partition: int, reached: Reached) -> None:
        """Prepare; nothing is fenced before `open`."""
        self._settings = settings
        self._partition = partition
        self._reached = reached
        self._producer = kafka.new_transactional_producer(settings, settings.transactional_id(partition))
        self._seconds = settings.kafka_transaction_timeout.total_seconds()

    async def open(self) -> None:
        """Fence every earlier claim's producer and end its open transaction."""
        await kafka.start(self._producer)

    async def close(self) -> None:
        """Let the producer go."""
        await kafka.stop(self._producer)

    async def publish(self, messages: Iterable[Message], next_offset: int) -> None:
        """Publish messages, and that everything before `next_offset` is published, or nothing at all.

        An error leaves open whether it was published: the next claim finds out.
        """
        async with asyncio.timeout(self._seconds):
            await self._producer.begin_transaction()
            await asyncio.gather(*await self._send(messages))
            self._reached(Step.SENT)
            raw = TopicPartition(self._settings.topic(Topic.RAW), self._partition)
            await self._producer.send_offsets_to_transaction(
                {raw: OffsetAndMetadata(next_offset, MARK)}, self._settings.group_id
            )
            self._reached(Step.OFFSETS_ADDED)
            await self._producer.commit_transaction()
        self._reached(Step.EMITTED)

    async def _send(self, messages: Iterable[Message]) -> list[Awaitable[Any]]:
        """Hand the messages over in whole batches, several times faster than one by one. Return the deliveries."""
        deliveries: list[Awaitable[Any]] = []
        open_batches: dict[Topic, Any] = {}
        for message in messages:
            batch = open_batches.get(message.topic)
            if batch is None or not _append(batch, message):
                if batch is not None:
                    deliveries.append(await self._send_batch(message.topic, batch))
                batch = open_batches[message.topic] = self._producer.create_batch()
                if not _append(batch, message):
                    raise KafkaError(f"a message of {len(message.value)} bytes does not fit into an empty batch")
        for topic, batch in open_batches.items():
            deliveries.append(await self._send_batch(topic, batch))
        return deliveries

    async def _send_batch(self, topic: Topic, batch: Any) -> Awaitable[Any]:
        batch.close()
        delivery: Awaitable[Any] = await self._producer.send_batch(
            batch, self._settings.topic(topic), partition=self._partition
        )
        return delivery


def _append(batch: Any, message: Message) -> bool:
    appended = batch.append(
        timestamp=message.timestamp_ms, key=message.key, value=message.value, headers=message.headers
    )
    return appended is not None
