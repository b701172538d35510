"""What the tests of operators' commands share: the commands as an operator runs them, and processors beside them."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from operators.shared import operator_log as journal
from processor.counts import counted
from runtime.postgres import open_pool
from schemas.observation import Decision
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests import forking
from tests.children import environ_with
from tests.integration.commands import run_here
from tests.integration.system import PARTITIONS, Raw, System
from tests.waiting import DEADLINE, until


async def start(system: System, *arguments: str, stdout: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
    """Start a command."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cli.main", *arguments),
        env=environ_with(system.environ),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )


async def waybill(system: System, *arguments: str, code: int = 0) -> str:
    """Run a command to its end; return what it printed."""
    said = await run_here(system.environ, *arguments, within=DEADLINE)
    assert said.code == code, (arguments, said)
    return said.out or said.err


async def asked(system: System, *arguments: str, code: int = 0) -> Any:
    """Run a command with `--json`; return what it printed."""
    return msgspec.json.decode(await waybill(system, *arguments, "--json", code=code))


@asynccontextmanager
async def running(system: System) -> AsyncIterator[None]:
    """Run a processor; everything appended is applied when it stops, in order."""
    async with system.processor() as process:
        yield
        await until(system.caught_up)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0


async def process_broken(system: System, word: str) -> None:
    """Process everything with a decoder that cannot read a word of Dash."""
    process = await forking.start("tests.integration.broken_processor", word, environ=system.environ)
    try:
        await until(system.caught_up)
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0


async def write_down(system: System, *decisions: tuple[str, Decision]) -> None:
    """Write decisions into the operators' log, each with its command id, as commands do before they append them."""
    async with await open_pool(system.settings, "test", 1) as pool, pool.acquire() as connection:
        await journal.write_down(connection, "a test", decisions)


def misrouted(record: Raw) -> Raw:
    """Return a record under a key that leads it into another partition than its shipment's."""
    home = partition_of(record.key, PARTITIONS)
    key = next(key for key in (b"a", b"b", b"c", b"d", b"e") if partition_of(key, PARTITIONS) != home)
    return Raw(key, record.value, record.headers, record.timestamp_ms)


async def newest_states(system: System) -> dict[str, Any]:
    """Return the newest state of each shipment; None where it is forgotten."""
    return {
        record.key.decode(): None if record.value is None else msgspec.json.decode(record.value)
        for record in await system.read(Topic.STATE)
    }


async def events(system: System) -> list[Any]:
    """Return everything published on `shipment.events`."""
    return [msgspec.json.decode(record.value) for record in await system.read(Topic.EVENTS)]


async def assert_counted(system: System) -> None:
    """What a processor counts for its metrics is what the operators' lists show as open."""
    found = await counted(system.settings)
    assert found.dead_letters == Counter(each["reason"] for each in await asked(system, "dlq", "list"))
    assert found.anomalies == Counter(each["kind"] for each in await asked(system, "anomalies", "list"))


async def everything_stored(system: System) -> str:
    """Return every row of every table as text."""
    tables = [
        row["tablename"] for row in await system.rows("select tablename from pg_tables where schemaname = 'public'")
    ]
    texts = []
    for table in tables:
        for row in await system.rows(f'select * from "{table}"'):
            for name, value in row.items():
                text = bytes(value).decode(errors="replace") if isinstance(value, bytes) else str(value)
                texts.append(f"{table}.{name}: {text}")
    return "\n".join(texts)


async def assert_conserved(system: System) -> None:
    """Every record of the log has its observation, its dead letter, or is counted as one without a row."""
    found = await system.rows(
        """
        select raw_partition, records, rowless,
            (select count(*) from observations as o
             where o.raw_partition = c.raw_partition and o.incarnation = c.incarnation) as observations,
            (select count(*) from outputs as o where o.raw_partition = c.raw_partition
             and o.incarnation = c.incarnation and topic = 'courier.webhooks.raw.dlq') as dead_letters
        from cursors as c
        """
    )
    for row in found:
        assert row["records"] == row["observations"] + row["dead_letters"] + row["rowless"], dict(row)
    assert sum(row["records"] for row in found) == len(await system.read(Topic.RAW))
