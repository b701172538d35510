"""Kafka clients: the one place where settings become aiokafka's options.

Clients come unstarted. Use `start` and `stop`: aiokafka's own may wait for ever.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from runtime.errors import UnreachableError
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

SESSION_TIMEOUT: Final = timedelta(seconds=10)
"""How long a dead member of the group keeps its partitions."""

HEARTBEAT: Final = timedelta(seconds=3)

log = structlog.get_logger(__name__)


def new_producer(settings: Settings, client_id: str) -> AIOKafkaProducer:
    """Make a producer for single records: idempotent, `acks=all`."""
    return AIOKafkaProducer(
        **_connection(settings, client_id),
        **_producing(settings),
        enable_idempotence=True,
    )


def new_transactional_producer(settings: Settings, transactional_id: str) -> AIOKafkaProducer:
    """Make a producer whose start fences every earlier one of the same id and aborts its open transaction."""
    return AIOKafkaProducer(
        **_connection(settings, transactional_id),
        **_producing(settings),
        transactional_id=transactional_id,
        transaction_timeout_ms=_ms(settings.kafka_transaction_timeout),
    )


def new_group_consumer(settings: Settings, client_id: str) -> AIOKafkaConsumer:
    """Make the consumer by which processors share the partitions. It neither commits nor resets offsets."""
    return AIOKafkaConsumer(
        **_connection(settings, client_id),
        **_consuming(),
        group_id=settings.group_id,
        auto_offset_reset="none",
        session_timeout_ms=_ms(SESSION_TIMEOUT),
        heartbeat_interval_ms=_ms(HEARTBEAT),
    )


def new_reader(settings: Settings, client_id: str, *topics: str) -> AIOKafkaConsumer:
    """Make a consumer without a group, which reads what is committed: all of `topics`, or what it is assigned.

    It starts at the earliest record unless told to seek.
    """
    return AIOKafkaConsumer(
        *topics,
        **_connection(settings, client_id),
        **_consuming(),
        group_id=None,
        auto_offset_reset="earliest",
    )


async def start(client: AIOKafkaProducer | AIOKafkaConsumer, within: float = START_SECONDS) -> None:
    """Start a client. One that does not start in time is stopped.

    Raises:
        UnreachableError: no broker answers in time.
        KafkaError: the brokers refuse it.

    """
    try:
        async with asyncio.timeout(within):
            await client.start()
    except TimeoutError as error:
        await stop(client, GIVE_UP_SECONDS)
        raise UnreachableError(f"Kafka does not answer within {within:.0f} s") from error
    except KafkaConnectionError as error:
        await stop(client, GIVE_UP_SECONDS)
        raise UnreachableError(f"Kafka cannot be reached: {error}") from error
    except BaseException:
        await stop(client, GIVE_UP_SECONDS)
        raise


async def stop(client: AIOKafkaProducer | AIOKafkaConsumer, within: float = STOP_SECONDS) -> None:
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


def background(consumer: AIOKafkaConsumer) -> list[asyncio.Task[Any]]:
    """Return the tasks without which a started group consumer is of no more use. Reaches into aiokafka 0.14."""
    return [consumer._fetcher._fetch_task, consumer._coordinator._coordination_task]


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give a started admin client.

    Raises:
        UnreachableError: no broker answers in time, or none lets us in.

    """
    admin = AIOKafkaAdminClient(**_connection(settings, "waybill-admin"), request_timeout_ms=_ms(REQUEST_TIMEOUT))
    where = f"Kafka at {settings.kafka_bootstrap_servers}"
    last_words = _LastWords()
    try:
        try:
            with last_words:
                async with asyncio.timeout(START_SECONDS):
                    await admin.start()
        except TimeoutError as error:
            raise UnreachableError(f"{where} does not answer within {START_SECONDS:.0f} s") from error
        except (KafkaError, OSError) as error:
            raise UnreachableError(f"{where} cannot be reached: {last_words.text or error}") from error
        yield admin
    finally:
        async with asyncio.timeout(STOP_SECONDS):
            await admin.close()


class _LastWords(logging.Handler):
    """Hears why aiokafka cannot connect: its exception does not say, its log does."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()

    def __enter__(self) -> None:
        logger = logging.getLogger("aiokafka")
        logger.addHandler(self)
        logger.propagate = False

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("aiokafka")
        logger.removeHandler(self)
        logger.propagate = True


async def _give_up(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """End the tasks of a client that would not stop and close what is below. Reaches into aiokafka 0.14."""
    client._closed = True
    running = _tasks(client)
    for task in running:
        task.cancel()
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await (client.client if isinstance(client, AIOKafkaProducer) else client._client).close()
            await asyncio.gather(*running, return_exceptions=True)
    except TimeoutError:
        log.warning("kafka client left behind", client=type(client).__name__)


def _tasks(client: AIOKafkaProducer | AIOKafkaConsumer) -> list[asyncio.Task[Any]]:
    if isinstance(client, AIOKafkaProducer):
        found = [client._sender.sender_task]
    else:
        fetcher, coordinator = client._fetcher, client._coordinator
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
        "ssl_context": (
            ssl.create_default_context(cafile=settings.kafka_ssl_cafile) if protocol.endswith("SSL") else None
        ),
    }


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
