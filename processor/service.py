"""The processor as a service: clients, group, admin port, orderly stop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from processor.claims import Stream
from processor.group import Group
from processor.steps import Reached, no_one
from processor.store import Store
from processor.worker import Shared, pause
from runtime import kafka, kafka_admin, lifecycle
from runtime.admin import admin_server
from runtime.errors import UnreachableError
from runtime.metrics import ProcessorMetrics, new_registry
from runtime.postgres import open_pool
from runtime.settings import Settings
from schemas.topics import Topic

CONNECTIONS: Final = 10
"""Database connections of one processor: batches of that many partitions are written side by side."""

log = structlog.get_logger(__name__)


def run(settings: Settings) -> int:
    """Run until a signal. Return the exit code."""
    return lifecycle.run(lambda stop: serve(settings, stop))


async def serve(settings: Settings, stop: asyncio.Event, reached: Reached = no_one) -> None:
    """Process until `stop` is set. `reached` hears of every step.

    While Kafka or PostgreSQL is away at the start, it waits for them.
    """
    registry = new_registry()
    metrics = ProcessorMetrics(registry)
    groups: list[Group] = []

    def readiness() -> Mapping[str, bool]:
        workers = [worker for group in groups for worker in group.workers]
        return {
            "assigned": bool(workers),
            "claimed": all(worker.working or worker.halted for worker in workers),
            "running": not any(worker.halted for worker in workers),
        }

    async with admin_server(settings.admin_host, settings.processor_admin_port, registry, readiness) as port:
        log.info("processor started", topic=settings.topic(Topic.RAW), group=settings.group_id, admin_port=port)
        attempt = 0
        while not stop.is_set():
            try:
                async with _shared(settings, metrics, reached) as shared:
                    await _process(shared, groups, stop)
            except UnreachableError as error:
                attempt += 1
                if attempt == 1:
                    log.warning("waiting", reason=str(error))
                await pause(attempt, stop)


async def _process(shared: Shared, groups: list[Group], stop: asyncio.Event) -> None:
    group = Group(shared)
    groups.append(group)
    shared.consumer.subscribe([shared.stream.raw_topic], listener=group)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await kafka.start(shared.consumer)
        await asyncio.wait((stopping, group.failed), return_when=asyncio.FIRST_COMPLETED)
        if group.failed.done():
            group.failed.result()
    finally:
        stopping.cancel()
        await group.stop()
        groups.remove(group)


@asynccontextmanager
async def _shared(settings: Settings, metrics: ProcessorMetrics, reached: Reached) -> AsyncIterator[Shared]:
    raw_topic = settings.topic(Topic.RAW)
    async with kafka.admin_client(settings) as admin, await open_pool(settings, "processor", CONNECTIONS) as pool:
        found = await kafka_admin.find_topics(admin, [raw_topic], [])
        if raw_topic not in found:
            raise UnreachableError(f"topic {raw_topic} is missing: `waybill topics apply` makes it")
        stream = Stream(raw_topic, found[raw_topic].partitions, settings.group_id)
        consumer = kafka.new_group_consumer(settings, "waybill-processor")
        try:
            yield Shared(settings, stream, consumer, admin, Store(pool, stream, reached), metrics, reached)
        finally:
            await kafka.stop(consumer)
