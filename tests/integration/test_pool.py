"""The pool of database connections: nobody waits for ever."""

import asyncio
from time import monotonic

import pytest

from runtime import postgres
from runtime.postgres import open_pool
from runtime.settings import load_settings

LIMIT = 0.3


async def test_who_gets_no_connection_is_told_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ACQUIRE_SECONDS", LIMIT)
    async with await open_pool(load_settings({"WAYBILL_DATABASE_URL": database_url}), "test", 1) as pool:
        async with pool.acquire() as connection:
            assert await connection.fetchval("select 1") == 1
            with pytest.raises(TimeoutError, match="no database connection was to be had within"):
                async with pool.acquire():
                    pass
        async with pool.acquire() as connection:
            assert await connection.fetchval("select 1") == 1


async def test_a_pool_closes_in_time_whoever_holds_on(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "POOL_CLOSE_SECONDS", LIMIT)
    pool = await open_pool(load_settings({"WAYBILL_DATABASE_URL": database_url}), "test", 1)
    taken = asyncio.Event()

    async def hold_on() -> None:
        async with pool.acquire() as connection:
            taken.set()
            await connection.execute("select pg_sleep(60)")

    holding = asyncio.create_task(hold_on())
    await taken.wait()
    began = monotonic()
    await pool.close()
    assert monotonic() - began < 10
    with pytest.raises(postgres.DATABASE_ERRORS):
        await holding
