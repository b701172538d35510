"""Three brokers of which one, or two, die under load; processors that join and leave all the time.

Short by default: the busiest broker dies while processors come and go for a few seconds. `WAYBILL_TEST_CHAOS=1` is the
long form, `make chaos`; `WAYBILL_TEST_SEED` repeats a plan.
"""

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import pytest

from devstack import KafkaCluster
from runtime.kafka import admin_client
from tests.faults.brokers import Role, away, busiest, need_in_sync, one_with, whole
from tests.faults.chaos import Outcome
from tests.faults.rig import RECOVERY_SECONDS, Rig
from tests.faults.services import Service
from tests.integration.system import System, open_system, until

pytestmark = pytest.mark.xdist_group("brokers")

PARTITIONS: Final = 4
LONG: Final = bool(os.environ.get("WAYBILL_TEST_CHAOS"))
COMING_AND_GOING_SECONDS: Final = 60.0 if LONG else 6.0
BELOW_SECONDS: Final = 20.0
"""How long too few brokers are there: longer than any time-out of the door's and the processor's."""

ANSWERED_SECONDS: Final = 15.0
"""How long a webhook may go without a 200 meanwhile: the spool takes it."""

RATE: Final = 40.0 if LONG else 15.0
"""Webhooks a second: three brokers leave a machine of two cores less room."""

STAY_SECONDS: Final = (0.3, 3.0)


class Fault(StrEnum):
    KILL_BUSIEST = "kill -9 of the broker that leads and coordinates most while processors join and leave"
    KILL_FIRST = "kill -9 of broker 1"
    KILL_SECOND = "kill -9 of broker 2"
    KILL_THIRD = "kill -9 of broker 3"
    KILL_GROUP = "kill -9 of the broker that coordinates the processors' group"
    KILL_TRANSACTIONS = "kill -9 of a broker that coordinates transactions"
    TWO_AWAY = "kill -9 of two brokers at once, back later"
    BELOW_MINIMUM = "kill -9 of a broker where a write takes all three, back later"
    COME_AND_GO = "a spell of processors that join and leave"


TURNS: Final = {Fault.KILL_FIRST: 1, Fault.KILL_SECOND: 2, Fault.KILL_THIRD: 3}


class Scenario(msgspec.Struct, frozen=True):
    """Faults that are told of under one title."""

    title: str
    about: str
    faults: Sequence[Fault]


BROKERS: Final = Scenario(
    "Three brokers of which one or two die",
    "Three brokers that vote, three copies of every topic of which a write takes two, a database, a door and two "
    "processors.",
    (*(*TURNS, Fault.KILL_GROUP, Fault.KILL_TRANSACTIONS) * 2, Fault.TWO_AWAY, Fault.BELOW_MINIMUM),
)
PROCESSORS: Final = Scenario(
    "Processors that join and leave",
    f"On the same three brokers. Each of two processors works for {STAY_SECONDS[0]} to {STAY_SECONDS[1]} s, leaves by "
    f"SIGTERM or, one time in four, by kill -9, and joins again, for {COMING_AND_GOING_SECONDS:.0f} s.",
    (Fault.COME_AND_GO,),
)
SHORT: Final = Scenario(
    "Three brokers and processors that join and leave",
    "The short form.",
    (Fault.KILL_BUSIEST,),
)


