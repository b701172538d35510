"""Appends records to the raw topic, and keeps a producer that can.

A producer in doubt (an error, a send out of time, a broker that does not answer) is replaced, never mended: aiokafka's
sequence numbers do not survive a failed batch, and it asks only the brokers it learned of at its start.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from itertools import islice
from typing import Any, Final, Protocol

import structlog
from aiokafka import AIOKafkaProducer
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

from ingest.errors import RefusedError, UnavailableError
from ingest.records import Record, Records
from runtime import kafka
from runtime.errors import DeniedError, UnreachableError
from schemas.partitioning import partition_of

CONNECT_SECONDS: Final = 5.0
"""How long one attempt to connect may take. A broker that is there answers in milliseconds."""

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""The pauses between attempts to connect double up to here: the most that a broker's return stays unnoticed."""

PROBE_EVERY_SECONDS: Final = 2.0
"""How often the brokers are asked whether they are there, beside what is published."""

PROBE_SECONDS: Final = 2.0
"""How long they may take to answer."""

SUSPECT_SECONDS: Final = 0.3
"""A webhook that has waited so long has the brokers asked at once: usually Kafka takes a few milliseconds."""

FLUSH_SECONDS: Final = 1.0
"""How long a producer may flush when it is replaced or at a stop. What was promised to couriers is durable already."""

RECORDS_A_TURN: Final = 50
"""How many records of one webhook are enqueued before other requests get their turn: about 2 ms."""

REFUSALS: Final = (
    InvalidMessageError,
    InvalidTimestampError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    UnsupportedForMessageFormatError,
    UnknownError,  # INVALID_RECORD (87), which aiokafka does not know by name, and what the broker stumbles over
)
"""What a broker says about a record that it will not take at any time."""

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

    def __init__(self, make_producer: Callable[[], AIOKafkaProducer], topic: str, timeout: timedelta) -> None:
        """Publish with producers that `make_producer` gives unstarted.

        `timeout` is how long `publish` waits for Kafka: for the acknowledgement, and for room in between where
        records are many. What our own work on many records takes does not count.
        """
        self._make_producer = make_producer
        self._topic = topic
        self._timeout = timeout.total_seconds()
        self._producer: AIOKafkaProducer | None = None
        self._connected = asyncio.Event()
        self._stirred = asyncio.Event()
        """Set where there is reason to look at once whether the brokers are there."""
        self._waiting: set[asyncio.Timeout] = set()
        """Of every `publish` that waits for Kafka."""

    @property
    def connected(self) -> bool:
        """Whether the brokers answered lately."""
        return self._connected.is_set()

    async def until_connected(self) -> None:
        """Wait for the brokers."""
        await self._connected.wait()

    async def publish(self, records: Records, within: float | None = None) -> None:
        """Append records, each to its key's partition. See `Publisher`. `within`: seconds, instead of the timeout.

        Raises:
            RefusedError: one of them will never be taken. Which one shows when they are published one by one.
            UnavailableError: otherwise.

        """
        seconds = self._timeout if within is None else within
        sent: list[asyncio.Future[Any]] = []
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(seconds) as deadline:
                with self._watched(deadline):
                    while (producer := self._producer) is None:
                        await self._connected.wait()
                    for turn in _turns(records):
                        await self._enqueue(producer, turn, sent)
                        await asyncio.sleep(0)
                        deadline.reschedule(asyncio.get_running_loop().time() + seconds)
                    await asyncio.gather(*sent)
        except (KafkaError, TimeoutError) as error:
            for future in sent:
                _forget(future)
            if producer is not None and producer is self._producer:
                log.warning("publishing failed", topic=self._topic, error=repr(error))
                self._doubt(producer, away=isinstance(error, TimeoutError))
            if isinstance(error, REFUSALS):
                raise RefusedError(repr(error)) from error
            raise UnavailableError("the raw topic does not take it") from error

    async def keep_connected(self) -> None:
        """Hold a working producer until cancelled; then flush it."""
        while True:
            self._producer = producer = await self._connect()
            self._connected.set()
            log.info("kafka connected", topic=self._topic)
            try:
                await self._until_in_doubt(producer)
            finally:
                self._doubt(producer, away=False)
                await kafka.stop(producer, FLUSH_SECONDS)

    @contextmanager
    def _watched(self, deadline: asyncio.Timeout) -> Iterator[None]:
        """Have the brokers looked at when this takes long, and end it at once when they are not there."""
        suspicion = asyncio.get_running_loop().call_later(SUSPECT_SECONDS, self._stirred.set)
        self._waiting.add(deadline)
        try:
            yield
        finally:
            suspicion.cancel()
            self._waiting.discard(deadline)

    def _doubt(self, producer: AIOKafkaProducer, *, away: bool) -> None:
        """Give a producer up. Where the brokers are away nobody waits for them any longer."""
        if producer is not self._producer:
            return
        self._producer = None
        self._connected.clear()
        self._stirred.set()
        if away:
            for deadline in self._waiting:
                if not deadline.expired():
                    deadline.reschedule(asyncio.get_running_loop().time())

    async def _enqueue(
        self, producer: AIOKafkaProducer, records: Iterable[Record], sent: list[asyncio.Future[Any]]
    ) -> None:
        """Hand records over, waiting for room. `sent` gets the future of each one's acknowledgement."""
        partitions = len(await producer.partitions_for(self._topic))
        for record in records:
            future = await producer.send(
                self._topic,
                value=record.value,
                key=record.key,
                partition=partition_of(record.key, partitions),
                timestamp_ms=record.timestamp_ms,
                headers=record.headers,
            )
            sent.append(future)

    async def _until_in_doubt(self, producer: AIOKafkaProducer) -> None:
        while self._producer is producer:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_SECONDS):
                    await self._stirred.wait()
            if self._producer is not producer:
                return
            if not await _answers(producer):
                log.warning("kafka does not answer", topic=self._topic)
                self._doubt(producer, away=True)
                return
            await asyncio.sleep(SUSPECT_SECONDS)
            self._stirred.clear()

    async def _connect(self) -> AIOKafkaProducer:
        said: bool | None = None
        for pause in pauses():
            try:
                return await self._started()
            except (KafkaError, OSError, UnreachableError) as error:
                denied = isinstance(error, (DeniedError, *kafka.DENIALS))
                if denied is not said:
                    event = "kafka closed to us" if denied else "kafka not reachable"
                    log.warning(event, topic=self._topic, error=str(error) or repr(error))
                said = denied
            await asyncio.sleep(pause)
        raise AssertionError("there is always another pause")

    async def _started(self) -> AIOKafkaProducer:
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
    make_producer: Callable[[], AIOKafkaProducer], topic: str, timeout: timedelta
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


async def _answers(producer: AIOKafkaProducer) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return bool(await producer.client.force_metadata_update())
    except TimeoutError:
        return False


def _turns(records: Iterable[Record]) -> Iterator[list[Record]]:
    source = iter(records)
    while turn := list(islice(source, RECORDS_A_TURN)):
        yield turn


def pauses() -> Iterator[float]:
    """Seconds, each pause up to twice the last, at random so that many doors do not knock at once."""
    longest = FIRST_PAUSE_SECONDS
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311
        longest = min(2 * longest, LONGEST_PAUSE_SECONDS)


def _forget(future: asyncio.Future[Any]) -> None:
    """Give up a send. An error nobody asks for would be logged as lost."""
    if not future.cancel() and not future.cancelled():
        future.exception()
