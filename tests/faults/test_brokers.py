"""Three brokers of which one, or two, die; processors that join and leave all the time.

Short by default: the busiest broker dies while processors come and go for a few seconds. `WAYBILL_TEST_CHAOS=1` is the
long form, `make chaos`; `WAYBILL_TEST_SEED` repeats a plan.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import pytest
from aiokafka.admin import NewTopic

from devstack import KafkaCluster
from runtime.kafka import admin_client
from runtime.kafka_admin import create_topics
from runtime.kafka_asking import Admin
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.faults.brokers import Role, away, busiest, described, need_in_sync, one_with, whole
from tests.faults.chaos import LONG, Outcome, chosen_seed
from tests.faults.rig import RECOVERY_SECONDS, Rig
from tests.faults.services import Service
from tests.integration.system import System, open_system
from tests.integration.test_ingest import Process, TopicStore, waybill_ingest
from tests.unit.ingest.doors import settings_with
from tests.waiting import until

PARTITIONS: Final = 4
COMING_AND_GOING_SECONDS: Final = 60.0 if LONG else 6.0
BELOW_SECONDS: Final = 20.0
"""How long too few brokers are there: longer than any time-out of the door's and the processor's."""

ANSWERED_SECONDS: Final = 15.0
"""How long a webhook may go without a 200 meanwhile: the spool takes it."""

RATE: Final = 40.0 if LONG else 15.0
"""Webhooks a second: three brokers leave a machine of two cores less room."""

STAY_SECONDS: Final = (0.3, 3.0)

SICK: Final = 2
LEADERLESS: Final = (0, 1)
HEALTHY: Final = (2, 3)
HOMES: Final = {0: [SICK], 1: [SICK], 2: [1], 3: [3]}
"""Which broker has which partition, where none has a copy elsewhere."""

ROUNDS: Final = 20


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
            assert not await self.rig.spools_are_empty()
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
    seed = chosen_seed()
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


def shipment_of(partition: int, prefix: str = "S") -> str:
    """Name a shipment of a partition."""
    names = (f"{prefix}-{number}" for number in range(1_000))
    return next(name for name in names if partition_of(f"dash:{name}".encode(), len(HOMES)) == partition)


async def make_topic(settings: Settings) -> None:
    topic = NewTopic(
        settings.topic(Topic.RAW),
        -1,
        -1,
        replica_assignments=HOMES,
        topic_configs={"unclean.leader.election.enable": "false", "min.insync.replicas": "1"},
    )
    async with admin_client(settings) as admin:
        response = await admin.create_topics([topic])
    assert [error[1] for error in response.topic_errors] == [0], response

    async def led() -> bool:
        return all(
            each["leader"] > 0 and len(each["isr"]) == len(each["replicas"])
            for each in await described(settings, Topic.RAW)
        )

    await until(led)


async def aimed_at(admin: Admin, node: int) -> None:
    """Have a client take a broker for the controller. Brokers name one of theirs at random."""
    async with asyncio.timeout(30):
        while admin._client.cluster.controller.nodeId != node:
            await admin._client.force_metadata_update()


async def test_sick_partitions_hold_up_no_other(kafka_cluster: KafkaCluster, topic_prefix: str, tmp_path: Path) -> None:
    """Two of four partitions have no leader while a broker is gone."""
    environ = {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_cluster.bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
    }
    settings = settings_with(**environ)
    store = TopicStore(settings)
    await make_topic(settings)
    async with AsyncExitStack() as broken:
        async with waybill_ingest(environ) as ingest, admin_client(settings) as admin:
            await until(lambda: ingest.takes("kafka"))
            await aimed_at(admin, SICK)
            await broken.enter_async_context(away(kafka_cluster, [SICK]))
            await create_topics(admin, [(f"{topic_prefix}other", 1, 1, {})])  # the controller it knew is gone

            async def sick() -> bool:
                partitions = await described(settings, Topic.RAW)
                return all(partitions[each]["leader"] < 0 for each in LEADERLESS)

            await until(sick)
            slowest = await post_rounds(ingest)
            assert slowest < 2.0, "a webhook of a healthy partition waits for nobody"
            waiting = (await ingest.metrics())["waybill_ingest_spool_records"]
            assert waiting == 2 * (ROUNDS + 1), ingest.log
            found = Counter(record.partition for record in await store.everything(HEALTHY))
            assert found == dict.fromkeys(HEALTHY, ROUNDS + 1), "nothing twice, nothing behind the sick"
            assert (await ingest.readiness())[0] == 200
            ingest.process.terminate()
            assert await ingest.exit_code() == 0, "within ten seconds"
        async with waybill_ingest(environ) as ingest:
            await until(lambda: ingest.takes("spool"))
            await broken.aclose()
            await until(lambda: drained(ingest))
            assert (await ingest.metrics())["waybill_ingest_spool_refused_records"] == 0
    records = await store.everything()
    for partition in HOMES:
        mine = [msgspec.json.decode(record.value)["number"] for record in records if record.partition == partition]
        assert list(dict.fromkeys(mine)) == list(range(ROUNDS + 1))
        assert len(mine) <= ROUNDS + 3, "what was under way when the broker died may come twice, once"


async def post_rounds(ingest: Process) -> float:
    """Send every partition a webhook, again and again. Return how long the slowest of a healthy partition took.

    The first of each sick partition finds out, for all that follow.
    """
    slowest = 0.0
    for number in range(ROUNDS + 1):
        for partition in HOMES:
            body = msgspec.json.encode({"deliveryID": shipment_of(partition), "number": number})
            began = asyncio.get_running_loop().time()
            assert (await ingest.post(body))[0] == 200
            if partition in HEALTHY:
                slowest = max(slowest, asyncio.get_running_loop().time() - began)
    return slowest


async def drained(ingest: Process) -> bool:
    return (await ingest.metrics())["waybill_ingest_spool_records"] == 0
