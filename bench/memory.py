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
from runtime import kafka
from schemas.topics import Topic
from tests.integration.system import System

LOOK_SECONDS: Final = 5.0


async def main(count: int) -> None:
    async with bench_systems("memory.") as (system,):
        appended = await append_backlog(system, count)
        print(f"appended {appended} raw records", flush=True)
        async with system.processor() as process:
            seen = await _watch(system, psutil.Process(process.pid), appended)
    print(f"peak RSS {max(seen):.0f} MB; first and last tenth: {_mean(seen, 0):.0f} MB, {_mean(seen, 9):.0f} MB")


async def _watch(system: System, process: psutil.Process, count: int) -> list[float]:
    """Print the memory until every record is applied. Return what was seen, in MB."""
    reader = kafka.new_reader(system.settings, "bench", system.settings.topic(Topic.EVENTS))
    await kafka.start(reader)
    began, events, seen = monotonic(), 0, []
    try:
        parts = reader.assignment()
        next_look = began
        while events < count:
            events += sum(map(len, (await reader.getmany(*parts, timeout_ms=500)).values()))
            if monotonic() >= next_look:
                next_look += LOOK_SECONDS
                seen.append(process.memory_info().rss / 1e6)
                print(f"{monotonic() - began:5.0f} s {events:9} events {seen[-1]:5.0f} MB", flush=True)
    finally:
        await kafka.stop(reader)
    return seen


def _mean(values: list[float], tenth: int) -> float:
    size = max(1, len(values) // 10)
    part = values[tenth * size : (tenth + 1) * size] if tenth < 9 else values[-size:]
    return sum(part) / len(part)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
