"""PostgreSQL with a standby: one that commits wait for goes away and comes back; one that is behind takes over.

Short by default. `WAYBILL_TEST_CHAOS=1` is the long form, `make chaos`.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from devstack.ports import HOST
from operators.shared.errors import OperatorError
from operators.shared.locking import alone
from processor.service import CONNECTIONS
from reconcile.service import serve
from runtime.postgres import open_pool
from tests.faults.chaos import LONG, Outcome
from tests.faults.rig import Rig
from tests.faults.services import Service
from tests.faults.standby import Pair, execute, pair
from tests.integration.operating import asked
from tests.integration.system import System, open_system
from tests.waiting import until

PARTITIONS: Final = CONNECTIONS + 2

WEBHOOKS_A_SECOND: Final = 60.0 if LONG else 15.0

AWAY: Final = (5.0, 40.0, 100.0) if LONG else (4.0,)
"""For how many seconds the standby is away: a statement is given up after 15 s, a partition stopped after 30 s."""

SILENT: Final = (False, True) if LONG else (False,)
"""How the server in charge ends: its connections break, or nobody hears of it."""

BACK_SECONDS: Final = 30.0
"""Within this time after the standby's return every partition works again, on a busy machine: the longest back-off, a
claim that waits for a zombie's lock, and the claim with its first batch. Elsewhere it takes five."""

LET_GO_SECONDS: Final = 40.0
"""Within this time a command that must be the only one has ended whose lock is lost, however silently: the look at it,
its answer, and giving the connection back."""

LOCK: Final = 0x7761_7962_FFFE

MOST_SESSIONS: Final = 2 * 2 * (CONNECTIONS + 4)
"""What two processors may have on PostgreSQL: their pools, their watches, whoever ends blockers just now; and as many
sessions that were cut, and wait for the standby until they are ended. A watch that left one behind each time had more.
"""

SESSIONS: Final = "select count(*) from pg_stat_activity where application_name like 'waybill-processor%'"
ASKING: Final = """
select count(*) from pg_locks join pg_stat_activity using (pid)
where locktype = 'advisory' and granted and application_name = 'waybill-reconcile'
"""

ABOUT: Final = (
    f"One broker, two database servers, a door, two processors on {PARTITIONS} partitions with {CONNECTIONS} database "
    "connections each, `waybill reconcile` and a command that must be the only one. While a standby that commits wait "
    "for is away, every connection is cut once. A failover to a standby that was behind loses what was committed, and "
    "published, after the standby was cut off."
)
HANDED_OVER: Final = "kill -9 of PostgreSQL, failover to the standby that commits waited for"
STANDBY_AWAY: Final = "kill -9 of the standby that commits wait for, back after {:g} s"
FAILED_OVER: Final = {
    False: "kill -9 of PostgreSQL, failover to a standby that was behind, `waybill recover`",
    True: "PostgreSQL silent without an end, failover to a standby that was behind, `waybill recover`",
}


def said(service: Service, event: str, since: datetime) -> list[dict[str, Any]]:
    """Return the lines of an event in a service's log."""
    lines = [msgspec.json.decode(line) for line in service.log().splitlines()]
    return [line for line in lines if line["event"] == event and datetime.fromisoformat(line["time"]) >= since]


async def parts(processor: Service) -> dict[str, bool]:
    """Return what a processor's `/readyz` says; nothing while it does not listen."""
    try:
        (*_, started) = said(processor, "processor started", datetime.min.replace(tzinfo=UTC))
        url = f"http://{HOST}:{started['admin_port']}/readyz"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return dict((await answer.json())["parts"])
    except (ValueError, aiohttp.ClientConnectionError):
        return {}


async def all_say(rig: Rig, **expected: bool) -> bool:
    """Whether every processor says so of these parts."""
    return all([expected.items() <= (await parts(processor)).items() for processor in rig.processors])


async def are_ready(rig: Rig) -> bool:
    found = [await parts(processor) for processor in rig.processors]
    return all(each and all(each.values()) for each in found)


@asynccontextmanager
async def asking(system: System) -> AsyncIterator[None]:
    """Ask the couriers meanwhile, who do not answer."""
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(system.settings, ("dash",), stop))
    try:
        yield
    finally:
        stop.set()
        await serving


async def be_the_only_one(system: System) -> None:
    """Hold a lock as a command does that must not run twice."""
    async with await open_pool(system.settings, "operator", 2) as pool, alone(pool, LOCK, "test"):
        await asyncio.Event().wait()


