"""What the tests of replays share: the command for real, processors of two ages, digests of the tables."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import msgspec

from schemas.topics import Topic
from schemas.traces import TRACEPARENT, traceparent
from tests import forking
from tests.children import environ_with, logged
from tests.integration.commands import Said, run_here
from tests.integration.older_waybill import UNREADABLE_THEN
from tests.integration.system import START, Raw, System, dash, lives, raw_records
from tests.waiting import DEADLINE, until

WAYBILL: Final = "cli.main"
OLDER: Final = "tests.integration.older_waybill"


def mixed(count: int) -> list[Raw]:
    """Write lives, some of parcels that only today's decoder can read, repeats, garbage and words nobody knows.

    Each third webhook of the lives is traced.
    """
    more = [
        record
        for number in range(3)
        for minute, body in enumerate(
            [
                dash(f"{UNREADABLE_THEN}-{number}", "PREPARING", 1),
                dash(f"{UNREADABLE_THEN}-{number}", "VERIFIED", 2),
                dash(f"DE-{number}", "TELEPORTED", 3),
                dash(f"DE-{number}", "FAILED", 4, failedCount=1, failedReason="nobody home", note="wrong"),
                dash(f"DE-{number}", "CANCELLED", 9),
            ]
        )
        for record in raw_records("dash", body, START + timedelta(hours=1, minutes=minute))
    ]
    garbage = raw_records("dash", b"{", START) + raw_records("kiriminaja", b'{"method": 1}', START)
    listed = [record if place % 3 else _traced(record, place + 1) for place, record in enumerate(lives(count))]
    return [*listed, *more, *listed[:5], *garbage]


def _traced(record: Raw, number: int) -> Raw:
    header = (TRACEPARENT, traceparent(number, number).encode())
    return msgspec.structs.replace(record, headers=[*record.headers, header])


async def command(system: System, *arguments: str, within: float = DEADLINE) -> Said:
    """Run a command to its end."""
    return await run_here(system.environ, *arguments, within=within)


@asynccontextmanager
async def running(system: System, *arguments: str, program: str = WAYBILL) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command. It is gone afterwards."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program, *arguments),
        env=environ_with(system.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def processing(system: System, program: str = WAYBILL) -> AsyncIterator[None]:
    """Have a processor run."""
    async with logged(
        "processor", lambda log: forking.start(program, "processor", environ=system.environ, stderr=log)
    ) as process:
        yield
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 15) == 0


async def processed(system: System, records: Sequence[Raw], program: str = WAYBILL) -> None:
    """Append records and have them applied and published."""
    await system.append(records)
    async with processing(system, program):
        await until(system.caught_up)


async def digest(system: System) -> str:
    """Digest what a replay without effect must leave alone."""
    found = hashlib.sha256()
    for query in (
        "select * from shipments order by shipment_id",
        "select * from observations order by shipment_id, incarnation, raw_partition, raw_offset",
        "select * from outputs order by raw_partition, incarnation, cause_offset, ordinal",
    ):
        for row in await system.rows(query):
            found.update(repr(tuple(row)).encode())
    return found.hexdigest()


async def ends(system: System) -> dict[Topic, int]:
    """Count what is published."""
    return {topic: len(await system.read(topic)) for topic in Topic if topic is not Topic.RAW}


async def applied(system: System, job: str) -> dict[str, str]:
    """Return what came of a job's commands."""
    rows = await system.rows(
        f"select command_id, outcome from applied_commands where command_id >= '{job}/' and command_id < '{job}0'"
    )
    return {row["command_id"]: row["outcome"] for row in rows}
