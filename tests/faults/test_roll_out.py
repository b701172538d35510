"""From the release before to today's code under load, one process after the other, and back, and forth once more.

The release's own code, from the history, runs beside today's on one broker and one database, in one group. Short by
default; `WAYBILL_TEST_CHAOS=1` is the long form; `WAYBILL_TEST_SEED` repeats the order.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import pytest

from devstack.ports import HOST
from schemas.topics import Topic
from schemas.traces import TRACEPARENT
from tests.faults.chaos import DOORS, DOORS_TOLD, LONG, Outcome, chosen_seed
from tests.faults.proxy import Proxy
from tests.faults.release import Release, made_by, newest_release, unpack
from tests.faults.rig import HEAL_SECONDS, RATE, RECOVERY_SECONDS, Rig
from tests.faults.services import Service
from tests.integration.operating import asked, waybill
from tests.integration.system import System, new_system
from tests.waiting import until

PARTITIONS: Final = 4
"""More than processors, so that each of the two versions has some."""

ROUNDS: Final = 4 if LONG else 1
"""How often it goes forth and back, before it goes forth for good."""

SLOWLY: Final = 8.0
"""Webhooks a second in the short form."""


class Change(StrEnum):
    """How one process of the one version gives way to one of the other."""

    STOP_PROCESSOR = "a processor by SIGTERM"
    KILL_PROCESSOR = "a processor by kill -9"
    STOP_DOOR = "a door by SIGTERM, its spool filled"
    KILL_DOOR = "a door by kill -9, its spool filled"


FORTH: Final = (Change.STOP_PROCESSOR, Change.KILL_PROCESSOR, *(Change.STOP_DOOR, Change.KILL_DOOR)[:DOORS])
BACK: Final = (Change.KILL_PROCESSOR, Change.STOP_PROCESSOR, *(Change.KILL_DOOR, Change.STOP_DOOR)[:DOORS])
"""Two processors, then the doors there are."""


class RollOut:
    """Both versions, the services, and what has been counted."""

    def __init__(self, rig: Rig, before: Release, kafka: Proxy, chance: random.Random) -> None:
        """`kafka` is the doors' way to the broker."""
        self.rig = rig
        self.claims: Counter[str] = Counter()
        self._before = before
        self._kafka = kafka
        self._chance = chance
        self._steps = 0

    async def go(self) -> None:
        """Prepare as the page says, then go forth, and back and forth again, under load."""
        system = self.rig.system
        async with self.rig.under_load():
            await waybill(system, "migrate")
            await waybill(system, "topics", "apply")
            await self._all_to(None, FORTH)
            for _ in range(ROUNDS):
                told = msgspec.json.decode(await self._before.waybill(system.environ, "migrate", "--json"))
                assert told["applied"] == []
                await self._all_to(self._before, BACK)
                await self._all_to(None, FORTH)

    async def _all_to(self, release: Release | None, changes: Sequence[Change]) -> None:
        """Change each process, the processors first, in any order."""
        processors = self._chance.sample(self.rig.processors, 2)
        for service, change in zip([*processors, *self.rig.doors], changes, strict=True):
            self._steps += 1
            fault = f"{'forth' if release is None else 'back'}: {change}"
            self.rig.faults[fault] += 1
            if service in self.rig.doors:
                await self._fill_the_spool(service)
            began = monotonic()
            if change in (Change.STOP_PROCESSOR, Change.STOP_DOOR):
                assert await service.stop() == 0, service.log_tail()
            else:
                await service.kill()
            service.release = release
            before = {each.name: len(each.log()) for each in self.rig.processors}
            await self.rig.start(service)
            self._kafka.back()
            if service in self.rig.processors:
                await until(partial(self._share, service, before), RECOVERY_SECONDS)
            await self.rig.recovered(f"{self._steps}", fault, began)
            await until(self.rig.spools_are_empty, HEAL_SECONDS)
            if LONG:
                await asyncio.sleep(self._chance.expovariate(1 / 2))

    async def _fill_the_spool(self, door: Service) -> None:
        """Take the broker away from the doors until this one holds webhooks back."""
        self._kafka.away()

        async def holds_back() -> bool:
            return not await self.rig.spool_is_empty(door)

        await until(holds_back, RECOVERY_SECONDS)
        await self.rig.courier.probe(f"spooled-{self._steps}")

    def _share(self, newcomer: Service, before: dict[str, int]) -> bool:
        """Whether both processors have partitions, and together all of them."""
        assert newcomer.running, newcomer.log_tail()
        shares = [assigned(each.log()[before[each.name] :]) for each in self.rig.processors]
        return all(shares) and sorted(part for share in shares for part in share) == list(range(PARTITIONS))


