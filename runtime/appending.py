"""Appending to the raw topic: the one way by which anything but the door changes a shipment."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.errors import KafkaError

from runtime import kafka
from runtime.errors import UnreachableError
from runtime.kafka_types import Batch, Producer
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
        """Append records, those of a partition in order; return where each stands (partition, offset), once all do.

        Raises:
            UnreachableError: the brokers did not take one of them in time. Some may have been taken.

        """
        batches: list[_Batch] = []
        try:
            async with asyncio.timeout(APPEND_SECONDS):
                for batch in self._batches(records):
                    batch.delivery = await self._send(batch)
                    batches.append(batch)
                done: list[Any] = await asyncio.gather(*[batch.delivery for batch in batches if batch.delivery])
        except (KafkaError, TimeoutError) as error:
            raise UnreachableError(f"Kafka did not take the records: {error or repr(error)}") from error
        finally:
            for batch in batches:
                if batch.delivery is not None and not batch.delivery.done():
                    batch.delivery.cancel()  # an error that nobody asks for would be logged as lost
        standing = {
            place: (batch.partition, first.offset + number)
            for batch, first in zip(batches, done, strict=True)
            for number, place in enumerate(batch.places)
        }
        return [standing[place] for place in range(len(standing))]

    def _batches(self, records: Iterable[NewRecord]) -> Iterator["_Batch"]:
        """Cut records into batches of one partition each, several times faster to send than one by one."""
        open_batches: dict[int, _Batch] = {}
        for place, record in enumerate(records):
            home = partition_of(record.key or record.value, self.partitions)
            batch = open_batches.get(home)
            if batch is None or not batch.take(record, place):
                if batch is not None:
                    yield batch
                batch = open_batches[home] = _Batch(home, self._producer.create_batch())
                batch.take(record, place)  # an empty one takes any
        yield from open_batches.values()

    async def _send(self, batch: "_Batch") -> asyncio.Future[Any]:
        batch.records.close()
        return await self._producer.send_batch(batch.records, self._topic, partition=batch.partition)


class _Batch:
    """Records for one partition: which of those that are appended they are, and their delivery once they are sent."""

    def __init__(self, partition: int, records: Batch) -> None:
        self.partition = partition
        self.records = records
        self.places: list[int] = []
        self.delivery: asyncio.Future[Any] | None = None

    def take(self, record: NewRecord, place: int) -> bool:
        """Take a record in. False: there is no room for it."""
        taken = self.records.append(
            timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers
        )
        if taken is None:
            return False
        self.places.append(place)
        return True


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
