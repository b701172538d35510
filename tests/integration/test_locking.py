"""What only one may do at a time ends when PostgreSQL's lock is lost: after a failover another may be at work."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from operators.shared.errors import OperatorError
from operators.shared.locking import alone
from runtime import holding
from runtime.postgres import open_pool
from runtime.settings import load_settings
from tests.waiting import until

LOCK = 0x7761_7962_FFFF
HELD = """
    from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    async with await open_pool(load_settings({"WAYBILL_DATABASE_URL": database_url}), "test", 3) as opened:
        yield opened


async def test_a_second_one_is_refused_and_may_come_afterwards(pool: Any) -> None:
    for _ in range(2):
        async with alone(pool, LOCK, "test"):
            with pytest.raises(OperatorError, match="another test is at work"):
                async with alone(pool, LOCK, "test"):
                    pytest.fail("two at once")


async def test_other_errors_and_cancellations_stay_what_they_are(pool: Any) -> None:
    with pytest.raises(ValueError, match="of the work"):
        async with alone(pool, LOCK, "test"):
            raise ValueError("of the work")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), alone(pool, LOCK, "test"):
            await asyncio.Event().wait()
    async with alone(pool, LOCK, "test"):
        pass


@pytest.mark.parametrize("how", ["the session is cut", "the lock alone is gone"])
async def test_the_work_ends_when_the_lock_is_lost(
    pool: Any, database_url: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LOOK_SECONDS", 0.1)
    other = await asyncpg.connect(database_url)
    ended = False

    async def work() -> None:
        nonlocal ended
        async with alone(pool, LOCK, "test"):
            try:
                await asyncio.Event().wait()
            finally:
                ended = True

    working = asyncio.create_task(work())

    async def holds() -> bool:
        found: bool = await other.fetchval(f"select exists (select {HELD})")
        return found

    await until(holds)
    if how == "the session is cut":
        await other.execute(f"select pg_terminate_backend(pid) {HELD}")
    else:  # as behind a pooler that gives each statement another session
        monkeypatch.setattr(holding, "_IS_HELD", "select $1::bigint is null")
    with pytest.raises(OperatorError, match="a second test away was lost"):
        await asyncio.wait_for(working, 10)
    assert ended
    await other.close()
