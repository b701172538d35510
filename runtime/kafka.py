"""Kafka clients: the one place where settings become aiokafka's options.

Clients come unstarted. Use `start` and `stop`: aiokafka's own may wait for ever.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalOperation,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
)
from aiokafka.producer.message_accumulator import MessageBatch

from runtime.errors import DeniedError, SetupError
from runtime.kafka_asking import Admin
from runtime.kafka_connections import own_connections
from runtime.kafka_denials import DENIALS, LastWords
from runtime.kafka_metadata import ask_with_care
from runtime.kafka_records import read_any_name
from runtime.kafka_types import Consumer, Producer
from runtime.settings import Settings

START_SECONDS: Final = 20.0
"""How long a client may take to find its brokers, log in and fence a predecessor. Milliseconds when all is well."""

STOP_SECONDS: Final = 1.5
"""How long a client may flush at its stop. The service's drain has 8 s for everything."""

GIVE_UP_SECONDS: Final = 0.5
"""How long the connections of a client that would not stop may take to close."""

REQUEST_TIMEOUT: Final = timedelta(seconds=10)
"""Without an answer for so long a producer's connection is made anew: a frozen broker is not waited for."""

LINGER: Final = timedelta(milliseconds=3)
"""How long a batch waits for company: several times the throughput for a few milliseconds."""

BATCH_BYTES: Final = 512 * 1024
"""Half of what a broker takes in one batch by default; 2 to 3 times faster than the default of 16 KiB."""

FETCH_WAIT: Final = timedelta(milliseconds=50)
"""How long a broker may hold a fetch open. A partition resumed meanwhile waits for it, so it is short."""

FETCH_BYTES: Final = 4 * 1024 * 1024
"""How much of one partition is fetched at once: some thousand records, a worker's batch. It bounds memory."""

HEARTBEATS: Final = 3
"""Heartbeats in a session timeout: two may get lost before a living member is taken for dead."""

METADATA_AGE: Final = timedelta(seconds=5)
"""How often a consumer of the group asks where its topic is: one that was deleted and made anew is found so soon. By
default it would be asked for every five minutes."""

KAFKA_ERRORS: Final = (KafkaError, IllegalOperation, ConsumerStoppedError, OSError, TimeoutError)
"""What Kafka's clients raise when the brokers are away, or when another claim has fenced us."""

log = structlog.get_logger(__name__)

ask_with_care()
read_any_name()


def new_producer(settings: Settings, client_id: str) -> Producer:
    """Make a producer for single records: idempotent, `acks=all`."""
    producer: Producer = AIOKafkaProducer(
        **_connection(settings, client_id),
        **_producing(settings),
        enable_idempotence=True,
    )
    own_connections(producer.client)
    return producer


def new_transactional_producer(settings: Settings, transactional_id: str) -> Producer:
    """Make a producer whose start fences every earlier one of the same id and aborts its open transaction."""
    producer: Producer = AIOKafkaProducer(
        **_connection(settings, transactional_id),
        **_producing(settings),
        transactional_id=transactional_id,
        transaction_timeout_ms=_ms(settings.kafka_transaction_timeout),
    )
    own_connections(producer.client)
    return producer


def new_group_consumer(settings: Settings, client_id: str) -> Consumer:
    """Make the consumer by which processors share the partitions. It neither commits nor resets offsets."""
    consumer: Consumer = AIOKafkaConsumer(
        **_connection(settings, client_id),
        **_consuming(),
        group_id=settings.group_id,
        auto_offset_reset="none",
        session_timeout_ms=_ms(settings.kafka_session_timeout),
        heartbeat_interval_ms=_ms(settings.kafka_session_timeout / HEARTBEATS),
        metadata_max_age_ms=_ms(METADATA_AGE),
    )
    own_connections(_below(consumer))
    return consumer


