"""What the tests of disagreeing cursors share: systems of their own, the commands, Kafka's tools, backups."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import msgspec
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from devstack import Kafka, Stack, tools
from devstack.ports import free_ports
from runtime.kafka import admin_client, open_reader
from schemas.topics import Topic
from tests.children import environ_with
from tests.conftest import Databases
from tests.forking import Started
from tests.integration.commands import run_here
from tests.integration.system import System, open_system
from tests.waiting import until

MANY_AT_ONCE: Final = 5
"""Systems tried side by side: most of the time goes into Kafka's tools and into waiting for the group."""


class Lab:
    """A system, its broker's tools and its database server."""

    def __init__(self, system: System, kafka: Kafka, server: asyncpg.Pool | None) -> None:
        self.system = system
        self._kafka = kafka
        self._given_server = server
        self.set(WAYBILL_PROCESSOR_ADMIN_PORT=str(free_ports(1)[0]))

    @property
    def raw(self) -> str:
        return self.system.settings.topic(Topic.RAW)

    def set(self, **environ: str) -> None:
        """Change settings."""
        self.system.set(**environ)

    async def tool(self, name: str, *arguments: str) -> str:
        """Run one of Kafka's own tools."""
        return await self._kafka.tool(name, *arguments)

    async def delete_records(self, partition: int, before: int) -> None:
        """Let retention take the records before an offset."""
        async with admin_client(self.system.settings) as admin:
            await admin.delete_records({TopicPartition(self.raw, partition): RecordsToDelete(before_offset=before)})

    async def is_applied(self, partition: int) -> bool:
        """Whether every record of a partition is applied."""
        async with open_reader(self.system.settings, "test", self.raw) as reader:
            raw = TopicPartition(self.raw, partition)
            end = (await reader.end_offsets([raw]))[raw]
        rows = await self.system.rows(f"select next_offset from cursors where raw_partition = {partition}")
        return bool(rows) and bool(rows[0]["next_offset"] >= end)

    async def ends(self) -> list[int]:
        """Return each partition's end."""
        async with open_reader(self.system.settings, "test", self.raw) as reader:
            ends = await reader.end_offsets(reader.assignment())
        return [end for _, end in sorted(ends.items())]

    async def offsets(self, *arguments: str) -> None:
        """Move the group's offsets with Kafka's own tool, which wants the group to be empty."""
        group = ("--group", self.system.settings.group_id)

        async def moved() -> bool:
            said = await self.tool("kafka-consumer-groups", *group, "--topic", self.raw, *arguments)
            return "Error" not in said and "only if the group" not in said

        await until(moved)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Started]:
        """Run a processor; stop it in order afterwards."""
        async with self.system.processor() as process:
            yield process
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 15) == 0

    async def process(self) -> None:
        """Run a processor until everything is applied and published."""
        async with self.running():
            await until(self.system.caught_up)

    async def parts(self) -> dict[str, bool]:
        """Ask `/readyz`; nothing while the processor does not listen."""
        port = self.system.settings.processor_admin_port
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                return dict((await answer.json())["parts"])
        except aiohttp.ClientConnectionError:
            return {}

    async def halted(self) -> None:
        """Wait until a partition stands still and all others work."""

        async def stands() -> bool:
            parts = await self.parts()
            return parts.get("claimed") is True and parts.get("running") is False

        await until(stands)

    async def ready(self) -> None:
        """Wait until every partition works."""

        async def works() -> bool:
            parts = await self.parts()
            return bool(parts) and all(parts.values())

        await until(works)

    async def waybill(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed."""
        said = await run_here(self.system.environ, *arguments, within=60)
        return said.code, said.out

    async def recover(self, *troubles: str) -> dict[str, Any]:
        """See that exactly these troubles are found, then mend them."""
        code, said = await self.waybill("recover", "--dry-run", "--json")
        assert code == 0, said
        planned = msgspec.json.decode(said)
        assert planned["mended"] is False
        assert [each["trouble"] for each in planned["partitions"]] == list(troubles), said
        code, said = await self.waybill("recover", "--yes", "--json")
        assert code == 0, said
        done: dict[str, Any] = msgspec.json.decode(said)
        assert done["mended"] is True
        return done

    @property
    def _server(self) -> asyncpg.Pool:
        assert self._given_server is not None, "this test copies no database"
        return self._given_server

    async def back_up(self) -> None:
        """Copy the database, file by file."""
        await self._copy(self._name, f"{self._name}_b")

    async def restore(self) -> None:
        """Put the copy in the database's place."""
        await self._server.execute(f"drop database {self._name} with (force)")
        await self._copy(f"{self._name}_b", self._name)

    async def dump(self, file: Path) -> None:
        """Back the database up as docs/operating.md tells."""
        await _postgres("pg_dump", "--format=custom", f"--file={file}", self.system.settings.database_url)

    async def restore_dump(self, file: Path) -> None:
        """Put what was dumped in the database's place, as docs/operating.md tells."""
        await self._server.execute(f"drop database {self._name} with (force)")
        await self._server.execute(f"create database {self._name}")
        options = ("--exit-on-error", "--single-transaction", "--no-owner")
        await _postgres("pg_restore", *options, f"--dbname={self.system.settings.database_url}", str(file))

    async def _copy(self, source: str, target: str) -> None:
        await self._server.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", source)
        await self._server.execute(f"create database {target} template {source}")

    @property
    def _name(self) -> str:
        return urlsplit(self.system.settings.database_url).path[1:]

    async def events(self) -> list[tuple[str, bytes]]:
        """Return each event on the topic: id and bytes, in order."""
        return [(msgspec.json.decode(each.value)["id"], each.value) for each in await self.system.read(Topic.EVENTS)]


async def _postgres(name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own tools."""
    install = tools.postgres_install()
    assert install is not None
    home = install / "pginstall"
    environ = environ_with({"LD_LIBRARY_PATH": str(home / "lib")})
    process = await asyncio.create_subprocess_exec(str(home / "bin" / name), *arguments, env=environ)
    assert await asyncio.wait_for(process.wait(), 60) == 0


OpenLab = Callable[[], Awaitable[Lab]]


@pytest_asyncio.fixture
async def one_more(stack: Stack, kafka: Kafka, databases: Databases, topic_prefix: str) -> AsyncIterator[OpenLab]:
    """Opens systems, each isolated from the others."""
    numbers = count(1)
    async with asyncpg.create_pool(stack.database_url, min_size=1, max_size=1) as server:

        async def open_one() -> Lab:
            prefix = f"{topic_prefix}{next(numbers)}."
            system = await open_system(kafka.bootstrap_servers, await databases.migrated(), prefix)
            return Lab(system, kafka, server)

        yield open_one


async def side_by_side(tries: Sequence[Callable[[Lab], Awaitable[None]]], one_more: OpenLab) -> None:
    """Try each on a system of its own, some at a time."""
    slots = asyncio.Semaphore(MANY_AT_ONCE)

    async def try_one(attempt: Callable[[Lab], Awaitable[None]]) -> None:
        async with slots:
            try:
                await attempt(await one_more())
            except BaseException as error:
                error.add_note(f"while {attempt.__name__}")
                raise

    async with asyncio.TaskGroup() as group:
        for attempt in tries:
            group.create_task(try_one(attempt))
