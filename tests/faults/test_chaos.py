"""Everything breaks at random, under load; then nothing may be lost, and nothing be there twice.

Short by default. `WAYBILL_TEST_CHAOS=1` is the long form, `make chaos`; `WAYBILL_TEST_SEED` repeats a plan.
"""

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aiohttp

from devstack import Stack
from devstack.ports import HOST, free_ports
from processor.steps import Step
from runtime import values
from tests.faults.audience import Audience, listening
from tests.faults.chaos import Fault, Outcome, Plan, Recovery, make_plan
from tests.faults.courier import DASH_SECRET, KIRIMINAJA_TOKEN, Courier
from tests.faults.proxy import Proxy, proxies, through
from tests.faults.services import Service
from tests.faults.verify import assert_nothing_lost_nothing_twice
from tests.integration.system import SESSION_TIMEOUT, System, open_system, until

SHORT: Final = 0.17
RATE: Final = 60.0
"""Webhooks a second, a third of them with five items: leaves a machine of two cores room to recover."""

FROZEN_SECONDS: Final = values.duration(SESSION_TIMEOUT).total_seconds() + 2
CUTTING_SECONDS: Final = 8.0
RECOVERY_SECONDS: Final = 90.0
"""A dead member of the group is missed within seconds, a broker comes back within 14; both may come together."""

HEAL_SECONDS: Final = 180.0
"""For the whole backlog at the end."""

FREEZE_STEPS: Final = {
    Fault.FREEZE_WRITING: (Step.WRITTEN,),
    Fault.FREEZE_EMITTING: (Step.SENT, Step.OFFSETS_ADDED),
}


class Run:
    """One run: the services, what breaks them, and the account of it."""

    def __init__(self, system: System, stack: Stack, plan: Plan, log: Path) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)
        self.system = system
        self.stack = stack
        self.faults: Counter[str] = Counter()
        self.recoveries: list[Recovery] = []
        self._log = log
        self._services: list[Service] = []
        self._background: list[asyncio.Task[None]] = []

    async def open(self, opened: AsyncExitStack) -> None:
        """Start everything, healthy."""
        self.kafka, self.postgres = await opened.enter_async_context(
            proxies(self.stack.kafka_bootstrap_servers, self.system.settings.database_url, self.plan.seed)
        )
        ports = free_ports(2)
        environ = {
            **through(self.system.environ, self.kafka, self.postgres),
            "WAYBILL_DASH_SECRETS": DASH_SECRET,
            "WAYBILL_KIRIMINAJA_TOKENS": KIRIMINAJA_TOKEN,
            "WAYBILL_INGEST_PORT": str(ports[0]),
            "WAYBILL_INGEST_ADMIN_PORT": str(ports[1]),
            "WAYBILL_INGEST_SPOOL_DIR": str(self._log / "spool"),
            "WAYBILL_LOG_FORMAT": "json",
        }
        self._admin = f"http://{HOST}:{ports[1]}"
        self.ingest = Service("ingest", environ, self._log / "ingest.log")
        self.processors = [Service("processor", environ, self._log / f"processor-{n}.log") for n in (1, 2)]
        self._services = [self.ingest, *self.processors]
        for service in self._services:
            opened.push_async_callback(service.kill)
            await service.start()
        self.audience: Audience = await opened.enter_async_context(listening(self.system))
        self.courier = Courier(f"http://{HOST}:{ports[0]}", self.chance, RATE)

    async def go(self) -> None:
        """Break everything under load, in the plan's order."""
        async with self.courier.at_work():
            await self._recovered("the start", None, monotonic())
            try:
                for number, fault in enumerate(self.plan.faults):
                    await self._commit(fault, f"{number}")
                await asyncio.gather(*self._background)
            finally:
                for task in self._background:
                    task.cancel()
            await self._recovered("the end", None, monotonic())

    async def heal(self) -> None:
        """Wait until the spool is empty and everything applied; stop everything in order."""
        await until(self._spool_is_empty, HEAL_SECONDS)
        await until(self.system.caught_up, HEAL_SECONDS)
        for service in self._services:
            assert await service.stop() == 0, service.log_tail()

    async def _commit(self, fault: Fault, name: str) -> None:
        self.faults[fault] += 1
        began = monotonic()
        match fault:
            case Fault.KILL_INGEST:
                await self._kill(self.ingest)
            case Fault.KILL_PROCESSOR:
                await self._kill(await self._a_processor())
            case Fault.KILL_KAFKA:
                await self.stack.kafka.kill()
                await asyncio.sleep(self.chance.uniform(0, 3))
                await self.stack.kafka.restart()
            case Fault.KILL_POSTGRES:
                await self.stack.postgres.kill()
                await asyncio.sleep(self.chance.uniform(0, 3))
                await self.stack.postgres.restart()
            case Fault.FREEZE:
                self._aside(self._freeze(await self._a_processor()))
            case Fault.FREEZE_WRITING | Fault.FREEZE_EMITTING:
                victim = await self._a_processor()
                self._aside(self._freeze_at(victim, self.chance.choice(FREEZE_STEPS[fault])))
            case Fault.CUT:
                await self._cut()
        if fault in {Fault.KILL_KAFKA, Fault.KILL_POSTGRES, Fault.CUT} or self.chance.random() < 0.4:
            await self._recovered(name, fault, monotonic() if fault is Fault.CUT else began)
        else:
            await asyncio.sleep(self.chance.expovariate(1 / 1.5))

    def _aside(self, fault: Coroutine[Any, Any, None]) -> None:
        """Let a long fault go on beside the next ones."""
        self._background.append(asyncio.create_task(fault))

    async def _kill(self, victim: Service) -> None:
        await victim.kill()
        await asyncio.sleep(self.chance.uniform(0, 0.5))
        await victim.start()

    async def _a_processor(self) -> Service:
        """Choose one that nothing else is being done to. While one is frozen the other may die too."""

        async def one_is_free() -> bool:
            return any(not service.frozen for service in self.processors)

        await until(one_is_free, RECOVERY_SECONDS)
        return self.chance.choice([service for service in self.processors if not service.frozen])

    async def _freeze(self, victim: Service) -> None:
        victim.freeze()
        await asyncio.sleep(FROZEN_SECONDS)
        victim.wake()

    async def _freeze_at(self, victim: Service, step: Step) -> None:
        """Let the victim's next life freeze itself at a step."""
        victim.frozen = True
        await victim.kill()
        victim.frozen = True
        await victim.start(freeze_at=step, nth=self.chance.randint(1, 5))
        await victim.froze_itself(RECOVERY_SECONDS)
        await asyncio.sleep(FROZEN_SECONDS)
        victim.wake()

    async def _cut(self) -> None:
        for proxy in (self.kafka, self.postgres):
            proxy.begin_cutting()
        await asyncio.sleep(CUTTING_SECONDS)
        for proxy in (self.kafka, self.postgres):
            proxy.end_cutting()

    async def _recovered(self, name: str, fault: Fault | None, since: float) -> None:
        """Post a webhook for each partition; wait until a subscriber has heard of both."""
        async with asyncio.timeout(RECOVERY_SECONDS):
            shipments = await self.courier.probe(name)
        heard = await self.audience.hear_of(shipments, RECOVERY_SECONDS)
        if fault is not None:
            self.recoveries.append(Recovery(fault, heard - since))

    async def _spool_is_empty(self) -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/metrics") as response:
            text = await response.text()
        return "waybill_ingest_spool_records 0.0" in text

    def logs(self) -> str:
        return "\n".join(service.log_tail() for service in self._services)


