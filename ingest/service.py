"""`waybill ingest`: the door and its admin port, until told to stop."""

import asyncio
import gc
import resource
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from ingest.app import Door, Route
from ingest.clock import guarded
from ingest.credentials import make_verifier
from ingest.publisher import KafkaPublisher, Publisher, connected_publisher
from ingest.server import MAX_CONNECTIONS, DoorServer
from ingest.spool import Spool, open_spool
from ingest.spooling import spooling_publisher
from runtime import lifecycle
from runtime.admin import admin_server, listen
from runtime.clock import Comparison, compare_clocks
from runtime.errors import UnreachableError
from runtime.kafka import new_producer
from runtime.metrics import IngestMetrics, new_registry
from runtime.settings import Settings
from runtime.tracing import spans_of
from schemas.couriers import COURIERS, Courier
from schemas.topics import Topic

if TYPE_CHECKING:
    from runtime.spans import Spans

DRAIN_SECONDS: Final = 4.0
"""How long requests in flight may take at a stop. With closing and flushing behind it the lifecycle's 8 s suffice."""

CLOSE_SECONDS: Final = 0.5
"""How long connections may take to close after that."""

OTHER_FILES: Final = 128
"""Open files beside the connections: the spool's, Kafka's, the admin port's."""

NEW_CONTAINERS: Final = 10_000
"""How many containers more than before make the garbage collector look for circles. By Python's 700 it looks every
twenty requests, a tenth of all the time, and those under way leave next to none."""

log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Serve until SIGTERM and return the exit code.

    Raises:
        SettingsError: webhooks are to be traced, and cannot be.

    """
    with spans_of(settings, "waybill-ingest") as spans:
        gc.freeze()
        gc.set_threshold(NEW_CONTAINERS)
        return lifecycle.run(partial(serve, settings, spans=spans))


def routes_of(settings: Settings, couriers: Mapping[str, Courier] = COURIERS) -> dict[str, Route]:
    """Make the routes of the couriers that are on."""
    return {
        name: Route(courier, make_verifier(courier.credentials, settings.credential_headers[name], secrets))
        for name, courier in couriers.items()
        if (secrets := settings.secrets.get(name))
    }


async def serve(settings: Settings, stop: asyncio.Event, spans: "Spans | None" = None) -> None:
    """Serve until `stop` is set, then finish what is in flight.

    Raises:
        SetupError: a port cannot be listened on, or the spool's directory cannot be used.

    """
    routes = routes_of(settings)
    registry = new_registry()
    metrics = IngestMetrics(registry)
    async with keeping(settings, metrics) as kept, AsyncExitStack() as opened:
        door = Door(
            routes,
            kept.publisher,
            metrics,
            account=settings.account,
            max_body_bytes=settings.ingest_max_body_bytes,
            now=_now,
            spans=spans,
            trace_ratio=settings.trace_ratio,
        )
        admin_port = await opened.enter_async_context(
            admin_server(settings.admin_host, settings.ingest_admin_port, registry, kept.parts, kept.taking)
        )
        server = DoorServer(door.handle, door.count_error, _connections_allowed())
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        opened.push_async_callback(runner.cleanup)
        port = await listen(runner, settings.ingest_host, settings.ingest_port, shared=True)
        log.info("ingest ready", port=port, admin_port=admin_port, couriers=sorted(routes))
        await stop.wait()
        await _drain(runner, door)


class Keeping(msgspec.Struct, frozen=True):
    """What keeps the records while the clock is right, and what the admin port says of it."""

    publisher: Publisher
    parts: Callable[[], Mapping[str, bool]]
    taking: Callable[[], str | None]


@asynccontextmanager
async def keeping(settings: Settings, metrics: IngestMetrics) -> AsyncIterator[Keeping]:
    """Give what the settings ask for: Kafka, and the spool for when it is away.

    Raises:
        SetupError: the spool's directory is in use by another process, or cannot be used.

    """

    def connected(client_id: str) -> AbstractAsyncContextManager[KafkaPublisher]:
        make_producer = partial(new_producer, settings, client_id)
        return connected_publisher(make_producer, settings.topic(Topic.RAW), settings.ingest_publish_timeout)

    async with AsyncExitStack() as opened:
        spool = await opened.enter_async_context(_spool(settings))
        kafka = await opened.enter_async_context(connected("waybill-ingest"))
        if spool is None:
            kept = Keeping(kafka, lambda: {"kafka": kafka.connected}, lambda: "kafka" if kafka.connected else None)
        else:
            draining = partial(connected, "waybill-ingest-spool")
            spooling = await opened.enter_async_context(spooling_publisher(kafka, draining, spool, metrics))
            kept = Keeping(spooling, lambda: {"kafka": kafka.connected, "spool": spool.takes}, lambda: spooling.taking)
        compare = partial(_compare, kafka)
        guard = await opened.enter_async_context(guarded(kept.publisher, compare, _now, kafka.until_connected))
        yield Keeping(
            guard,
            lambda: {**kept.parts(), **({} if guard.right else {"clock": False})},
            lambda: kept.taking() if guard.right else None,
        )


@asynccontextmanager
async def _spool(settings: Settings) -> AsyncIterator[Spool | None]:
    if settings.ingest_spool_dir is None:
        yield None
        return
    async with open_spool(
        Path(settings.ingest_spool_dir),
        max_bytes=settings.ingest_spool_max_bytes,
        max_age=settings.ingest_spool_max_age,
        now_ms=lambda: time.time_ns() // 1_000_000,
    ) as spool:
        yield spool


def _now() -> datetime:
    return datetime.now(UTC)


async def _compare(kafka: KafkaPublisher) -> Comparison:
    """Compare the clock that records are stamped by with the brokers'. Raises SetupError."""
    if kafka.client is None:
        raise UnreachableError("the brokers are away")
    return await compare_clocks(kafka.client, _now)


def _connections_allowed() -> int:
    """Raise the limit of open files as far as it goes, and return how many connections fit under it."""
    wanted = MAX_CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted:
            log.warning("few open files allowed", limit=soft, wanted=wanted)
            return max(1, soft - OTHER_FILES)
    return MAX_CONNECTIONS


async def _drain(runner: web.ServerRunner, door: Door) -> None:
    for site in runner.sites:
        await site.stop()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await door.drain()
    except TimeoutError:
        log.warning("requests cut off", after_seconds=DRAIN_SECONDS)
