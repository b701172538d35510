"""What is used of Kafka's clients, with its types: aiokafka has none."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import OffsetAndMetadata, OffsetAndTimestamp

Headers = Sequence[tuple[str, bytes | None]]


class Record(Protocol):
    """A record as a consumer gives it. `timestamp` is in milliseconds since the epoch; -1 is none."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Consumer(Protocol):
    """A consumer, of a group or of partitions that it is told. Errors are `KAFKA_ERRORS`."""

    async def start(self) -> None:
        """Find the brokers; of a group: join it."""

    async def stop(self) -> None:
        """Close the connections; of a group: leave it."""

    def subscribe(
        self, topics: Iterable[str] = (), pattern: str | None = None, listener: ConsumerRebalanceListener | None = None
    ) -> None:
        """Take part in the group's work on topics."""

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions from now on, and no others."""

    def assignment(self) -> set[TopicPartition]:
        """Return the partitions that are read."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Return the next records by partition, once there are some or the time is over."""

    async def getone(self, *partitions: TopicPartition) -> Record:
        """Return the next record, however long it takes."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on at an offset."""

    async def seek_to_beginning(self, *partitions: TopicPartition) -> bool:
        """Go on at the first record that the log still has."""

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset at which reading goes on."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing of these partitions."""

    def paused(self) -> set[TopicPartition]:
        """Return the partitions of which nothing is fetched."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch of these partitions again."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the log's end as the last fetch saw it."""

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the logs' first offsets."""

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets behind the logs' last records."""

    async def offsets_for_times(
        self, timestamps: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """Return each log's first record of these milliseconds or later."""


class Batch(Protocol):
    """Records for one partition that are sent together."""

    def append(
        self, *, key: bytes | None, value: bytes | None, timestamp: int | None, headers: Headers
    ) -> object | None:
        """Add a record; None: it has no room for it."""

    def close(self) -> None:
        """Take no more."""


class Producer(Protocol):
    """A producer, transactional or not. Errors are `KAFKA_ERRORS`."""

    @property
    def client(self) -> AIOKafkaClient:
        """The connections below it."""

    async def start(self) -> None:
        """Find the brokers; a transactional one fences those of its id."""

    async def stop(self) -> None:
        """Deliver what was sent, and close the connections."""

    async def flush(self) -> None:
        """Wait until what was sent is delivered."""

    async def partitions_for(self, topic: str) -> set[int]:
        """Return a topic's partitions."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> asyncio.Future[Any]:
        """Take a record, and return what is done when it is delivered."""

    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> Any:
        """Append a record, and return where it stands."""

    def create_batch(self) -> Batch:
        """Return a batch without records."""

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Take a closed batch, and return what is done when it is delivered."""

    async def begin_transaction(self) -> None:
        """Begin a transaction."""

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None:
        """Commit offsets with the transaction."""

    async def commit_transaction(self) -> None:
        """Commit the transaction."""
