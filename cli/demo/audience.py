"""A subscriber of the events and anomalies: shows each one and keeps it for the check."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cli.demo.live import Live
from cli.demo.scenario import Expectation, Seen, everything_came
from runtime import kafka
from runtime.settings import Settings
from schemas.events import Anomaly, Event
from schemas.topics import Topic

FETCH_MS: Final = 200
"""How long one look at the topics may wait for something new."""


class Audience:
    """What was published since the beginning, by shipment."""

    def __init__(self, reader: Any, live: Live) -> None:
        """Use `audience`."""
        self.seen: dict[str, Seen] = {}
        self._reader = reader
        self._live = live
        self._news = asyncio.Event()

    async def follow(self) -> None:
        """Show and keep everything published, in the order of its time. Never ends by itself."""
        while True:
            fetched = await self._reader.getmany(timeout_ms=FETCH_MS)
            records = [record for batch in fetched.values() for record in batch]
            for record in sorted(records, key=lambda record: (record.timestamp, record.partition, record.offset)):
                self._take(record.topic, record.value)
            if records:
                self._news.set()

    async def wait_for(self, expected: Mapping[str, Expectation], within: float) -> None:
        """Wait until as much came as is expected, or for so many seconds."""
        try:
            async with asyncio.timeout(within):
                while not everything_came(expected, self.seen):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _take(self, topic: str, value: bytes) -> None:
        if topic.endswith(Topic.EVENTS):
            event = msgspec.json.decode(value, type=Event)
            received = datetime.fromisoformat(event.received_at)
            shipment = self.seen.setdefault(event.shipment_id, Seen())
            shipment.events.append(event)
            shipment.delays.append((datetime.now(UTC) - received).total_seconds())
            self._live.event(event)
        else:
            anomaly = msgspec.json.decode(value, type=Anomaly)
            self.seen.setdefault(anomaly.shipment_id, Seen()).anomalies.append(anomaly)
            self._live.anomaly(anomaly)


@asynccontextmanager
async def audience(settings: Settings, live: Live) -> AsyncIterator[Audience]:
    """Subscribe to what is committed on the events' and anomalies' topics from now on. Raises UnreachableError."""
    reader = kafka.new_reader(settings, "waybill-up", settings.topic(Topic.EVENTS), settings.topic(Topic.ANOMALIES))
    await kafka.start(reader)
    try:
        # Not `seek_to_end`: an answer to the reset at the start, still under way, would move us back to the beginning.
        for partition, end in (await reader.end_offsets(reader.assignment())).items():
            reader.seek(partition, end)
        yield Audience(reader, live)
    finally:
        await kafka.stop(reader)
