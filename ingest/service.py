"""`waybill ingest`: the door and its admin port, until told to stop."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from ingest.app import Door, Gate
from ingest.credentials import make_lock
from ingest.publisher import connected_publisher
from ingest.server import DoorServer
from runtime import kafka, lifecycle
from runtime.admin import admin_server, listen
from runtime.metrics import IngestMetrics, new_registry
from runtime.settings import Settings
from schemas.couriers import COURIERS, Courier
from schemas.topics import Topic

DRAIN_SECONDS: Final = 4.0
"""How long requests in flight may take at a stop. With closing and flushing behind it the lifecycle's 8 s suffice."""

CLOSE_SECONDS: Final = 0.5
"""How long connections may take to close after that."""

log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Serve until SIGTERM and return the exit code."""
    return lifecycle.run(partial(serve, settings))


def gates_of(settings: Settings, couriers: Mapping[str, Courier] = COURIERS) -> dict[str, Gate]:
    """Make the gates of the couriers that are on."""
    return {
        name: Gate(courier, make_lock(courier.credentials, settings.credential_headers[name], secrets))
        for name, courier in couriers.items()
        if (secrets := settings.secrets.get(name))
    }


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then finish what is in flight.

    Raises:
        SetupError: a port cannot be listened on.

    """
    gates = gates_of(settings)
    registry = new_registry()
    async with connected_publisher(
        partial(kafka.new_producer, settings, "waybill-ingest"),
        settings.topic(Topic.RAW),
        settings.ingest_publish_timeout,
    ) as publisher:
        door = Door(
            gates,
            publisher,
            IngestMetrics(registry),
            account=settings.account,
            max_body_bytes=settings.ingest_max_body_bytes,
            now=partial(datetime.now, UTC),
        )
        async with admin_server(
            settings.admin_host, settings.ingest_admin_port, registry, lambda: {"kafka": publisher.connected}
        ) as admin_port:
            runner = web.ServerRunner(DoorServer(door.handle, door.count_error), shutdown_timeout=CLOSE_SECONDS)
            await runner.setup()
            try:
                port = await listen(runner, settings.ingest_host, settings.ingest_port)
                log.info("ingest ready", port=port, admin_port=admin_port, couriers=sorted(gates))
                await stop.wait()
                await _drain(runner, door)
            finally:
                await runner.cleanup()


async def _drain(runner: web.ServerRunner, door: Door) -> None:
    for site in runner.sites:
        await site.stop()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await door.drain()
    except TimeoutError:
        log.warning("requests cut off", after_seconds=DRAIN_SECONDS)
