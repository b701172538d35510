"""Appends records to the raw topic, each partition for itself, and keeps a producer that can.

What one partition does not take (it has no leader, or refuses) holds up no other. A producer that failed at a partition
is of no more use for it, since aiokafka's sequence numbers do not survive a failed batch: it is replaced, and goes on
for the others meanwhile. One whose brokers do not answer is given up: it asks only those it learned of at its start.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import takewhile
from typing import Any, Final, Protocol

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    InvalidMessageError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    UnknownError,
    UnsupportedForMessageFormatError,
)
from aiokafka.structs import TopicPartition

from ingest.errors import DoubtfulError, RefusedError, UnavailableError
from ingest.joining import Joining
from ingest.records import Records
from ingest.turns import RECORDS_A_TURN, by_partition
from ingest.waits import SUSPECT_SECONDS, Wait, Waits, forget, pauses, succeeded
from runtime import kafka
from runtime.errors import DeniedError, UnreachableError
from runtime.kafka_denials import DENIALS
from runtime.kafka_types import Batch, Producer
from schemas.records import NewRecord

CONNECT_SECONDS: Final = 5.0
"""How long one attempt to connect may take. A broker that is there answers in milliseconds."""

PROBE_EVERY_SECONDS: Final = 2.0
"""How often the brokers are asked whether they are there, beside what is published."""

PROBE_SECONDS: Final = 2.0
"""How long they may take to answer."""

REPLACE_SECONDS: Final = 0.05
"""How long a spoiled producer is kept on, so that no partition that refuses has us make hundreds of them a second."""

FLUSH_SECONDS: Final = 1.0
"""How long a producer may flush when it is replaced or at a stop. What was promised to couriers is durable already."""

LEADER_SECONDS: Final = 0.1
"""How often it is looked whether a partition that had no leader has one."""

REFUSALS: Final = (
    InvalidMessageError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    UnsupportedForMessageFormatError,
)
"""What a broker says about a record that it will not take at any time."""

DOUBTS: Final = (InvalidTimestampError, UnknownError)
"""What it says of a timestamp depends on clocks and on the topic's configs, and UnknownError may be anything, of the
record or of the partition: such a record is tried again, many times."""

log = structlog.get_logger(__name__)


Sent = tuple[asyncio.Future[Any], int]
"""A batch's acknowledgement, and how many records it has."""


class Publisher(Protocol):
    """Keeps records for good."""

    async def publish(self, records: Records) -> None:
        """Keep records, those of one key in their order. Return once every one of them is durable.

        Raises:
            UnavailableError: not all are, or not in time. Some may be, and some may become so later.

        """
        ...