def new_reader(settings: Settings, client_id: str, *topics: str) -> Consumer:
    """Make a consumer without a group, which reads what is committed: all of `topics`, or what it is assigned.

    It starts at the earliest record unless told to seek.
    """
    reader: Consumer = AIOKafkaConsumer(
        *topics,
        **_connection(settings, client_id),
        **_consuming(),
        group_id=None,
        auto_offset_reset="earliest",
    )
    own_connections(_below(reader))
    return reader


async def start(client: Producer | Consumer, within: float = START_SECONDS) -> None:
    """Start a client. One that does not start in time is stopped.

    Raises:
        UnreachableError: no broker answers in time.
        DeniedError: none lets us in, or it does not allow what the client is for, or not with our settings.
        KafkaError: the brokers refuse it.

    """
    last_words = LastWords()
    try:
        with last_words:
            async with asyncio.timeout(within):
                await client.start()
    except TimeoutError as error:
        await stop(client, GIVE_UP_SECONDS)
        raise last_words.error(_below(client), f"does not answer within {within:.0f} s") from error
    except KafkaConnectionError as error:
        await stop(client, GIVE_UP_SECONDS)
        raise last_words.error(_below(client), f"cannot be reached: {error}") from error
    except DENIALS as error:
        await stop(client, GIVE_UP_SECONDS)
        raise DeniedError(f"Kafka does not allow it: {error}") from error
    except InvalidSessionTimeoutError as error:
        await stop(client, GIVE_UP_SECONDS)
        session = f"a session of {_internals(client)._session_timeout_ms} ms"
        raise DeniedError(
            f"the brokers do not take {session}: set WAYBILL_KAFKA_SESSION_TIMEOUT between their "
            "group.min.session.timeout.ms (6s unless told otherwise) and group.max.session.timeout.ms"
        ) from error
    except BaseException:
        await stop(client, GIVE_UP_SECONDS)
        raise


async def stop(client: Producer | Consumer, within: float = STOP_SECONDS) -> None:
    """Stop a client: deliver what was sent, or give it up after `within` seconds. Then a send may stay unanswered."""
    try:
        async with asyncio.timeout(within):
            if isinstance(client, AIOKafkaProducer):
                await client.flush()
            await client.stop()
    except (TimeoutError, KafkaError, asyncio.CancelledError) as error:
        log.warning("kafka client given up", client=type(client).__name__, error=repr(error))
        await _give_up(client)
        # aiokafka waits for tasks that it has cancelled, and lets their cancellation out as if it were ours.
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
            raise
    finally:
        if isinstance(client, AIOKafkaProducer):
            _end_of_transaction(client)  # an error that nobody asks for would be logged as lost


def background(consumer: Consumer) -> list[asyncio.Task[Any]]:
    """Return the tasks without which a started group consumer is of no more use. Reaches into aiokafka 0.14."""
    group = _internals(consumer)
    return [group._fetcher._fetch_task, group._coordinator._coordination_task]


def stay_member(consumer: Consumer) -> None:
    """Have a group consumer count as busy though it fetches nothing: all its partitions may stand still, for days.

    aiokafka leaves the group where nothing was fetched for five minutes. Reaches into aiokafka 0.14.
    """
    with _internals(consumer)._subscription.fetch_context():
        pass


def denial_of_transaction(producer: Producer) -> KafkaError | None:
    """Return what the brokers did not allow in the producer's transaction: what fails then does not say it.

    Reaches into aiokafka 0.14.
    """
    error = _end_of_transaction(producer)
    return error if isinstance(error, DENIALS) else None


def _fail_heard(batch: MessageBatch, exception: Exception) -> None:
    """Fail a batch as aiokafka does. For its being sent nobody waits: that error would be logged as lost."""
    _fail(batch, exception)
    if not batch._drain_waiter.cancelled():
        batch._drain_waiter.exception()


_fail: Final = MessageBatch.failure
MessageBatch.failure = _fail_heard


