"""Waybill beside its peers: the same records, broker, database and machine, one engine after the other, in rounds.

A run is one engine on the whole backlog, from its first commit on for some seconds. What counts is its steady middle.

    python -m bench.compare [--rounds N] [--records N] [--only WORD] [--write]
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bench import engines
from bench.backlog import append_backlog
from bench.engines import Engine, Place, Skipped
from bench.machine import bench_stack, described, empty_database
from bench.page import publish
from bench.steady import Spread, Steady, spread, steady_middle
from bench.watching import Watcher, resident_mb, server_pids
from runtime import kafka, kafka_admin
from schemas.topics import Topic
from tests.integration.system import System, open_system

RECORDS: Final = 660_000
"""What the fastest of them commit in the seconds of a run: none should wait for work."""

ROUNDS: Final = 3

SECONDS: Final = 10.0
"""How long a run is watched at least, from its engine's first commit on."""

SECTION: Final = "comparison"

WHOLE: Final = 3
"""Engine, broker and database: the time of a server that is not ours is not seen."""


class Run(msgspec.Struct, frozen=True):
    """One engine in one round."""

    steady: Steady
    memory_mb: float


Runs = Mapping[str, Sequence[Run]]
"""Each engine's runs by its name, one a round."""


async def run(engine: Engine, name: str, system: System, watcher: Watcher, end: int) -> Run:
    """Run an engine once on the whole backlog."""
    raw, events = system.settings.topic(Topic.RAW), f"{name}.events"
    async with kafka.admin_client(system.settings) as admin:
        await kafka_admin.create_topics(admin, [(events, system.settings.topic_partitions, 1, {})])
    async with (
        empty_database(system.settings.database_url, name) as url,
        engine.start(Place(system, name, raw, events, url)) as running,
    ):
        samples = await watcher.run(running.group, running.pids, SECONDS, end, running.check)
        return Run(steady_middle(samples), resident_mb(running.pids))


async def compare(compared: Sequence[Engine], rounds: int, records: int) -> Runs:
    """Run every engine in each round."""
    runs: dict[str, list[Run]] = defaultdict(list)
    async with bench_stack() as stack:
        system = await open_system(stack.kafka_bootstrap_servers, stack.database_url, "compare.")
        _say(f"appending {records:,} raw records")
        end = await append_backlog(system, records)
        async with kafka.admin_client(system.settings) as admin:
            watcher = Watcher(admin, server_pids(stack), system.settings.topic(Topic.RAW))
            for number in range(1, rounds + 1):
                for place, engine in enumerate(compared):
                    try:
                        done = await run(engine, f"bench-{number}-{place}", system, watcher, end)
                    except Exception as error:
                        error.add_note(f"in round {number}, {engine.name}")
                        raise
                    runs[engine.name].append(done)
                    _say(f"round {number} of {rounds}: {engine.name}: {done.steady.rate:,.0f} records/s")
    return runs


def table(compared: Sequence[Engine], runs: Runs) -> str:
    """Write what was measured as a table in Markdown."""
    servers = list(next(iter(runs.values()))[0].steady.cpu)
    lines = [
        f"| engine | guarantee | records/s | CPU, ms per 1,000 records: {' · '.join(servers)} | together | memory |",
        "|---|---|---|---|---|---|",
    ]
    for engine in compared:
        own = runs[engine.name]
        cpu = [f"{spread([run.steady.cpu[server] for run in own]).median:.1f}" for server in servers]
        whole = spread([run.steady.whole_cpu for run in own])
        memory = spread([run.memory_mb for run in own]).median
        lines.append(
            f"| {engine.name} | {engine.guarantee} | {_told(spread([run.steady.rate for run in own]), ',.0f')} "
            f"| {' · '.join(cpu)} | {_told(whole, '.1f')} | {memory:,.0f} MB |"
        )
    return "\n".join(lines)


class Wanted(msgspec.Struct, frozen=True):
    """A figure of Waybill that is to hold, and its value in each round."""

    what: str
    values: Sequence[float]
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        found = spread(self.values)
        if self.least is not None:
            holds, bound = found.median >= self.least, f"at least {self.least:g}"
        else:
            assert self.most is not None
            holds, bound = found.median <= self.most, f"at most {self.most:g}"
        return f"- {self.what}: {_told(found, '.2f')}; {bound} wanted: {'holds' if holds else 'does not hold'}"


def wanted(runs: Runs) -> list[Wanted]:
    """Return the figures that are to hold, of what was run."""
    ratios = [
        ("one processor / FastStream in batches", engines.WAYBILL, engines.FASTSTREAM_BATCH, 2.5),
        ("one processor / FastStream one by one", engines.WAYBILL, engines.FASTSTREAM_SINGLE, 220),
        ("one processor / quixstreams exactly-once, 5 s", engines.WAYBILL, engines.QUIXSTREAMS, 0.85),
        ("two processors / one", engines.TWO_PROCESSORS, engines.WAYBILL, 1.2),
    ]
    found = []
    for what, ours, other, least in ratios:
        if ours.name in runs and other.name in runs:
            pairs = zip(runs[ours.name], runs[other.name], strict=True)
            found.append(Wanted(what, [mine.steady.rate / its.steady.rate for mine, its in pairs], least=least))
    if own := runs.get(engines.WAYBILL.name):
        found.append(Wanted("ms of CPU per 1,000 records, engine", [run.steady.cpu["engine"] for run in own], most=35))
        if len(own[0].steady.cpu) == WHOLE:
            found.append(
                Wanted("ms of CPU per 1,000 records, together", [run.steady.whole_cpu for run in own], most=70)
            )
    return found


def _told(found: Spread, form: str) -> str:
    return f"{found.median:{form}} ({found.least:{form}} to {found.most:{form}})"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _chosen(word: str) -> tuple[list[Engine], list[str]]:
    """Return the engines whose name holds the word, and why others cannot run."""
    found = [engine for engine in engines.ENGINES if word.lower() in engine.name.lower()]
    if word.lower() not in engines.KAFKA_STREAMS.lower():
        return found, []
    try:
        return [*found, engines.kafka_streams()], []
    except Skipped as reason:
        return found, [f"SKIPPED: {reason}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--only", default="", metavar="WORD", help="engines whose name holds the word")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md too")
    options = parser.parse_args()
    if not engines.PYTHON.exists():
        sys.exit(f"{engines.PYTHON} is missing: `make bench` makes it")
    compared, skipped = _chosen(options.only)
    for line in skipped:
        _say(line)
    runs = asyncio.run(compare(compared, options.rounds, options.records))
    judged = "\n".join(map(str, wanted(runs)))
    measured = f"Measured on {described()}, in {options.rounds} rounds: median (least to most)."
    told = "\n\n".join(filter(None, [measured, table(compared, runs), judged, *skipped]))
    publish(SECTION, told, write=options.write)


if __name__ == "__main__":
    main()