async def leave_alone(rig: Rig, servers: Pair, seconds: float) -> None:
    """Take the standby away for so long; cut every connection meanwhile, so that no commit's outcome is known."""
    fault, began = STANDBY_AWAY.format(seconds), datetime.now(UTC)
    rig.faults[fault] += 1
    await servers.standby.kill()
    until_then = monotonic() + seconds
    await until(lambda: all_say(rig, postgres=False))
    servers.proxy.cut_all()
    failed = [each for each in (await asked(rig.system, "doctor", code=1))["findings"] if each["level"] == "fail"]
    assert [each["what"] for each in failed] == ["commits"], failed
    assert "synchronous_standby_names = *" in failed[0]["found"]
    while monotonic() < until_then:
        assert await execute(servers.primary, SESSIONS) <= MOST_SESSIONS
        await asyncio.sleep(0.2)
    assert await all_say(rig, postgres=False, kafka=True)
    await servers.standby.restart()
    back = monotonic()
    await until(lambda: are_ready(rig), BACK_SECONDS)
    await rig.recovered(fault, fault, back)
    for processor in rig.processors:
        told = said(processor, "store without its standby", began)
        assert 1 <= len(told) <= 2, "once, and once more behind the cut"
        assert all("synchronous_standby_names = *" in line["why"] for line in told)
        assert len(said(processor, "store back", began)) == 1
        assert not said(processor, "partition halted", began)


async def hand_over(rig: Rig, servers: Pair) -> None:
    """Fail over to a standby that has everything: nothing is to be mended."""
    rig.faults[HANDED_OVER] += 1
    began, since = datetime.now(UTC), monotonic()
    await servers.fail_over(silent=False)
    await rig.recovered("handed over", HANDED_OVER, since)
    await until(lambda: are_ready(rig))
    assert not [line for each in rig.processors for line in said(each, "partition halted", began)]


async def lose_commits(rig: Rig, servers: Pair, *, silent: bool) -> None:
    """Fail over to a standby that lacks what was committed and published last; mend that."""
    system, fault = rig.system, FAILED_OVER[silent]
    rig.faults[fault] += 1
    await servers.wait_for_standbys(wait=False)
    await servers.cut_off()
    await rig.recovered(f"lost {silent}", None, monotonic())
    alone_there = asyncio.create_task(be_the_only_one(system))
    await until(lambda: _holds(servers))
    began = datetime.now(UTC)
    await servers.fail_over(silent=silent)

    async def halted() -> bool:
        found = [line for each in rig.processors for line in said(each, "partition halted", began)]
        return {line["partition"] for line in found if "does not know all of it" in line["why"]} == set(
            range(PARTITIONS)
        )

    await until(halted)
    assert await all_say(rig, running=False)
    failed = [each for each in (await asked(system, "doctor", code=1))["findings"] if each["what"] == "cursors"]
    assert [each["level"] for each in failed] == ["fail"] * PARTITIONS
    assert {each["mend"] for each in failed} == {"`waybill recover`"}
    assert all(each["emitted"] > each["processed"] for each in (await asked(system, "lag"))["partitions"])
    done = await asked(system, "recover", "--yes")
    assert [each["trouble"] for each in done["partitions"]] == ["restored"] * PARTITIONS
    await rig.recovered(fault, fault, monotonic())
    await until(lambda: are_ready(rig))
    with pytest.raises(OperatorError, match="was lost"):
        await asyncio.wait_for(alone_there, LET_GO_SECONDS)
    await until(lambda: _asks(servers))


async def _holds(servers: Pair) -> bool:
    return bool(await execute(servers.primary, f"select count(*) from pg_locks where objid = {LOCK & 0xFFFF_FFFF}"))


async def _asks(servers: Pair) -> bool:
    return bool(await execute(servers.primary, ASKING))


@pytest_asyncio.fixture
async def servers() -> AsyncIterator[Pair]:
    async with pair() as opened:
        yield opened


async def test_a_standby_goes_away_and_one_that_is_behind_takes_over(
    servers: Pair, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path, chaos_outcomes: list[Outcome]
) -> None:
    system = await open_system(kafka_bootstrap_servers, servers.database_url, topic_prefix, PARTITIONS)
    system.set(
        WAYBILL_DASH_API_URL=f"http://{HOST}:1",
        WAYBILL_DASH_CLIENT_KEY="key",
        WAYBILL_DASH_CLIENT_SECRET="secret",
        WAYBILL_RECONCILE_ADMIN_PORT="0",
        WAYBILL_RECONCILE_STALE_AFTER="10s",
    )
    rig = Rig(system, random.Random(0), tmp_path, WEBHOOKS_A_SECOND)
    try:
        async with AsyncExitStack() as opened:
            await rig.open(opened, system.environ)
            async with rig.under_load(), asking(system):
                for seconds in AWAY:
                    await leave_alone(rig, servers, seconds)
                if LONG:
                    await hand_over(rig, servers)
                    await servers.follow(synchronous=True)
                for place, silent in enumerate(SILENT):
                    if place:
                        await servers.follow(synchronous=True)
                    await lose_commits(rig, servers, silent=silent)
            await rig.heal()
        audited, outcome = await asyncio.gather(
            asked(system, "audit", "--all", "--from-raw"), rig.outcome("PostgreSQL with a standby", ABOUT)
        )
        assert (audited["found"], audited["unchecked"]) == (0, 0), audited
    except BaseException as error:
        error.add_note(rig.logs())
        raise
    chaos_outcomes.append(outcome)
