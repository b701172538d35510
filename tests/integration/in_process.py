"""A processor's group in the test's own process, for tests that must reach into it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processor.group import Group
from processor.health import Health
from processor.service import _shared
from processor.steps import no_one
from runtime import kafka
from runtime.metrics import ProcessorMetrics, new_registry
from tests.integration.system import System


@asynccontextmanager
async def working_group(system: System) -> AsyncIterator[Group]:
    """A processor's group in this process, with its consumer in Kafka's group."""
    metrics = ProcessorMetrics(new_registry())
    async with _shared(system.settings, metrics, Health(metrics), no_one) as shared:
        group = Group(shared)
        shared.consumer.subscribe([shared.stream.raw_topic], listener=group)
        await kafka.start(shared.consumer)
        try:
            yield group
        finally:
            await group.stop()
