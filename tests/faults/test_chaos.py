"""Everything breaks at random, under load; then nothing may be lost, and nothing be there twice.

Short by default. `WAYBILL_TEST_CHAOS=1` is the long form, `make chaos`; `WAYBILL_TEST_SEED` repeats a plan.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any, Final

from devstack import Stack
from processor.protocol.crash_points import Step
from runtime import values
from tests.faults.chaos import DOORS, DOORS_TOLD, SCALE, Fault, Outcome, Plan, chosen_seed, make_plan
from tests.faults.proxy import Proxy, proxies, through
from tests.faults.rig import RECOVERY_SECONDS, Rig
from tests.faults.services import Service
from tests.integration.system import SESSION_TIMEOUT, System, open_system
from tests.waiting import until

SHORT: Final = 0.1

FROZEN_SECONDS: Final = values.duration(SESSION_TIMEOUT).total_seconds() + 2
CUTTING_SECONDS: Final = 8.0

FREEZE_STEPS: Final = {
    Fault.FREEZE_WRITING: (Step.WRITTEN,),
    Fault.FREEZE_EMITTING: (Step.SENT, Step.OFFSETS_ADDED),
}


class Run:
    """One run of the plan."""

    def __init__(self, system: System, stack: Stack, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)
        self.rig = Rig(system, self.chance, folder, doors=DOORS)
        self.stack = stack
        self._background: list[asyncio.Task[None]] = []

    async def open(self, opened: AsyncExitStack) -> None:
        """Start everything, healthy."""
        system = self.rig.system
        self.kafka, self.postgres = await opened.enter_async_context(
            proxies(self.stack.kafka_bootstrap_servers, system.settings.database_url, self.plan.seed)
        )
        await self.rig.open(opened, through(system.environ, self.kafka, self.postgres))

    async def go(self) -> None:
        """Break everything under load, in the plan's order."""
        async with self.rig.under_load():
            try:
                for number, fault in enumerate(self.plan.faults):
                    await self._commit(fault, f"{number}")
                await asyncio.gather(*self._background)
            finally:
                for task in self._background:
                    task.cancel()

    async def _commit(self, fault: Fault, name: str) -> None:
        self.rig.faults[fault] += 1
        began = monotonic()
        match fault:
            case Fault.KILL_INGEST:
                await self.rig.restart(self.chance.choice(self.rig.doors))
            case Fault.KILL_PROCESSOR:
                await self.rig.restart(await self._a_processor())
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
            await self.rig.recovered(name, fault, monotonic() if fault is Fault.CUT else began)
        else:
            await asyncio.sleep(self.chance.expovariate(1 / 1.5))

    def _aside(self, fault: Coroutine[Any, Any, None]) -> None:
        """Let a long fault go on beside the next ones."""
        self._background.append(asyncio.create_task(fault))

    async def _a_processor(self) -> Service:
        """Choose one that nothing else is being done to. While one is frozen the other may die too."""

        async def one_is_free() -> bool:
            return any(not service.frozen for service in self.rig.processors)

        await until(one_is_free, RECOVERY_SECONDS)
        return self.chance.choice([service for service in self.rig.processors if not service.frozen])

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


async def test_nothing_lost_nothing_twice(
    stack: Stack,
    database_url: str,
    topic_prefix: str,
    tmp_path: Path,
    chaos_outcomes: list[Outcome],
) -> None:
    seed = chosen_seed()
    plan = make_plan(seed, SCALE or SHORT)
    system = await open_system(stack.kafka_bootstrap_servers, database_url, topic_prefix)
    run = Run(system, stack, plan, tmp_path)
    try:
        async with AsyncExitStack() as opened:
            await run.open(opened)
            await run.go()
            await run.rig.heal()
        outcome = await run.rig.outcome(
            "Everything at random, under load",
            f"One broker, one database, {DOORS_TOLD} and two processors; all their connections are led through "
            f"proxies. Seed {plan.seed}.",
            {"connections": _cuts(run.kafka, run.postgres)},
        )
    except BaseException as error:
        error.add_note(f"WAYBILL_TEST_SEED={plan.seed} WAYBILL_TEST_CHAOS={plan.scale:g}\n{run.rig.logs()}")
        raise
    chaos_outcomes.append(outcome)


def _cuts(kafka: Proxy, postgres: Proxy) -> Counter[str]:
    return Counter(
        {
            f"{name}: cut on the way {direction}": proxy.cuts[direction]
            for name, proxy in (("Kafka", kafka), ("PostgreSQL", postgres))
            for direction in proxy.cuts
        }
        | {f"{name}: opened": proxy.connections for name, proxy in (("Kafka", kafka), ("PostgreSQL", postgres))}
    )
