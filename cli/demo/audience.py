"""A subscriber of the events and anomalies: shows each one and keeps it for the check."""

import asyncio
import time
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

SHOWN: Final = 20
"""Events and anomalies that are shown of any second, where nothing is checked. A person reads no more."""


class Audience:
    """What was published since the beginning, by shipment."""

    def __init__(self, reader: Any, live: Live) -> None:
        """Use `audience`."""
        self.seen: dict[str, Seen] = {}
        self._reader = reader
        self._live = live
        self._news = asyncio.Event()
        self._second = 0
        self._shown = self._left_out = 0
        self._checks = True

    def relax(self) -> None:
        """Keep nothing from now on, and show no more than a person can read: there is nothing to check any more."""
        self._checks = False
        self.seen.clear()

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
        told: Event | Anomaly
        if topic.endswith(Topic.EVENTS):
            told = msgspec.json.decode(value, type=Event)
        else:
            told = msgspec.json.decode(value, type=Anomaly)
        if self._checks:
            self._keep(told)
        elif not self._has_room():
            self._left_out += 1
            return
        if isinstance(told, Event):
            self._live.event(told)
        else:
            self._live.anomaly(told)

    def _keep(self, told: Event | Anomaly) -> None:
        shipment = self.seen.setdefault(told.shipment_id, Seen())
        if isinstance(told, Event):
            received = datetime.fromisoformat(told.received_at)
            shipment.events.append(told)
            shipment.delays.append((datetime.now(UTC) - received).total_seconds())
        else:
            shipment.anomalies.append(told)

    def _has_room(self) -> bool:
        """Whether one more may be shown in this second. Says of the last one how many were left out."""
        second = int(time.monotonic())
        if second != self._second:
            if self._left_out:
                self._live.left_out(self._left_out)
            self._second, self._shown, self._left_out = second, 0, 0
        self._shown += 1
        return self._shown <= SHOWN


@asynccontextmanager
async def audience(settings: Settings, live: Live) -> AsyncIterator[Audience]:
    """Subscribe to what is committed on the events' and anomalies' topics from now on. Raises UnreachableError."""
    topics = settings.topic(Topic.EVENTS), settings.topic(Topic.ANOMALIES)
    async with kafka.open_reader(settings, "waybill-up", *topics) as reader:
        # Not `seek_to_end`: an answer to the reset at the start, still under way, would move us back to the beginning.
        for partition, end in (await reader.end_offsets(reader.assignment())).items():
            reader.seek(partition, end)
        yield Audience(reader, live)
