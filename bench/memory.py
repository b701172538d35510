"""The processor's memory over a large backlog: it must not grow with it.

python -m bench.memory [records]
"""

import asyncio
import sys
from time import monotonic
from typing import Final

import psutil

from bench.backlog import append_backlog
from bench.machine import bench_systems
from bench.resident import Memory, memory_of
from bench.watching import Watcher
from runtime import kafka
from schemas.topics import Topic
from tests.integration.system import System

RECORDS: Final = 1_000_000
LOOK_SECONDS: Final = 1.0
TELL_SECONDS: Final = 10.0


async def memory_over(watcher: Watcher, system: System, end: int) -> Memory:
    """Run a processor until `end` records are committed, and look at its memory once a second."""
    begun = await watcher.committed(system.settings.group_id)
    seen, started, told = [(0, 0.0)], monotonic(), 0.0
    async with system.processor() as process:
        resident = psutil.Process(process.pid)
        while seen[-1][0] < end - begun:
            if process.returncode is not None:
                raise ChildProcessError("the processor has ended")
            committed = await watcher.committed(system.settings.group_id) - begun
            seen.append((committed, resident.memory_info().rss / 1e6))
            if monotonic() - started >= told:
                told += TELL_SECONDS
                line = f"{monotonic() - started:5.0f} s {committed:9,} records {seen[-1][1]:5.0f} MB"
                print(line, file=sys.stderr, flush=True)
            await asyncio.sleep(LOOK_SECONDS)
    return memory_of(seen)


async def main(count: int) -> None:
    async with bench_systems("memory.") as (system,), kafka.admin_client(system.settings) as admin:
        end = await append_backlog(system, count)
        print(f"appended {end:,} raw records", file=sys.stderr, flush=True)
        print(await memory_over(Watcher(admin, {}, system.settings.topic(Topic.RAW)), system, end))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS))
