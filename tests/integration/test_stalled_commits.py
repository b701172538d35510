"""Commits that stall, as those that wait for a standby: with more partitions than connections, all come back."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import asyncpg
import pytest
import pytest_asyncio

from processor.service import CONNECTIONS
from runtime import postgres
from tests.integration.inside import is_ready, open_inside, partitions_shown, processing, shorten
from tests.integration.system import START, System, assert_exactly_once, lives
from tests.waiting import until

PARTITIONS: Final = CONNECTIONS + 2
SHORTER: Final = 10
"""By how much the limits are shortened: a stall of some seconds is then longer than each of them."""
BACK_SECONDS: Final = 30.0
"""Within this time after the stall everything works again: the longest back-off and the claims, on a busy machine."""

RECEIVED_WITHIN: Final = 600.0
"""The oldest record of a partition was received within so many seconds after the start."""

STALLING: Final = """
create table stalled ();
create function stall() returns trigger language plpgsql as $$
begin
    while exists (select from stalled) loop
        perform pg_sleep(0.05);
    end loop;
    return null;
end $$;
create constraint trigger stall after insert or update on cursors
deferrable initially deferred for each row execute function stall();
"""
"""Lets every commit that touches a cursor wait while `stalled` has a row."""

HANGING: Final = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name like 'waybill-processor%' and state = 'active'
    and pid <> pg_backend_pid()
"""


@pytest_asyncio.fixture
async def system(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> System:
    shorten(monkeypatch, SHORTER)
    system = await open_inside(kafka_bootstrap_servers, database_url, topic_prefix, PARTITIONS)
    await system.execute(STALLING)
    return system


async def is_told(system: System) -> bool:
    """Whether the metrics tell where something waits, since when, and that it is not worked on."""
    shown, age = await partitions_shown(system), (datetime.now(UTC) - START).total_seconds() - RECEIVED_WITHIN
    waiting = [str(each) for each in range(PARTITIONS) if shown["lag_records", str(each)]]
    return len(waiting) >= CONNECTIONS and all(
        shown["partition_state", each, "working"] == 0 and shown["oldest_waiting_seconds", each] >= age
        for each in waiting
    )


async def test_more_partitions_than_connections_come_back_when_stalled_commits_go_on(system: System) -> None:
    async def hanging(at_least: int) -> bool:
        ((count,),) = await system.rows(HANGING)
        return bool(count >= at_least)

    async with processing(system):
        await system.append(lives(60))
        await until(system.caught_up)
        await until(lambda: is_ready(system))
        await system.execute("insert into stalled default values")
        await system.append(lives(60, "STALLED"))
        await until(lambda: hanging(CONNECTIONS))
        await asyncio.sleep(4 * postgres.COMMAND_SECONDS)  # every batch and claim has been given up more than once
        await until(lambda: is_told(system))
        await system.execute("delete from stalled")
        async with asyncio.timeout(BACK_SECONDS):
            await until(system.caught_up)
            await until(lambda: is_ready(system))
    await assert_exactly_once(system)


async def test_a_claim_ends_the_session_of_a_zombie_that_holds_the_cursor(system: System) -> None:
    """Without a look at the row first, the claim would wait before it is in the place to end anybody."""
    async with processing(system):
        await system.append(lives(60))
        await until(system.caught_up)
    zombie = await asyncpg.connect(system.settings.database_url)
    try:
        await zombie.execute("begin; update cursors set updated_at = now()")
        async with processing(system):
            async with asyncio.timeout(BACK_SECONDS):
                await until(lambda: is_ready(system))
        assert zombie.is_closed()
    finally:
        zombie.terminate()
