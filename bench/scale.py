"""How rates, claims and idling change with the number of processors and partitions, all on one machine; and a model.

For each layout a system of its own works off a backlog, then idles, then loses one of its processors in an orderly way:

    python -m bench.scale [--records N] [--processors 1,2,4] [--partitions 4,12,48,200] [--write]

The model takes what a record costs each server from the layout of one processor and few partitions.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from math import ceil
from time import monotonic
from typing import Final

import msgspec

from bench.backlog import append_backlog
from bench.machine import bench_stack, described, empty_database
from bench.page import markdown, publish
from bench.steady import Steady, steady_middle
from bench.watching import Watcher, cpu_seconds, server_pids
from devstack import Stack
from runtime import kafka
from schemas.topics import Topic
from tests.integration.system import System, open_system
from tests.waiting import until

PROCESSORS: Final = (1, 2, 4)
PARTITIONS: Final = (4, 12, 48, 200)
RECORDS: Final = 60_000
SECONDS: Final = 8.0
"""How long a backlog is watched at least."""

IDLE_SECONDS: Final = 5.0

CLAIMS_SECONDS: Final = 120.0
"""How long all partitions may take to be claimed."""

SECTION: Final = "scale"

RATES: Final = (100, 1_000, 10_000, 100_000)
"""Records a second that the model is asked about. 100 are 1,400,000 parcels of six webhooks a day."""

BUSY: Final = 0.6
"""How much of a core the model lets a process take: what is busier makes others wait."""

STORED_BYTES: Final = 850
"""What a record takes in PostgreSQL: `bench.storage` says 5,075 for a shipment of six."""


MODEL: Final = (
    f"What rates take, computed from the first line, each process {BUSY:.0%} busy, servers on machines of their own:"
)


HEAD: Final = (
    "processors",
    "partitions",
    "records/s",
    "CPU, µs a record: engine · Kafka · PostgreSQL",
    "all claimed within",
    "taken over within",
    "idle, cores",
)


class Layout(msgspec.Struct, frozen=True):
    """How many processors share how many partitions."""

    processors: int
    partitions: int


class Seen(msgspec.Struct, frozen=True):
    """What a layout came to: its steady rate and costs, and seconds until all was claimed or taken over.

    `idle` is the CPU of all servers together while nothing comes, in cores.
    """

    layout: Layout
    steady: Steady
    claimed_in: float
    moved_in: float | None
    idle: float


async def claims(system: System) -> dict[int, int]:
    """Return the newest claim of each partition, by its epoch."""
    return dict(await system.rows("select raw_partition, epoch from cursors"))


async def seen(stack: Stack, layout: Layout, records: int) -> Seen:
    """Run one layout."""
    name = f"scale-{layout.processors}-{layout.partitions}"
    async with empty_database(stack.database_url, name) as url, AsyncExitStack() as running:
        system = await open_system(stack.kafka_bootstrap_servers, url, f"{name}.", layout.partitions)
        end = await append_backlog(system, records)
        admin = await running.enter_async_context(kafka.admin_client(system.settings))
        servers = server_pids(stack)
        watcher = Watcher(admin, servers, system.settings.topic(Topic.RAW))
        began = monotonic()
        processors = [await running.enter_async_context(system.processor()) for _ in range(layout.processors)]
        pids = [each.pid for each in processors]

        async def all_claimed() -> bool:
            return len(await claims(system)) == layout.partitions

        claiming = asyncio.create_task(until(all_claimed, CLAIMS_SECONDS))
        samples = await watcher.run(system.settings.group_id, pids, SECONDS, end, _check_nothing)
        await claiming
        claimed_in = monotonic() - began
        await until(system.caught_up)
        spent = sum(map(cpu_seconds, (*pids, *servers.values())))
        await asyncio.sleep(IDLE_SECONDS)
        idle = (sum(map(cpu_seconds, (*pids, *servers.values()))) - spent) / IDLE_SECONDS
        moved_in = None
        if layout.processors > 1:
            before, left = await claims(system), monotonic()
            processors[0].terminate()

            async def taken_over() -> bool:
                moved = dict(set((await claims(system)).items()) - set(before.items()))
                return len(moved) >= layout.partitions // layout.processors

            await until(taken_over, CLAIMS_SECONDS)
            moved_in = monotonic() - left
        return Seen(layout, steady_middle(samples), claimed_in, moved_in, idle)


def _check_nothing() -> None:
    """A processor that has ended is seen by its partitions, which others take over."""


def table(found: Sequence[Seen]) -> str:
    """Write what was seen as a table in Markdown."""
    return markdown(
        HEAD,
        [
            [
                f"{each.layout.processors}",
                f"{each.layout.partitions}",
                f"{each.steady.rate:,.0f}",
                " · ".join(f"{cost:.0f}" for cost in each.steady.cpu.values()),
                f"{each.claimed_in:.1f} s",
                "" if each.moved_in is None else f"{each.moved_in:.1f} s",
                f"{each.idle:.2f}",
            ]
            for each in found
        ],
    )


def model(steady: Steady) -> str:
    """Write what rates take, with servers on machines of their own, from what a record costs each of them here."""
    return markdown(
        ["records/s", "processors", "Kafka, cores", "PostgreSQL, cores", "PostgreSQL grows by, a day"],
        [
            [
                f"{rate:,}",
                *(f"{ceil(rate * steady.cpu[who] / 1e6 / BUSY):,}" for who in ("engine", "Kafka", "PostgreSQL")),
                f"{rate * STORED_BYTES * 86_400 / 1e9:,.0f} GB",
            ]
            for rate in RATES
        ],
    )


async def main(layouts: Sequence[Layout], records: int) -> list[Seen]:
    """Run every layout."""
    found = []
    async with bench_stack() as stack:
        for layout in layouts:
            found.append(await seen(stack, layout, records))
            print(table(found[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--processors", type=_numbers, default=PROCESSORS)
    parser.add_argument("--partitions", type=_numbers, default=PARTITIONS)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    chosen = parser.parse_args()
    wanted = [Layout(many, partitions) for partitions in chosen.partitions for many in chosen.processors]
    found = asyncio.run(main(wanted, chosen.records))
    text = "\n\n".join([f"Measured on {described()}.", table(found), MODEL, model(found[0].steady)])
    publish(SECTION, text, write=chosen.write)
