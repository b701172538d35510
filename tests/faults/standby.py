"""A PostgreSQL of a test's own and a standby that follows it, behind a proxy that leads to whichever is in charge."""

import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import psutil

from devstack import Choice, Embedded, MissingToolError, Named, services
from devstack.home import Home
from devstack.ports import HOST
from devstack.postgres import EmbeddedPostgres
from tests.conftest import lacking
from tests.faults.proxy import Proxy
from tests.waiting import until

PROMOTE_SECONDS: Final = 30


class Pair:
    """The server in charge, the one that follows it, and the address that clients keep."""

    def __init__(self, primary: EmbeddedPostgres, proxy: Proxy, opened: AsyncExitStack) -> None:
        """`proxy` leads to `primary`. What is started for the pair ends with `opened`."""
        self.primary = primary
        self.proxy = proxy
        self._opened = opened

    @property
    def database_url(self) -> str:
        """The address that leads to whoever is in charge."""
        address = urlsplit(self.primary.database_url)
        login = address.netloc.rsplit("@", 1)[0]
        return address._replace(netloc=f"{login}@{HOST}:{self.proxy.port}").geturl()

    async def follow(self, *, synchronous: bool) -> None:
        """Let a new standby follow the server in charge. `synchronous`: every commit waits until it has it."""
        home = Home.fresh("postgres")
        self._opened.callback(home.release)
        self.standby = self.primary.standby(home)
        self._opened.push_async_callback(self.standby.stop)
        await self.standby.start(lambda _: None)
        await self.wait_for_standbys(wait=synchronous)

    async def wait_for_standbys(self, *, wait: bool) -> None:
        """Let commits wait for the standby from now on, or no longer. Return once it is so."""
        await self._set(self.primary, "synchronous_standby_names", "*" if wait else "")

        expected = "sync" if wait else "async"

        async def is_so() -> bool:
            state: str | None = await execute(self.primary, "select sync_state from pg_stat_replication")
            return state == expected

        await until(is_so)

    async def cut_off(self) -> None:
        """Let the standby have nothing of what is committed from now on."""
        await self._set(self.standby, "primary_conninfo", "")

        async def is_cut_off() -> bool:
            return not await execute(self.standby, "select count(*) from pg_stat_wal_receiver")

        await until(is_cut_off)

    async def fail_over(self, *, silent: bool) -> None:
        """End the server in charge and let clients find its standby there. What it has committed alone is lost.

        `silent`: nobody hears that it has ended, as when a machine is gone; else its connections break.
        """
        lost = self.primary
        if silent:
            _freeze(lost)
            self._opened.push_async_callback(lost.kill)  # nothing less ends what is frozen
        else:
            await lost.kill()
        self.primary = self.standby
        await execute(self.primary, f"select pg_promote(true, {PROMOTE_SECONDS})")
        self.proxy.lead_to(*address_of(self.primary))

    async def _set(self, server: EmbeddedPostgres, name: str, value: str) -> None:
        await execute(server, f"alter system set {name} = '{value}'")
        await execute(server, "select pg_reload_conf()")


def address_of(server: EmbeddedPostgres) -> tuple[str, int]:
    """Where a server listens."""
    address = urlsplit(server.database_url)
    assert address.port is not None
    return HOST, address.port


async def execute(server: EmbeddedPostgres, statement: str) -> Any:
    """Run a statement on a server itself; return its value."""
    connection = await asyncpg.connect(server.database_url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _freeze(server: EmbeddedPostgres) -> None:
    program = psutil.Process(server.pid)
    for each in (program, *program.children(recursive=True)):
        each.send_signal(signal.SIGSTOP)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Run a server with a standby that every commit waits for."""
    async with AsyncExitStack() as opened:
        try:
            stack = await opened.enter_async_context(
                services(Choice(Named("127.0.0.1:1"), Embedded()), None, lambda _: None)
            )
        except MissingToolError as error:
            lacking(f"no PostgreSQL of its own: {error}")
        primary = stack.postgres
        assert isinstance(primary, EmbeddedPostgres)
        proxy = Proxy(address_of(primary), random.Random(0), kafka=False)
        await proxy.start()
        opened.push_async_callback(proxy.close)
        servers = Pair(primary, proxy, opened)
        await servers.follow(synchronous=True)
        yield servers
