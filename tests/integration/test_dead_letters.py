"""`waybill dlq` on the real stack: a redrive mends exactly what can be mended, stops by itself, survives its death."""

import asyncio
import os
import signal
from typing import Final

import pytest
import pytest_asyncio

from operators.dead_letters.letters import LetterSelection, LetterState
from operators.dead_letters.redrive import Redrive, choose
from operators.dead_letters.stored_letters import letters
from operators.shared import outcomes as outcomes_module
from processor.counts import counted
from runtime.appending import open_appender
from runtime.postgres import open_pool
from schemas.topics import Topic
from tests.integration.commands import run_here
from tests.integration.operating import (
    asked,
    assert_conserved,
    assert_counted,
    events,
    misrouted,
    process_broken,
    running,
    start,
    waybill,
)
from tests.integration.system import START, Raw, System, dash, lives, open_system, raw_records
from tests.waiting import DEADLINE, until

PARCELS: Final = 40
GARBAGE: Final = raw_records("dash", b'{"deliveryID": "DE-', START)


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


def lost() -> list[Raw]:
    """A parcel's first webhook in another parcel's partition, its second in its own."""
    first, second = (
        raw_records("dash", dash("LOST", word, minute), START)[0]
        for minute, word in ((1, "PREPARING"), (2, "VERIFIED"))
    )
    return [misrouted(first), second]


async def statuses(system: System) -> dict[str, str]:
    return dict(await system.rows("select shipment_id, status from shipments"))


async def test_a_redrive_mends_exactly_what_can_be_read_beside_live_traffic(system: System) -> None:
    await system.append([*lives(PARCELS), *lost(), *GARBAGE])
    await process_broken(system, "COMPLETED")
    reasons = [each["reason"] for each in await asked(system, "dlq", "list")]
    assert sorted(reasons) == ["invalid_json", "misrouted", *["unknown_shape"] * PARCELS]
    said = await run_here(system.environ, "dlq", "list", "--limit", "1", "--json", within=DEADLINE)
    assert (len(said.json()), "there may be more: --limit 1" in said.err) == (1, True)
    (wrong,) = await asked(system, "dlq", "list", "--reason", "misrouted", "--courier", "dash")
    shown = await asked(system, "dlq", "show", wrong["at"])
    assert (shown["today"]["readable"], shown["today"]["shipment_id"], shown["body"]) == (True, "dash:LOST", None)
    await assert_counted(system)
    before = await events(system)
    async with running(system):
        planned = await asked(system, "dlq", "redrive", "--dry-run")
        assert (planned["readable"], planned["unreadable"]) == (PARCELS + 1, {"invalid_json": 1})
        await system.append(lives(10, "LIVE"))
        done = (await asked(system, "dlq", "redrive", "--yes"))["redriven"]
    assert (done["appended"], done["came_back"], done["stopped"]) == (PARCELS + 2, 1, None)
    now = await statuses(system)
    assert now.pop("dash:LOST") == "VERIFIED"
    assert set(now.values()) == {"DELIVERED"}
    fresh = [each for each in await events(system) if each not in before and "LIVE" not in each["id"]]
    assert len(fresh) == PARCELS  # the late PREPARING changes nothing
    assert {each["source"] for each in fresh} == {"replay"}
    assert {each["type"] for each in fresh} == {"shipment.status_changed"}
    (left,) = await asked(system, "dlq", "list")
    assert (left["reason"], left["state"], left["at"] != left["record"]) == ("invalid_json", "open", True)
    await assert_counted(system)
    await assert_conserved(system)
    await waybill(system, "audit", "--all")
    await _look_and_drop(system, left["at"], left["record"])


