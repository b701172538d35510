"""Appending to the raw topic: the one way by which anything but the door changes a shipment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.errors import KafkaError

from runtime import kafka
from runtime.errors import UnreachableError
from runtime.kafka_types import Producer
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.records import NewRecord
from schemas.topics import Topic

APPEND_SECONDS: Final = 30.0
"""How long appended records may take to be durable: a broker's new leader is there by then."""


class Appender:
    """Appends to the raw topic, `acks=all`."""

    def __init__(self, producer: Producer, topic: str, partitions: int) -> None:
        """Keep the producer, which is started."""
        self._producer = producer
        self._topic = topic
        self.partitions = partitions

    async def append(self, records: Iterable[NewRecord]) -> list[tuple[int, int]]:
        """Append records in order; return where each came to stand (partition, offset), once all are durable.

        Raises:
            UnreachableError: the brokers did not take one of them in time. Some may have been taken.

        """
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                sends = [await self._send(record) for record in records]
                done: list[Any] = await asyncio.gather(*sends)
        except (KafkaError, TimeoutError) as error:
            raise UnreachableError(f"Kafka did not take the records: {error or repr(error)}") from error
        return [(each.partition, each.offset) for each in done]

    async def _send(self, record: NewRecord) -> Awaitable[Any]:
        home = partition_of(record.key, self.partitions) if record.key else None
        sent: Awaitable[Any] = await self._producer.send(
            self._topic,
            record.value,
            key=record.key,
            partition=home,
            timestamp_ms=record.timestamp_ms,
            headers=record.headers,
        )
        return sent


@asynccontextmanager
async def open_appender(settings: Settings, process: str = "operator") -> AsyncIterator[Appender]:
    """Give an appender. `process` is shown to Kafka's operators as `waybill-<process>`.

    Raises:
        UnreachableError: Kafka cannot be reached, or the raw topic is missing.

    """
    topic = settings.topic(Topic.RAW)
    producer = kafka.new_producer(settings, f"waybill-{process}")
    await kafka.start(producer)
    try:
        partitions = await producer.partitions_for(topic)
        if not partitions:
            raise UnreachableError(f"topic {topic} is missing: `waybill topics apply` makes it")
        yield Appender(producer, topic, len(partitions))
    finally:
        await kafka.stop(producer)
