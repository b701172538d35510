"""What reading everything again costs, beside what reading it first did, and what planning it costs.

python -m bench.replay [records]
"""

import asyncio
import sys
from time import monotonic

import msgspec

from bench.backlog import append_backlog
from bench.machine import bench_systems
from runtime import kafka
from schemas.topics import Topic
from tests.integration.replaying import command, processing
from tests.integration.system import System
from tests.waiting import until


async def processed(system: System, records: int) -> float:
    """Process everything. Return records a second, from the first event until all are seen."""
    reader = kafka.new_reader(system.settings, "bench", system.settings.topic(Topic.EVENTS))
    await kafka.start(reader)
    try:
        async with system.processor():
            seen, first = 0, 0.0
            while seen < records:
                seen += sum(map(len, (await reader.getmany(timeout_ms=500)).values()))
                first = first or (monotonic() if seen else 0.0)
            seconds = monotonic() - first
    finally:
        await kafka.stop(reader)
    print(f"first: {records} records in {seconds:.1f} s = {records / seconds:,.0f}/s")
    return records / seconds


async def replayed(system: System, records: int) -> float:
    """Read everything again. Return records a second, from the command's start until all is applied."""
    async with processing(system):
        await until(system.caught_up)
        started = monotonic()
        ended = (await command(system, "replay", "run", "--all", "--yes", "--json", within=3600)).json()
        seconds = monotonic() - started
    assert ended["outcomes"] == {"unchanged": records}, ended
    print(f"replay: {records} records in {seconds:.1f} s = {records / seconds:,.0f}/s")
    return records / seconds


async def planned(system: System, records: int) -> None:
    """Plan the same."""
    started = monotonic()
    said = await command(system, "replay", "plan", "--all", "--json", within=3600)
    seconds = monotonic() - started
    assert msgspec.json.decode(said.out)["changes"] == []
    print(f"plan: {records} records in {seconds:.1f} s = {records / seconds:,.0f}/s")


async def main(count: int) -> None:
    async with bench_systems("replay.") as (system,):
        records = await append_backlog(system, count)
        first = await processed(system, records)
        await planned(system, records)
        again = await replayed(system, records)
        print(f"cost of a record read again: {first / again:.2f} times that of the first processing")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000))
