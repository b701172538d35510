"""From 0.1.0 to today's code as docs/upgrading.md tells it, under load, and back by the backup. `make chaos` only."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Any, Final

import asyncpg
import pytest

from devstack import Stack
from schemas.topics import Topic
from tests.faults.chaos import LONG, Outcome, chosen_seed
from tests.faults.release import Release, made_by, need_history, unpack
from tests.faults.rig import Rig
from tests.faults.verify import assert_each_record_has_one_fate, assert_kept_and_published
from tests.integration.operating import asked, running, waybill
from tests.integration.recovering import Lab
from tests.integration.system import new_system
from tests.waiting import until

FIRST: Final = "2bd71d7c6af6ae57a06305dd7cf801bf2826a3db"
"""The last commit of 0.1.0."""

PARTITIONS: Final = 5


class Stage(StrEnum):
    BACK = "0.1.0 stopped, backed up, the schema brought up, the backup restored, 0.1.0 started"
    BESIDE = "the schema brought up beside processors of 0.1.0"
    RECOVERED = "0.1.0 stopped, the older backup restored and recovered by 0.1.0, 0.1.0 started"
    FORTH = "processors of 0.1.0 stopped, new ones started"
    DOOR = "the door of 0.1.0 stopped, a new one started"


class Upgrade:
    """The page's steps. The door takes webhooks all the time."""

    def __init__(self, rig: Rig, first: Release, lab: Lab, dump: Path) -> None:
        self.rig = rig
        self._first = first
        self._lab = lab
        self._dump = dump

    async def go(self) -> None:
        async with self.rig.under_load():
            await self._there_and_back()
            began = self._begin(Stage.BESIDE)
            await self._bring_the_schema_up()
            await self.rig.recovered("beside", Stage.BESIDE, began)
            await self._recover_the_backup()
            await self._bring_the_schema_up()
            began = self._begin(Stage.FORTH)
            await self._stop_processors()
            await self._start_processors(None)
            await self.rig.recovered("forth", Stage.FORTH, began)
            began = self._begin(Stage.DOOR)
            for door in self.rig.doors:
                assert await door.stop() == 0, door.log_tail()
                door.release = None
                await door.start()
            await self.rig.recovered("door", Stage.DOOR, began)

    async def _there_and_back(self) -> None:
        began = self._begin(Stage.BACK)
        await self._stop_processors()
        await self._lab.dump(self._dump)
        await self._bring_the_schema_up()
        await self.rig.processors[0].start()
        await self.rig.processors[0].said("which this version of Waybill does not know", 1)
        await self.rig.processors[0].kill()
        await self._lab.restore_dump(self._dump)
        await self._start_processors(self._first)
        await self.rig.recovered("back", Stage.BACK, began)

    async def _recover_the_backup(self) -> None:
        """Go back by a backup that is older than the topics."""
        began = self._begin(Stage.RECOVERED)
        await self._stop_processors()
        await self._lab.restore_dump(self._dump)
        await self._first.waybill(self.rig.system.environ, "recover", "--yes")
        await self._start_processors(self._first)
        await self.rig.recovered("older", Stage.RECOVERED, began)

    def _begin(self, stage: Stage) -> float:
        self.rig.faults[stage] += 1
        return monotonic()

    async def _bring_the_schema_up(self) -> None:
        await waybill(self.rig.system, "migrate")
        await waybill(self.rig.system, "topics", "apply")

    async def _stop_processors(self) -> None:
        for processor in self.rig.processors:
            assert await processor.stop() == 0, processor.log_tail()

    async def _start_processors(self, release: Release | None) -> None:
        for processor in self.rig.processors:
            processor.release = release
            await processor.start()


@pytest.fixture
async def server(stack: Stack) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(stack.database_url, min_size=1, max_size=1) as pool:
        yield pool


@pytest.mark.skipif(not LONG, reason="a part of `make chaos`")
async def test_an_upgrade_from_the_first_version_under_load(
    stack: Stack,
    server: asyncpg.Pool,
    empty_database_url: str,
    topic_prefix: str,
    tmp_path: Path,
    chaos_outcomes: list[Outcome],
) -> None:
    need_history()
    seed = chosen_seed()
    first = unpack(FIRST, tmp_path / "first")
    system = new_system(stack.kafka_bootstrap_servers, empty_database_url, topic_prefix, PARTITIONS)
    lab = Lab(system, stack.kafka, server)
    system.set(WAYBILL_PROCESSOR_ADMIN_PORT="0")  # there are two
    await made_by(first, system)
    rig = Rig(system, random.Random(seed), tmp_path)
    try:
        async with AsyncExitStack() as opened:
            await rig.open(opened, system.environ, first)
            await Upgrade(rig, first, lab, tmp_path / "waybill.dump").go()
            await rig.heal()
        found = await counted(rig)
        await assert_each_record_has_one_fate(system, await system.read(Topic.RAW))
        seen = await asked(system, "audit", "--all")
        assert seen["found"] == 0, seen
        found["shipments that come out otherwise today"] = seen["outdated"]
        async with running(system):
            await waybill(system, "replay", "run", "--all", "--yes")
        again = await counted(rig)
        found["events of the replay"] = again["events"] - found["events"]
        checked = await asked(system, "audit", "--all", "--from-raw")
        assert (checked["found"], checked["outdated"]) == (0, 0), checked
    except BaseException as error:
        error.add_note(f"WAYBILL_TEST_SEED={seed}, {first}\n{rig.logs()}")
        raise
    chaos_outcomes.append(
        rig.told(
            "From 0.1.0 to what came after it, and back by the backup",
            "As [upgrading](upgrading.md) tells it: one broker, one database, a door and two processors, "
            "which run the code of 0.1.0 and in the end today's. Two editions have read the records, so the events are "
            "not compared with the planner's, field by field; in the end, and after everything was read again, "
            f"`waybill audit --all --from-raw` found nothing. Seed {seed}.",
            found,
        )
    )


async def counted(rig: Rig) -> Counter[str]:
    """Check what holds whichever edition has read a record; return what there is to count."""
    found = await assert_kept_and_published(rig.system, rig.courier.answered)
    newest = assert_no_gap(found.events)
    assert {name: (state["version"], state["status"]) for name, state in found.states.items()} == newest
    await until(rig.system.caught_up, 1)
    return found.counts


def assert_no_gap(events: Sequence[Any]) -> dict[str, tuple[int, str]]:
    """Each shipment's events come in the order of their versions, without gaps. Return the newest, and its status."""
    newest: dict[str, tuple[int, str]] = {}
    for event in events:
        version, _ = newest.get(event["shipment_id"], (0, ""))
        assert event["version"] == version + 1, event
        newest[event["shipment_id"]] = event["version"], event["status"]
    return newest
