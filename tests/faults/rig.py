"""The real services under a courier's load, with a subscriber behind them: what every run of faults needs."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Final

import aiohttp

from devstack.ports import HOST, free_ports
from tests.faults.audience import Audience, listening
from tests.faults.chaos import Outcome, Recovery
from tests.faults.courier import DASH_SECRET, KIRIMINAJA_TOKEN, Courier
from tests.faults.release import Release
from tests.faults.services import Service
from tests.faults.verify import assert_nothing_lost_nothing_twice
from tests.integration.system import System
from tests.waiting import until

RATE: Final = 60.0
"""Webhooks a second, a third of them with five items: leaves a machine of two cores room to recover."""

RECOVERY_SECONDS: Final = 90.0
"""A dead member of the group is missed within seconds, a broker comes back within 14; both may come together."""

HEAL_SECONDS: Final = 180.0
"""For the whole backlog at the end."""


class Rig:
    """One run: doors and two processors, what is done to them, and the account of it."""

    def __init__(
        self, system: System, chance: random.Random, folder: Path, rate: float = RATE, *, doors: int = 1
    ) -> None:
        """`folder` takes the logs and the spools. `rate`: new webhooks a second, at most; each goes to any door."""
        self.system = system
        self.chance = chance
        self.faults: Counter[str] = Counter()
        self.recoveries: list[Recovery] = []
        self._folder = folder
        self._rate = rate
        self._doors = range(1, doors + 1)
        self._began = monotonic()

    async def open(
        self,
        opened: AsyncExitStack,
        environ: Mapping[str, str],
        release: Release | None = None,
        door: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start everything, healthy. `environ` says where the services find the stores.

        They run the code of `release`, or today's. `door` holds settings of the doors alone.
        """
        ports = free_ports(len(self._doors))
        admin_ports = free_ports(len(self._doors))
        environ = {
            **environ,
            "WAYBILL_DASH_SECRETS": DASH_SECRET,
            "WAYBILL_KIRIMINAJA_TOKENS": KIRIMINAJA_TOKEN,
            "WAYBILL_LOG_FORMAT": "json",
        }
        self.doors = []
        for number, port, admin_port in zip(self._doors, ports, admin_ports, strict=True):
            own = {
                "WAYBILL_INGEST_PORT": str(port),
                "WAYBILL_INGEST_ADMIN_PORT": str(admin_port),
                "WAYBILL_INGEST_SPOOL_DIR": str(self._folder / f"spool-{number}"),
            }
            self.doors.append(Service("ingest", {**environ, **door, **own}, self._folder / f"ingest-{number}.log"))
        self._admins = [f"http://{HOST}:{port}" for port in admin_ports]
        self.processors = [Service("processor", environ, self._folder / f"processor-{n}.log") for n in (1, 2)]
        for service in self.services:
            service.release = release
            opened.push_async_callback(service.kill)
            await service.start()
        self.audience: Audience = await opened.enter_async_context(listening(self.system))
        partitions = self.system.settings.topic_partitions
        self.courier = Courier([f"http://{HOST}:{port}" for port in ports], self.chance, self._rate, partitions)

    @property
    def services(self) -> list[Service]:
        """The doors first."""
        return [*self.doors, *self.processors]

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[None]:
        """Post without end meanwhile. At the start and at the end everything works."""
        async with self.courier.at_work():
            await self.recovered("the start", None, monotonic())
            yield
            await self.recovered("the end", None, monotonic())

    async def restart(self, victim: Service) -> None:
        """Kill a service and start it again."""
        await victim.kill()
        await asyncio.sleep(self.chance.uniform(0, 0.5))
        await self.start(victim)

    async def start(self, service: Service) -> None:
        """Start a service; wait until it listens if it is a door, for what is posted meanwhile may go to another."""
        await service.start()
        if service in self.doors:
            await service.said("ingest ready", times=service.starts)

    async def recovered(self, name: str, fault: str | None, since: float) -> None:
        """Post a webhook for each partition; wait until a subscriber has heard of all of them."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            shipments = await self.courier.probe(name)
        heard = await self.audience.hear_of(shipments, RECOVERY_SECONDS)
        if fault is not None:
            self.recoveries.append(Recovery(fault, heard - since))

    async def heal(self) -> None:
        """Wait until the spools are empty and everything applied; stop everything in order."""
        await until(self.spools_are_empty, HEAL_SECONDS)
        await until(self.system.caught_up, HEAL_SECONDS)
        for service in self.services:
            assert await service.stop() == 0, service.log_tail()

    async def spools_are_empty(self) -> bool:
        """Whether no door holds anything back."""
        return all([await self.spool_is_empty(door) for door in self.doors])

    async def spool_is_empty(self, door: Service) -> bool:
        """Whether this door holds nothing back."""
        admin = self._admins[self.doors.index(door)]
        async with aiohttp.ClientSession() as session, session.get(f"{admin}/metrics") as response:
            text = await response.text()
        return "waybill_ingest_spool_records 0.0" in text

    async def outcome(self, title: str, about: str, counts: Mapping[str, Mapping[str, int]] | None = None) -> Outcome:
        """Check every promise, and return what there is to tell."""
        return self.told(
            title, about, await assert_nothing_lost_nothing_twice(self.system, self.courier.answered), counts
        )

    def told(
        self,
        title: str,
        about: str,
        found: Mapping[str, int],
        counts: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Outcome:
        """Return what there is to tell, with what was found at the end."""
        return Outcome(
            title=title,
            about=about,
            seconds=monotonic() - self._began,
            faults=self.faults,
            recoveries=self.recoveries,
            counts={
                **(counts or {}),
                "the courier": {"webhooks answered 200": len(self.courier.answered), **self.courier.counts},
                "found at the end": found,
                "lines in the log of": {each.name: each.log().count("\n") for each in self.services},
            },
        )

    def logs(self) -> str:
        """The end of each service's log."""
        return "\n".join(service.log_tail() for service in self.services)