def assigned(log: str) -> list[int]:
    """Return the partitions that a processor was given last."""
    given = [line for line in log.splitlines() if '"partitions assigned"' in line]
    return list(msgspec.json.decode(given[-1])["partitions"]) if given else []


@pytest.fixture
def before(tmp_path: Path) -> Release:
    """The release before, unpacked."""
    return unpack(newest_release(), tmp_path / "before")


async def test_a_roll_out_from_the_release_before_and_back(
    kafka_bootstrap_servers: str,
    empty_database_url: str,
    topic_prefix: str,
    tmp_path: Path,
    before: Release,
    chaos_outcomes: list[Outcome],
) -> None:
    seed = chosen_seed()
    chance = random.Random(seed)
    system = new_system(kafka_bootstrap_servers, empty_database_url, topic_prefix, PARTITIONS)
    await made_by(before, system)
    host, port = kafka_bootstrap_servers.split(",", maxsplit=1)[0].rsplit(":", 1)
    proxy = Proxy((host, int(port)), chance, kafka=True)
    rig = Rig(system, chance, tmp_path, RATE if LONG else SLOWLY, doors=DOORS)
    run = RollOut(rig, before, proxy, chance)
    try:
        async with AsyncExitStack() as opened:
            await proxy.start()
            opened.push_async_callback(proxy.close)
            door = {"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{proxy.port}", "WAYBILL_TRACE_RATIO": "1"}
            await rig.open(opened, system.environ, before, door)
            await run.go()
            await rig.heal()
        outcome = await rig.outcome(
            "A roll-out, and back",
            f"From {before.version} to what came after it, and back, {ROUNDS} times, then forth for good: one broker, "
            f"{PARTITIONS} partitions, one database, two processors, and {DOORS_TOLD}; a door's spool "
            "is filled whenever it is changed. In the end both versions found nothing by `audit --all --from-raw`, no "
            f"parcel that was delivered had gone on, and no partition had halted. Seed {seed}.",
            {"traces": await traced(system)},
        )
        assert_nothing_halted(rig)
        for said in (
            msgspec.json.decode(await before.waybill(system.environ, "audit", "--all", "--from-raw", "--json")),
            await asked(system, "audit", "--all", "--from-raw"),
        ):
            assert (said["found"], said["outdated"]) == (0, 0), said
    except BaseException as error:
        error.add_note(f"WAYBILL_TEST_SEED={seed}, {before}\n{rig.logs()}")
        raise
    chaos_outcomes.append(outcome)


def assert_nothing_halted(rig: Rig) -> None:
    for processor in rig.processors:
        assert "partition halted" not in processor.log(), processor.log_tail()
        assert "partition claimed" in processor.log()


async def traced(system: System) -> Counter[str]:
    """Count what carries the header that today's door writes. Whoever applied a record, its event has no other."""
    raw = [dict(record.headers).get(TRACEPARENT) for record in await system.read(Topic.RAW)]
    events = [dict(record.headers).get(TRACEPARENT) for record in await system.read(Topic.EVENTS)]
    found = Counter({"raw records with `traceparent`": len(raw) - raw.count(None)})
    found["events with `traceparent`"] = len(events) - events.count(None)
    assert found["events with `traceparent`"] > 0
    assert {*events} <= {*raw, None}
    return found
