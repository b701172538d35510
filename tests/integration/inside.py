"""A processor that runs inside the test's own process, with limits a fraction as long."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from devstack.ports import HOST, free_ports
from processor import health
from processor.group import Group
from processor.partition import standing
from processor.protocol import pacing
from processor.protocol.crash_points import no_one
from processor.service import _opened, serve
from processor.storage import cursors
from runtime import kafka, postgres
from runtime.metrics import ProcessorMetrics, new_registry
from runtime.spans import Spans
from tests.integration.system import System, open_system


def shorten(monkeypatch: pytest.MonkeyPatch, divisor: float) -> None:
    """Make every limit by which a processor waits for the database so much shorter."""
    for module, name in (
        (postgres, "COMMAND_SECONDS"),
        (postgres, "ACQUIRE_SECONDS"),
        (cursors, "CLAIM_PATIENCE_SECONDS"),
        (health, "STALLED_SECONDS"),
        (pacing, "STUCK_SECONDS"),
        (standing, "RETRY_SECONDS"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / divisor)


async def open_inside(kafka_bootstrap_servers: str, database_url: str, prefix: str, partitions: int) -> System:
    """Make a system whose processor shall run inside."""
    system = await open_system(kafka_bootstrap_servers, database_url, prefix, partitions)
    system.set(WAYBILL_PROCESSOR_ADMIN_PORT=str(free_ports(1)[0]))
    return system


@asynccontextmanager
async def processing(system: System, spans: Spans | None = None) -> AsyncIterator[None]:
    """Run the processor; it stops in order at the end."""
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(system.settings, stop, spans=spans))
    try:
        yield
    finally:
        stop.set()
        await serving


@asynccontextmanager
async def working_group(system: System) -> AsyncIterator[Group]:
    """Run the workers and their consumer alone, for tests that reach into these; they stop in order at the end."""
    metrics = ProcessorMetrics(new_registry())
    async with _opened(system.settings, metrics, health.Health(metrics), no_one) as (shared, _):
        group = Group(shared)
        shared.consumer.subscribe([shared.stream.raw_topic], listener=group)
        await kafka.start(shared.consumer)
        try:
            yield group
        finally:
            await group.stop()


async def _get(system: System, path: str) -> tuple[int, str]:
    url = f"http://{HOST}:{system.settings.processor_admin_port}{path}"
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


async def is_ready(system: System) -> bool:
    """Whether `/readyz` says 200."""
    return (await _get(system, "/readyz"))[0] == 200


async def partitions_shown(system: System) -> Mapping[tuple[str, ...], float]:
    """Return the metrics of partitions, by name without prefix, partition and state."""
    _, text = await _get(system, "/metrics")
    return {
        (sample.name.removeprefix("waybill_processor_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "partition" in sample.labels
    }