async def _look_and_drop(system: System, at: str, record: str) -> None:
    assert "DE-" not in await waybill(system, "dlq", "show", record)
    assert (await asked(system, "dlq", "show", at, "--show-personal"))["body"] == GARBAGE[0].value.decode()
    assert (await asked(system, "dlq", "drop", at, "--dry-run"))["dropped"] is False
    assert (await asked(system, "dlq", "drop", at, "--reason", "a test's", "--yes"))["dropped"] is True
    assert await asked(system, "dlq", "list") == []
    await assert_counted(system)
    everything = await asked(system, "dlq", "list", "--all")
    assert [each["state"] for each in everything].count("mended") == PARCELS + 1
    (dropped,) = (each for each in everything if each["state"] == "dropped")
    assert (dropped["at"], dropped["why"]) == (at, "a test's")
    log = [row["command"] for row in await system.rows("select command from operator_log order by id")]
    assert log == ["dlq redrive", "dlq show --show-personal", "dlq drop"]
    assert "no dead letter" in await waybill(system, "dlq", "show", "0:999999", code=1)


async def test_it_stops_by_itself_when_most_come_back(system: System) -> None:
    garbage = [Raw(f"{number}".encode(), *_rest(GARBAGE[0])) for number in range(50)]
    await system.append(garbage)
    async with running(system):
        await until(system.caught_up)
        done = (await asked(system, "dlq", "redrive", "--yes", code=1))["redriven"]
    assert (done["appended"], done["came_back"]) == (20, 20)
    assert "--max-failure-ratio" in done["stopped"]
    ((status, detail),) = await system.rows("select status, detail from replay_jobs")
    assert (status, detail) == ("failed", done["stopped"])
    assert len(await asked(system, "dlq", "list")) == len(garbage)  # one line for each, come back or not


def _rest(record: Raw) -> tuple[bytes, list[tuple[str, bytes]], int]:
    return record.value, record.headers, record.timestamp_ms


async def test_killed_and_run_again_it_applies_each_once(system: System) -> None:
    await system.append(lives(150))
    await process_broken(system, "COMPLETED")
    async with running(system):
        killed = await start(system, "dlq", "redrive", "--yes")
        await until(lambda: _some_applied(system))
        os.kill(killed.pid, signal.SIGKILL)
        await asyncio.wait_for(killed.communicate(), DEADLINE)
        await waybill(system, "dlq", "redrive", "--yes")
    assert await asked(system, "dlq", "list") == []
    roots = await system.rows(
        "select replay_of_partition, replay_of_offset from observations where command_id is not null"
    )
    assert len(roots) == len(set(roots)) == 150
    assert set((await statuses(system)).values()) == {"DELIVERED"}
    assert len([each for each in await events(system) if each["source"] == "replay"]) == 150
    jobs = dict(await system.rows("select status, detail from replay_jobs"))
    assert jobs["done"] is None
    assert "interrupted" in jobs["failed"]
    await assert_conserved(system)


async def _some_applied(system: System) -> bool:
    ((count,),) = await system.rows("select count(*) from applied_commands")
    return bool(count)


async def test_without_a_processor_it_says_so_and_a_second_run_appends_under_the_same_ids(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes_module, "APPLY_SECONDS", 0.3)
    await system.append(lives(3))
    await process_broken(system, "COMPLETED")
    raw = len(await system.read(Topic.RAW))
    async with await open_pool(system.settings, "test", 2) as pool:
        for _ in range(2):
            chosen = await choose(pool, LetterSelection(), None)
            async with open_appender(system.settings) as appender:
                run = Redrive(pool, appender, system.settings.assumed_zone, "tester")
                done = await run.run(chosen, LetterSelection(), 0.5, lambda _: None)
            assert (done.appended, done.applied) == (3, 0)
            assert "as soon as a processor runs" in (done.stopped or "")
        assert {each.state async for each in letters(pool, LetterSelection())} == {LetterState.WAITING}
        assert [each["state"] for each in await asked(system, "dlq", "list")] == ["waiting"] * 3
        assert not (await counted(system.settings)).dead_letters
        assert len(await system.read(Topic.RAW)) == raw + 6
        async with running(system):
            await until(system.caught_up)
        assert {each.state async for each in letters(pool, LetterSelection())} == {LetterState.MENDED}
    ((count,),) = await system.rows("select count(*) from applied_commands")
    assert count == 3
    await assert_conserved(system)
