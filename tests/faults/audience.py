"""A subscriber that follows `shipment.events` while everything breaks, and knows which shipments it has heard of."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from time import monotonic

from aiokafka.errors import KafkaError

from runtime import kafka
from runtime.errors import UnreachableError
from schemas.topics import Topic
from tests.integration.system import System
from tests.waiting import until


class Audience:
    """Hears of shipments by their first events, read committed."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}
        """When each shipment was first heard of, on the monotonic clock."""

    async def hear_of(self, shipments: Collection[str], seconds: float) -> float:
        """Wait until all are heard of. Return when the last was."""

        async def all_heard() -> bool:
            return all(name in self.heard for name in shipments)

        await until(all_heard, seconds)
        return max(self.heard[name] for name in shipments)


@asynccontextmanager
async def listening(system: System) -> AsyncIterator[Audience]:
    """Follow the events in the background."""
    audience = Audience()
    listener = asyncio.create_task(_listen(system, audience))
    try:
        yield audience
        assert not listener.done(), listener.exception()
    finally:
        listener.cancel()
        await asyncio.wait([listener])


async def _listen(system: System, audience: Audience) -> None:
    """Follow; begin again from the start where the broker was away for long."""
    while True:
        reader = kafka.new_reader(system.settings, "audience", system.settings.topic(Topic.EVENTS))
        try:
            await kafka.start(reader)
        except (UnreachableError, KafkaError):
            continue
        try:
            while True:
                for records in (await reader.getmany(timeout_ms=200)).values():
                    for record in records:
                        audience.heard.setdefault((record.key or b"").decode(), monotonic())
        except KafkaError:
            continue
        finally:
            await kafka.stop(reader)
