"""Jobs of the console on the real stack: redrives and replays go on whatever becomes of the tab, or of the console."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
import pytest_asyncio

from operators.dead_letters import redrive_jobs
from operators.dead_letters.letters import LetterSelection
from operators.replay import replays
from operators.shared.errors import OperatorError
from runtime.postgres import OPERATOR, open_pool
from tests.integration.operating import asked, assert_conserved, process_broken, running, waybill
from tests.integration.system import START, System, lives, open_system, raw_records
from tests.integration.test_console_actions import Acting, acting
from tests.waiting import until

PARCELS: Final = 40
GARBAGE: Final = raw_records("dash", b'{"deliveryID": "DE-', START)


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


async def newest_job(console: Acting) -> Any:
    return (await console.told("/replays"))["jobs"][0]


async def test_a_redrive_is_taken_up_again_where_it_was(system: System) -> None:
    """Asked for in a browser; the console stops while nobody applies it; the next one ends it."""
    await system.append([*lives(PARCELS), *GARBAGE])
    await process_broken(system, "COMPLETED")
    path = "/do/redrive?reason=unknown_shape"
    async with acting(system) as console:
        plan = await console.told(path)
        assert plan["words"][:2] == [
            f"{PARCELS} dead letters ({PARCELS} unknown_shape)",
            f"{PARCELS} would be read by today's code",
        ]
        came = await console.act(path, "the decoder is mended")
        assert "whatever becomes of this page" in came["words"][0]

        async def is_appended() -> bool:  # and no processor runs
            decided = await system.rows("select from dead_letter_decisions")
            return bool(decided)

        await until(is_appended)
    ((status, letters),) = await system.rows("select status, selection ->> 'letters' from replay_jobs")
    assert (status, letters) == ("running", str(PARCELS))
    async with running(system), acting(system) as console:

        async def is_done() -> bool:
            return bool((await newest_job(console))["standing"] == "done")

        await until(is_done)
        job = await newest_job(console)
        assert (job["records"], job["letters"], job["operator"]) == (PARCELS, PARCELS, "sari")
        assert (await console.told("/dead-letters"))["newest"]["groups"][0]["reason"] == "invalid_json"
        assert not (await console.told(path))["possible"]
    states = await system.rows("select distinct status from shipments")
    assert [row["status"] for row in states] == ["DELIVERED"]
    await assert_conserved(system)
    log = await system.rows("select detail ->> 'why' as why from operator_log where command = 'dlq redrive'")
    assert [row["why"] for row in log] == ["the decoder is mended"]


async def test_a_replay_is_planned_run_paused_and_resumed(system: System) -> None:
    await system.append(lives(PARCELS))
    await process_broken(system, "VERIFIED")
    path = "/do/replay?all=1&rate=5"
    async with running(system), acting(system) as console:

        async def is_planned() -> bool:
            return not (await console.told(path))["under_way"]

        await until(is_planned)
        plan = await console.told(path)
        assert plan["possible"]
        assert any("records of 40 shipments would be read again" in line for line in plan["words"])
        await console.act(path, "the decoder is mended")

        async def stands(*wanted: str) -> bool:
            job = await newest_job(console)
            return job["standing"] in wanted and (job["records"] > 0 or "paused" in wanted)

        await until(lambda: stands("running"))
        job = (await newest_job(console))["job"]
        await console.act(f"/do/pause?job={job}", "too much at once")
        assert await stands("paused")
        assert not (await newest_job(console))["may_pause"]
        await system.rows(f"update replay_jobs set rate = null where job = '{job}'")  # in a hurry now
        await until(lambda: resumed(console, job))
        await until(lambda: stands("done"))
        told = await asked(system, "replay", "status", job)
        assert told["status"] == "done"
    log = await system.rows("select command, detail ->> 'why' from operator_log order by id")
    assert list(map(tuple, log)) == [
        ("replay run", "the decoder is mended"),
        ("replay pause", "too much at once"),
        ("replay resume", "the night has come"),
    ]


async def resumed(console: Acting, job: str) -> bool:
    """Resume a job as soon as its process has left it."""
    if not (await newest_job(console))["may_resume"]:
        return False
    await console.act(f"/do/resume?job={job}", "the night has come")
    return True


async def test_the_command_s_redrive_leaves_what_waits_for_a_console(system: System) -> None:
    await system.append([*lives(3), *GARBAGE])
    await process_broken(system, "COMPLETED")
    async with await open_pool(system.settings, OPERATOR, 4) as pool, running(system):
        chosen = await redrive_jobs.chosen_until(pool, LetterSelection(), datetime.now(UTC))
        job = await redrive_jobs.queue(pool, LetterSelection(), datetime.now(UTC), len(chosen.letters), "sari", "x")
        await waybill(system, "dlq", "redrive", "--yes")
        ((status,),) = await system.rows(f"select status from replay_jobs where job = '{job}'")
        assert status == "running"
        await replays.cancel(pool, job, "sari")
        assert await redrive_jobs.work(system.settings, pool, job) is None
        with pytest.raises(OperatorError, match="it cannot be resumed"):
            await replays.resume(pool, job, "sari")