def _end_of_transaction(producer: Producer) -> BaseException | None:
    manager = _internals(producer)._txn_manager
    waiter = manager._transaction_waiter if manager is not None else None
    return waiter.exception() if waiter is not None and waiter.done() and not waiter.cancelled() else None


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[Admin]:
    """Give a started admin client.

    Raises:
        UnreachableError: no broker answers in time.
        DeniedError: none lets us in.

    """
    admin = Admin(**_connection(settings, "waybill-admin"), request_timeout_ms=_ms(REQUEST_TIMEOUT))
    own_connections(admin._client)
    last_words = LastWords()
    try:
        try:
            with last_words:
                async with asyncio.timeout(START_SECONDS):
                    await admin.start()
        except TimeoutError as error:
            raise last_words.error(admin._client, f"does not answer within {START_SECONDS:.0f} s") from error
        except (KafkaError, OSError) as error:
            raise last_words.error(admin._client, f"cannot be reached: {error}") from error
        yield admin
    finally:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await admin.close()
        except TimeoutError:
            log.warning("kafka client left behind", client=type(admin).__name__)


@asynccontextmanager
async def open_reader(settings: Settings, client_id: str, *topics: str) -> AsyncIterator[Consumer]:
    """Give a started reader, as `new_reader` makes it. Raises as `start` does."""
    reader = new_reader(settings, client_id, *topics)
    await start(reader)
    try:
        yield reader
    finally:
        await stop(reader)


def _internals(client: Producer | Consumer) -> Any:
    """Return a client as aiokafka has it. `tests/unit/test_private_attributes.py` names what is reached into."""
    return client


def _below(client: Producer | Consumer) -> AIOKafkaClient:
    return client.client if isinstance(client, AIOKafkaProducer) else _internals(client)._client


async def _give_up(client: Producer | Consumer) -> None:
    """End the tasks of a client that would not stop and close what is below. Reaches into aiokafka 0.14."""
    _internals(client)._closed = True
    running = _tasks(client)
    for task in running:
        task.cancel()
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await _below(client).close()
            await asyncio.gather(*running, return_exceptions=True)
    except TimeoutError:
        log.warning("kafka client left behind", client=type(client).__name__)


def _tasks(client: Producer | Consumer) -> list[asyncio.Task[Any]]:
    if isinstance(client, AIOKafkaProducer):
        found = [_internals(client)._sender.sender_task]
    else:
        fetcher, coordinator = _internals(client)._fetcher, _internals(client)._coordinator
        found = [
            getattr(fetcher, "_fetch_task", None),
            *getattr(fetcher, "_pending_tasks", ()),
            getattr(coordinator, "_coordination_task", None),
            getattr(coordinator, "_heartbeat_task", None),
            getattr(coordinator, "_commit_refresh_task", None),
            getattr(coordinator, "_reset_committed_task", None),
        ]
    return [task for task in found if task is not None]


def _connection(settings: Settings, client_id: str) -> dict[str, Any]:
    protocol = settings.kafka_security_protocol
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "client_id": client_id,
        "security_protocol": protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": settings.kafka_sasl_password,
        "ssl_context": _trust(settings.kafka_ssl_cafile) if protocol.endswith("SSL") else None,
    }


def _trust(cafile: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:
        raise SetupError(f"WAYBILL_KAFKA_SSL_CAFILE={cafile} holds no certificates: {error}") from error


def _producing(settings: Settings) -> dict[str, Any]:
    return {
        "acks": "all",
        "max_request_size": settings.max_message_bytes,
        "max_batch_size": BATCH_BYTES,
        "linger_ms": _ms(LINGER),
        "request_timeout_ms": _ms(REQUEST_TIMEOUT),
    }


def _consuming() -> dict[str, Any]:
    return {
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "fetch_max_wait_ms": _ms(FETCH_WAIT),
        "max_partition_fetch_bytes": FETCH_BYTES,
    }


def _ms(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
