"""A database that is too slow: batches get smaller; where that does not help, the partition halts until it works."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from schemas.partitioning import partition_of
from tests.integration.inside import is_ready, open_inside, partitions_shown, processing, shorten
from tests.integration.system import System, assert_exactly_once, dash, lives, raw_records
from tests.waiting import until

PARTITIONS: Final = 2
SHORTER: Final = 10
RECORD_SECONDS: Final = 0.01
SLOW: Final = f"""
create function dawdle() returns trigger language plpgsql as
$$ begin perform pg_sleep({RECORD_SECONDS} * (select count(*) from written)); return null; end $$;
create trigger dawdle after insert on observations
referencing new table as written for each statement execute function dawdle();
"""
STUCK: Final = """
create function hang() returns trigger language plpgsql as $$ begin perform pg_sleep(600); return null; end $$;
create trigger hang after insert on observations for each row
when (new.shipment_id = 'dash:STUCK') execute function hang();
"""


@pytest_asyncio.fixture
async def system(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> System:
    shorten(monkeypatch, SHORTER)
    return await open_inside(kafka_bootstrap_servers, database_url, topic_prefix, PARTITIONS)


async def test_batches_get_smaller_until_they_are_done_in_time(system: System) -> None:
    """At first some 1,400 records of a partition are one batch, which would take ten times its limit."""
    await system.execute(SLOW)
    await system.append(lives(400))
    with capture_logs() as logs:
        async with processing(system):
            await until(system.caught_up)
            await until(lambda: is_ready(system))
    await assert_exactly_once(system)
    assert not [log for log in logs if log["event"] == "partition halted"]


async def test_a_doubt_that_repeats_halts_its_partition_until_that_works_again(system: System) -> None:
    await system.execute(STUCK)
    now = datetime.now(UTC)
    received = now - timedelta(minutes=10)
    stuck = partition_of(b"dash:STUCK", PARTITIONS)
    more = lives(20)
    waiting = 2 + sum(partition_of(record.key, PARTITIONS) == stuck for record in more)
    shown: dict[tuple[str, ...], float] = {}

    async def look() -> None:
        shown.clear()
        shown.update(await partitions_shown(system))

    async def halted() -> bool:
        await look()
        return shown.get(("partition_state", str(stuck), "halted")) == 1

    async def other_goes_on() -> bool:
        """The other partition is done with everything, and this one has it all before it."""
        await look()
        lag = [shown["lag_records", str(each)] for each in range(PARTITIONS)]
        return lag[stuck] == waiting and sum(lag) == waiting

    async def none_waits() -> bool:
        await look()
        return all(shown["lag_records", str(each)] == 0 for each in range(PARTITIONS))

    with capture_logs() as logs:
        async with processing(system):
            await system.append(raw_records("dash", dash("STUCK", "VERIFIED", 1), received))
            await until(halted)
            age = shown["oldest_waiting_seconds", str(stuck)]
            assert 600 <= age < 660
            assert not await is_ready(system)
            await system.append(raw_records("dash", dash("STUCK", "IN_DELIVERY", 2), now))
            await system.append(more)
            await until(other_goes_on)
            assert shown["oldest_waiting_seconds", str(stuck)] > age
            await system.execute("drop trigger hang on observations")
            await until(system.caught_up)
            await until(lambda: is_ready(system))
            await until(none_waits)
            assert {shown["oldest_waiting_seconds", str(each)] for each in range(PARTITIONS)} == {0.0}
            assert {shown["partition_state", str(each), "working"] for each in range(PARTITIONS)} == {1.0}
    await assert_exactly_once(system)
    (told,) = [log for log in logs if log["event"] == "partition halted"]
    assert told["partition"] == stuck
