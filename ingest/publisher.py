"""Appends records to the raw topic, each partition for itself, and keeps a producer that can.

What one partition does not take (it has no leader, or refuses) holds up no other. A producer that failed at a partition
is of no more use for it, since aiokafka's sequence numbers do not survive a failed batch: it is replaced, and goes on
for the others meanwhile. One whose brokers do not answer is given up: it asks only those it learned of at its start.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
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
from ingest.records import Records
from ingest.turns import RECORDS_A_TURN, by_partition
from ingest.waits import Wait, forget, pauses, succeeded
from runtime import kafka
from runtime.errors import DeniedError, UnreachableError
from runtime.kafka_denials import DENIALS
from runtime.kafka_types import Producer
from schemas.records import NewRecord

CONNECT_SECONDS: Final = 5.0
"""How long one attempt to connect may take. A broker that is there answers in milliseconds."""

PROBE_EVERY_SECONDS: Final = 2.0
"""How often the brokers are asked whether they are there, beside what is published."""

PROBE_SECONDS: Final = 2.0
"""How long they may take to answer."""

SUSPECT_SECONDS: Final = 0.3
"""A webhook that has waited so long has the brokers asked at once: usually Kafka takes a few milliseconds."""

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
        self._waits: set[Wait] = set()
        """Of every send."""

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
        tasks = [self._send(partition, records, seconds) for partition, records in groups.items()]
        outcomes = [await tasks[0]] if len(tasks) == 1 else await asyncio.gather(*tasks)
        return {partition: error for partition, error in zip(groups, outcomes, strict=True) if error is not None}

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

    async def _send(self, partition: int, records: Sequence[NewRecord], seconds: float) -> UnavailableError | None:
        sent: list[asyncio.Future[Any]] = []
        producer: Producer | None = None
        try:
            async with asyncio.timeout(seconds) as deadline:
                with self._watched(Wait(deadline)) as wait:
                    wait.producer = producer = await self._until_taken(partition)
                    for turn in _turns(records):
                        await self._enqueue(producer, partition, turn, sent)
                        await asyncio.sleep(0)
                        wait.extend(seconds)
                    await asyncio.gather(*sent)
        except (KafkaError, TimeoutError) as error:
            acknowledged = sum(1 for _ in takewhile(succeeded, sent))
            for future in sent:
                forget(future)
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

    async def _enqueue(
        self,
        producer: Producer,
        partition: int,
        records: Iterable[NewRecord],
        sent: list[asyncio.Future[Any]],
    ) -> None:
        """Hand records over, waiting for room. `sent` gets the future of each one's acknowledgement."""
        for record in records:
            future = await producer.send(
                self._topic,
                value=record.value,
                key=record.key,
                partition=partition,
                timestamp_ms=record.timestamp_ms,
                headers=record.headers,
            )
            sent.append(future)

    @contextmanager
    def _watched(self, wait: Wait) -> Iterator[Wait]:
        """Have the brokers looked at when this takes long, and end it at once when they are not there."""
        suspicion = asyncio.get_running_loop().call_later(SUSPECT_SECONDS, self._stirred.set)
        self._waits.add(wait)
        try:
            yield wait
        finally:
            suspicion.cancel()
            self._waits.discard(wait)

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
            self._end_waits(producer, None)
            self._retire(producer)

    def _retire(self, producer: Producer) -> None:
        retiring = asyncio.create_task(self._end(producer), name="retire a producer")
        self._retired.add(retiring)
        retiring.add_done_callback(self._retired.discard)

    async def _end(self, producer: Producer) -> None:
        await kafka.stop(producer, FLUSH_SECONDS)
        self._end_waits(producer)

    def _end_waits(self, *producers: Producer | None) -> None:
        for wait in self._waits:
            if wait.producer in producers:
                wait.end()

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


def _turns(records: Sequence[NewRecord]) -> Iterator[Sequence[NewRecord]]:
    return (records[at : at + RECORDS_A_TURN] for at in range(0, len(records), RECORDS_A_TURN))
