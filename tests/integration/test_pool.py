"""The pool of database connections: nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from urllib.parse import urlsplit

import pytest

from runtime import postgres
from runtime.postgres import Pool, open_pool
from runtime.settings import load_settings
from tests.faults.proxy import HOST, Proxy, proxies

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


@asynccontextmanager
async def behind_a_proxy(database_url: str) -> AsyncIterator[tuple[Pool, Proxy]]:
    async with proxies("127.0.0.1:1", database_url, 0) as (_, server):
        address = urlsplit(database_url)
        login = address.netloc.rsplit("@", 1)[0]
        through = address._replace(netloc=f"{login}@{HOST}:{server.port}").geturl()
        async with await open_pool(load_settings({"WAYBILL_DATABASE_URL": through}), "test", 3) as pool:
            yield pool, server


async def test_a_pool_whose_server_has_gone_asks_for_nothing_by_itself(database_url: str) -> None:
    """Each attempt would be told with a traceback, and nobody waits for it."""
    async with behind_a_proxy(database_url) as (pool, server):
        assert server.connections == 1
        server.away()
        await asyncio.sleep(LIMIT)
        assert server.connections == 1
        server.back()
        async with pool.acquire() as connection:
            assert await connection.fetchval("select 1") == 1


async def test_what_went_wrong_is_told_where_the_connection_cannot_even_be_given_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ACQUIRE_SECONDS", LIMIT)
    monkeypatch.setattr(postgres, "POOL_CLOSE_SECONDS", LIMIT)
    async with behind_a_proxy(database_url) as (pool, server):

        async def work() -> None:
            async with pool.acquire() as connection:
                server.freeze()
                with pytest.raises(TimeoutError):
                    await connection.execute("select 1", timeout=LIMIT)
                raise ValueError("of the work")

        with pytest.raises(ValueError, match="of the work"):
            await work()