class KafkaPublisher:
    """Publishes to one topic while `keep_connected` runs."""

    def __init__(self, make_producer: Callable[[], Producer], topic: str, timeout: timedelta) -> None:
        """Publish with producers that `make_producer` gives unstarted.

        `timeout` is how long `publish` waits for Kafka: for the acknowledgement, and for room in between where
        records are many. What our own work on many records takes does not count.
        """
        self._make_producer = make_producer
        self._topic = topic
        self._timeout = timeout.total_seconds()
        self._producer: Producer | None = None
        self._spoiled: set[int] = set()
        """The partitions that the producer is of no more use for."""
        self._retired: set[asyncio.Task[None]] = set()
        self._connected = asyncio.Event()
        self._stirred = asyncio.Event()
        """Set where there is reason to look at once whether the brokers are there."""
        self._waits = Waits(self._stirred.set)
        self._joining = Joining(self._send)

    @property
    def connected(self) -> bool:
        """Whether the brokers answered lately."""
        return self._connected.is_set()

    @property
    def partitions(self) -> int:
        """How many partitions the topic has; 0 while that is not known."""
        return len(self._producer.client.cluster.partitions_for_topic(self._topic) or ()) if self._producer else 0

    @property
    def client(self) -> AIOKafkaClient | None:
        """A connection to the brokers for questions to them; None while they are away."""
        return self._producer.client if self._producer else None

    def takes(self, partition: int) -> bool:
        """Whether a partition has a leader that is not known to refuse."""
        if self._producer is None or partition in self._spoiled:
            return False
        leader = self._producer.client.cluster.leader_for_partition(TopicPartition(self._topic, partition))
        return leader is not None and leader >= 0

    async def until_connected(self) -> None:
        """Wait for the brokers."""
        await self._connected.wait()

    async def publish(self, records: Records) -> None:
        """Append records, each to its key's partition. See `Publisher`."""
        if not self.connected:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._connected.wait()
            except TimeoutError as error:
                raise UnavailableError("the brokers are away") from error
        partitions = self.partitions
        if not partitions:
            raise UnavailableError("the topic is not there")
        for failure in (await self.send(await by_partition(records, partitions))).values():
            raise failure

    async def send(
        self, groups: Mapping[int, Sequence[NewRecord]], within: float | None = None
    ) -> dict[int, UnavailableError]:
        """Append each partition's records in order. Return the partitions that failed, and how.

        `within`: seconds, instead of the timeout. A RefusedError says that one of a partition's records will never be
        taken. Which one shows when they are sent one by one.
        """
        seconds = self._timeout if within is None else within
        appended = [self._joining.append(partition, records, seconds) for partition, records in groups.items()]
        failed: dict[int, UnavailableError] = {}
        for partition, outcome in zip(groups, appended, strict=True):
            error = await outcome
            if error is not None:
                failed[partition] = error
        return failed

    async def keep_connected(self) -> None:
        """Hold a working producer until cancelled; then flush it."""
        producer = None
        try:
            while True:
                producer = await self._connect()
                self._take(producer)
                log.info("kafka connected", topic=self._topic)
                await self._until_worn(producer)
        finally:
            self._give_up()
            if self._retired:
                await asyncio.wait(self._retired)

    async def _send(
        self, partition: int, records: Sequence[NewRecord], began: float, seconds: float
    ) -> UnavailableError | None:
        """Append a partition's records in order. See `Send`."""
        sent: list[Sent] = []
        producer: Producer | None = None
        try:
            with Wait(self._waits, began, seconds) as wait:
                wait.producer = producer = await self._until_taken(partition)
                await self._hand_over(producer, partition, records, sent, wait)
                for acknowledgement, _ in sent:
                    await acknowledgement
        except (KafkaError, TimeoutError) as error:
            acknowledged = sum(count for _, count in takewhile(lambda each: succeeded(each[0]), sent))
            for acknowledgement, _ in sent:
                forget(acknowledgement)
            if producer is not None and producer is self._producer:
                if partition not in self._spoiled:
                    log.warning("publishing failed", topic=self._topic, partition=partition, error=repr(error))
                self._spoiled.add(partition)
                self._stirred.set()
            if isinstance(error, REFUSALS):
                return RefusedError(repr(error), acknowledged)
            why = repr(error) if isinstance(error, KafkaError) else f"no answer within {seconds:g} s"
            kind = DoubtfulError if isinstance(error, DOUBTS) else UnavailableError
            return kind(f"partition {partition} of the raw topic does not take it: {why}", acknowledged)
        return None

    async def _until_taken(self, partition: int) -> Producer:
        """Wait for a producer that can append to a partition."""
        while not self.takes(partition):
            self._stirred.set()
            await asyncio.sleep(LEADER_SECONDS)
            await self._connected.wait()
        assert self._producer is not None
        return self._producer

    async def _hand_over(
        self, producer: Producer, partition: int, records: Sequence[NewRecord], sent: list[Sent], wait: Wait
    ) -> None:
        """Hand records over in as few batches as take them, waiting for room. `sent` gets each batch."""
        batch, first = producer.create_batch(), 0
        for at, record in enumerate(records):
            if not _append(batch, record):
                batch.close()
                sent.append((await producer.send_batch(batch, self._topic, partition=partition), at - first))
                wait.extend()
                batch, first = producer.create_batch(), at
                _append(batch, record)  # an empty one takes any
            if (at + 1) % RECORDS_A_TURN == 0:
                await asyncio.sleep(0)
        batch.close()
        sent.append((await producer.send_batch(batch, self._topic, partition=partition), len(records) - first))

    def _take(self, producer: Producer) -> None:
        """Use a producer from now on. The one before may deliver what it has."""
        before, self._producer = self._producer, producer
        self._spoiled = set()
        self._connected.set()
        if before is not None:
            self._retire(before)

    def _give_up(self) -> None:
        """Use no producer from now on. Nobody waits for the brokers any longer."""
        producer, self._producer = self._producer, None
        self._connected.clear()
        if producer is not None:
            self._waits.end((producer, None))
            self._retire(producer)

    def _retire(self, producer: Producer) -> None:
        retiring = asyncio.create_task(self._end(producer), name="retire a producer")
        self._retired.add(retiring)
        retiring.add_done_callback(self._retired.discard)

    async def _end(self, producer: Producer) -> None:
        await kafka.stop(producer, FLUSH_SECONDS)
        self._waits.end((producer,))

    async def _until_worn(self, producer: Producer) -> None:
        """Return when another producer is to be made: because this one is spoiled, or its brokers are away."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_SECONDS):
                    await self._stirred.wait()
            self._stirred.clear()
            if not await _answers(producer):
                log.warning("kafka does not answer", topic=self._topic)
                self._give_up()
                return
            if self._spoiled:
                await asyncio.sleep(REPLACE_SECONDS)
                return
            await asyncio.sleep(SUSPECT_SECONDS)

    async def _connect(self) -> Producer:
        said: bool | None = None
        for pause in pauses():
            try:
                return await self._started()
            except (KafkaError, OSError, UnreachableError) as error:
                denied = isinstance(error, (DeniedError, *DENIALS))
                if denied is not said:
                    event = "kafka closed to us" if denied else "kafka not reachable"
                    log.warning(event, topic=self._topic, error=str(error) or repr(error))
                said = denied
                self._give_up()
            await asyncio.sleep(pause)
        raise AssertionError("there is always another pause")

    async def _started(self) -> Producer:
        producer = self._make_producer()
        await kafka.start(producer, CONNECT_SECONDS)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await producer.partitions_for(self._topic)
        except TimeoutError as error:
            await kafka.stop(producer)
            raise UnreachableError("the topic is not there: `waybill topics apply` makes it") from error
        except BaseException:
            await kafka.stop(producer)
            raise
        return producer


@asynccontextmanager
async def connected_publisher(
    make_producer: Callable[[], Producer], topic: str, timeout: timedelta
) -> AsyncIterator[KafkaPublisher]:
    """Give a publisher that connects in the background, now and whenever it must; flush it at the end.

    An unforeseen error in the background cancels what runs inside, and comes out in an ExceptionGroup.
    """
    publisher = KafkaPublisher(make_producer, topic, timeout)
    async with asyncio.TaskGroup() as group:
        keeper = group.create_task(publisher.keep_connected(), name="keep kafka connected")
        try:
            yield publisher
        finally:
            keeper.cancel()


async def _answers(producer: Producer) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return bool(await producer.client.force_metadata_update())
    except TimeoutError:
        return False


def _append(batch: Batch, record: NewRecord) -> bool:
    appended = batch.append(key=record.key, value=record.value, timestamp=record.timestamp_ms, headers=record.headers)
    return appended is not None