async def test_nothing_lost_nothing_twice(
    stack: Stack,
    database_url: str,
    topic_prefix: str,
    tmp_path: Path,
    chaos_outcomes: list[Outcome],
) -> None:
    seed = int(os.environ.get("WAYBILL_TEST_SEED") or secrets.randbelow(10**6))
    plan = make_plan(seed, float(os.environ.get("WAYBILL_TEST_CHAOS") or SHORT))
    system = await open_system(stack.kafka_bootstrap_servers, database_url, topic_prefix)
    run = Run(system, stack, plan, tmp_path)
    began = monotonic()
    try:
        async with AsyncExitStack() as opened:
            await run.open(opened)
            await run.go()
            await run.heal()
        found = await assert_nothing_lost_nothing_twice(system, run.courier.answered)
    except BaseException as error:
        error.add_note(f"WAYBILL_TEST_SEED={plan.seed} WAYBILL_TEST_CHAOS={plan.scale:g}\n{run.logs()}")
        raise
    outcome = Outcome(
        plan=plan,
        faults=run.faults,
        connections=_cuts(run.kafka, run.postgres),
        courier=Counter({"webhooks answered 200": len(run.courier.answered), **run.courier.counts}),
        found=found,
        recoveries=run.recoveries,
        log_lines=Counter({service: _lines(tmp_path, service) for service in ("ingest", "processor-1", "processor-2")}),
        seconds=monotonic() - began,
    )
    chaos_outcomes.append(outcome)


def _lines(folder: Path, service: str) -> int:
    return (folder / f"{service}.log").read_bytes().count(b"\n")


def _cuts(kafka: Proxy, postgres: Proxy) -> Counter[str]:
    return Counter(
        {
            f"{name}: cut on the way {direction}": proxy.cuts[direction]
            for name, proxy in (("Kafka", kafka), ("PostgreSQL", postgres))
            for direction in proxy.cuts
        }
        | {f"{name}: opened": proxy.connections for name, proxy in (("Kafka", kafka), ("PostgreSQL", postgres))}
    )