class Run:
    """One scenario."""

    def __init__(self, rig: Rig, cluster: KafkaCluster, chance: random.Random) -> None:
        self.rig = rig
        self.comings: Counter[str] = Counter()
        self._cluster = cluster
        self._chance = chance
        self._settings = rig.system.settings

    async def commit(self, fault: Fault, name: str) -> None:
        """Do it, and wait until everything works again."""
        self.rig.faults[fault] += 1
        match fault:
            case Fault.KILL_BUSIEST:
                await asyncio.gather(self._kill(fault, await busiest(self._settings), name), self._all_come_and_go())
            case Fault.KILL_GROUP:
                await self._kill(fault, await one_with(self._settings, Role.GROUP, self._chance), name)
            case Fault.KILL_TRANSACTIONS:
                await self._kill(fault, await one_with(self._settings, Role.TRANSACTIONS, self._chance), name)
            case Fault.TWO_AWAY:
                await self._too_few(fault, self._chance.sample(list(self._cluster.brokers), 2), name)
            case Fault.BELOW_MINIMUM:
                await need_in_sync(self._settings, 3)
                await self._too_few(fault, [self._chance.choice(list(self._cluster.brokers))], name)
                await need_in_sync(self._settings, 2)
            case Fault.COME_AND_GO:
                await self._all_come_and_go()
                await self.rig.recovered(name, fault, monotonic())
            case _:
                await self._kill(fault, TURNS[fault], name)
        async with admin_client(self._settings) as admin:
            await until(lambda: whole(self._settings, admin), RECOVERY_SECONDS)

    async def _kill(self, fault: Fault, node: int, name: str) -> None:
        """Kill a broker. The others go on before it is back."""
        began = monotonic()
        async with away(self._cluster, [node]):
            await self.rig.recovered(name, fault, began)

    async def _too_few(self, fault: Fault, nodes: Sequence[int], name: str) -> None:
        """Have too few brokers for a while, in which the door keeps what it is sent."""
        async with away(self._cluster, nodes):
            since = monotonic()
            while monotonic() - since < BELOW_SECONDS:
                async with asyncio.timeout(ANSWERED_SECONDS):
                    await self.rig.courier.probe(f"{name}-{monotonic()}")
                await asyncio.sleep(1)
            assert not await self.rig.spool_is_empty()
        await self.rig.recovered(name, fault, monotonic())

    async def _all_come_and_go(self) -> None:
        await asyncio.gather(*map(self._come_and_go, self.rig.processors))

    async def _come_and_go(self, processor: Service) -> None:
        """Let one leave and join again and again. It is there at the end."""
        end = monotonic() + COMING_AND_GOING_SECONDS
        while monotonic() < end:
            await processor.said("processor started", times=processor.starts)
            await asyncio.sleep(self._chance.uniform(*STAY_SECONDS))
            if self._chance.random() < 0.25:
                self.comings["left by kill -9"] += 1
                await processor.kill()
            else:
                self.comings["left by SIGTERM"] += 1
                assert await processor.stop() == 0, processor.log_tail()
            self.comings["joined again"] += 1
            await processor.start()


@pytest.mark.parametrize("scenario", (BROKERS, PROCESSORS) if LONG else (SHORT,), ids=lambda each: each.title)
async def test_nothing_lost_nothing_twice_with_three_brokers(
    scenario: Scenario,
    kafka_cluster: KafkaCluster,
    database_url: str,
    topic_prefix: str,
    tmp_path: Path,
    chaos_outcomes: list[Outcome],
) -> None:
    seed = int(os.environ.get("WAYBILL_TEST_SEED") or secrets.randbelow(10**6))
    chance = random.Random(seed)
    system: System = await open_system(
        kafka_cluster.bootstrap_servers, database_url, topic_prefix, PARTITIONS, len(kafka_cluster.brokers)
    )
    rig = Rig(system, chance, tmp_path, RATE)
    run = Run(rig, kafka_cluster, chance)
    try:
        async with AsyncExitStack() as opened:
            await rig.open(opened, system.environ)
            async with rig.under_load():
                for number, fault in enumerate(scenario.faults):
                    await run.commit(fault, f"{number}")
            await rig.heal()
        for service in rig.services:
            assert "taken away" not in service.log().rpartition('"event":"stopping"')[2], "an orderly stop is no doubt"
            assert "never retrieved" not in service.log(), service.log_tail()
        counts = {"processors that join and leave": run.comings} if run.comings else {}
        outcome = await rig.outcome(scenario.title, f"{scenario.about} Seed {seed}.", counts)
    except BaseException as error:
        error.add_note(f"WAYBILL_TEST_SEED={seed}\n{rig.logs()}")
        raise
    chaos_outcomes.append(outcome)
