"""What is measured in a database that has grown: how its long runs go on, its dead rows, how long its commands take."""

import itertools
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median
from time import monotonic
from typing import Any, Final

import msgspec

from operators.audit.report import COMPARING, Reached, Report, Scope
from operators.audit.run import audit
from operators.decisions.anomalies import PAGE, Wanted, anomalies
from operators.retention.limits import limits_in_force, oldest_letters
from operators.retention.run import Count, Retention
from runtime.appending import open_appender
from runtime.postgres import OPERATOR, open_pool
from runtime.queries import load_queries
from tests.integration.commands import run_here
from tests.integration.system import START, Raw, System, dash, raw_records

TIMES: Final = 5
"""How often a command is run; the median counts. One run before loads its modules."""

WITHIN: Final = 120.0
"""Seconds that a command may take."""

BATCH: Final = 500
"""Rows that are updated together, as by a processor's batch."""

LOOK_SECONDS: Final = 0.5

DAY: Final = timedelta(days=1)

_Q: Final = load_queries("bench", "growth.sql")


class Pace(msgspec.Struct, frozen=True):
    """How a long run went on: shipments a second, in all and in the first and the last tenth of them."""

    shipments: int
    rate: float
    first: float
    last: float


def pace(seen: Sequence[tuple[float, int]]) -> Pace:
    """Return the pace of a run, of which was `seen` at which second how many shipments were done."""
    (started, _), (ended, whole) = seen[0], seen[-1]
    tenth = whole / 10
    return Pace(
        whole,
        whole / (ended - started),
        tenth / (_second(seen, tenth) - started),
        tenth / (ended - _second(seen, whole - tenth)),
    )


def _second(seen: Sequence[tuple[float, int]], done: float) -> float:
    """Return when so many were done: between two looks, by the share."""
    place = next(place for place, (_, count) in enumerate(seen) if count >= done)
    (before, less), (behind, more) = seen[place - 1], seen[place]
    return before + (behind - before) * (done - less) / (more - less)


class _Noted:
    """What was seen of a run: a look for each advance."""

    def __init__(self) -> None:
        self.seen = [(monotonic(), 0)]

    def note(self, done: int) -> None:
        if done > self.seen[-1][1]:
            self.seen.append((monotonic(), done))


async def audited(system: System) -> tuple[Report, Pace]:
    """Audit everything. Return the report and the pace, the looks at the log included."""
    noted, done = _Noted(), dict[int | None, int]()

    def tell(reached: Reached) -> None:
        if reached.doing == COMPARING:
            done[reached.partition] = reached.done
            noted.note(sum(done.values()))

    report = await audit(system.settings, Scope(), tell)
    return report, pace(noted.seen)


async def retired(system: System, most: int) -> tuple[Count, Pace]:
    """Let go what is old, at most so many shipments. A processor must run. Return the pace of retiring."""
    noted = _Noted()
    old, oldest = await limits_in_force(system.settings), await oldest_letters(system.settings)
    async with await open_pool(system.settings, OPERATOR, 2) as pool, open_appender(system.settings) as appender:
        run = Retention(pool, appender, old, oldest, "bench")
        count = await run.run(most, None, lambda line: noted.note(int(line.split()[0])))
    return count, pace(noted.seen)


class Dead(msgspec.Struct, frozen=True):
    """What a day's updates left: dead rows at most, in rows for each hundred live ones, and how the table grew."""

    updates: int
    seconds: float
    most: float
    growth: float
    vacuums: int


async def updated(connection: Any, ids: Sequence[str], updates: int) -> Dead:
    """Update rows of `shipments` as a day's events do, each in another hour than before, and watch the dead ones.

    The day passes in some minutes, so the server looks for tables to be vacuumed once a second, not once a minute.
    """
    await connection.execute("alter system set autovacuum_naptime = '1s'")
    await connection.execute("select pg_reload_conf()")
    before = await connection.fetchrow(_Q["dead_rows"], "shipments")
    size, chance = await connection.fetchval(_Q["size"], "shipments"), Random(0)
    began, started, looked, most = datetime.now(UTC) - DAY, monotonic(), monotonic(), 0.0
    for done in range(0, updates, BATCH):
        await connection.execute(_Q["update_shipments"], chance.sample(ids, BATCH), began + DAY * (done / updates))
        if monotonic() > looked + LOOK_SECONDS:
            looked = monotonic()
            found = await connection.fetchrow(_Q["dead_rows"], "shipments")
            most = max(most, 100 * found["dead"] / found["live"])
    seconds = monotonic() - started
    await connection.execute("alter system reset autovacuum_naptime")
    await connection.execute("select pg_reload_conf()")
    grown = await connection.fetchval(_Q["size"], "shipments") / size
    behind = await connection.fetchrow(_Q["dead_rows"], "shipments")
    return Dead(updates, seconds, most, grown, behind["vacuums"] - before["vacuums"])


async def command_ms(system: System, *arguments: str) -> float:
    """Return how long a command's work takes, its modules loaded: connecting, asking, writing the answer."""
    spent = []
    for _ in range(1 + TIMES):
        started = monotonic()
        said = await run_here(system.environ, *arguments, "--json", within=WITHIN)
        spent.append(1e3 * (monotonic() - started))
        assert said.code == 0 or arguments[0] == "doctor", (arguments, said)
    return median(spent[1:])


def start_ms() -> float:
    """Return how long a command takes before it does anything: Python, and the modules that most need."""
    loading = "import cli.main, cli.commands.shipment, cli.commands.lag"
    spent = []
    for _ in range(TIMES):
        started = monotonic()
        subprocess.run([sys.executable, "-c", loading], check=True)
        spent.append(1e3 * (monotonic() - started))
    return median(spent)


async def anomaly_pages_ms(system: System) -> list[float]:
    """Return how long each page of all anomalies takes, the newest first."""
    spent, seen = [monotonic()], 0
    async with await open_pool(system.settings, OPERATOR, 2) as pool:
        async for _ in anomalies(pool, Wanted()):
            seen += 1
            if seen % PAGE == 0:
                spent.append(monotonic())
    return [1e3 * (behind - before) for before, behind in itertools.pairwise(spent)]


def troubles(count: int) -> list[Raw]:
    """Write webhooks that give so many anomalies, and as many dead letters."""
    records = []
    for number in range(count):
        name = f"T-{number}"
        for minute, word in enumerate(("PREPARING", "TELEPORTED")):
            records += raw_records("dash", dash(name, word, minute), START + timedelta(minutes=minute))
        records += raw_records("dash", b'{"status": "PREPARING", "number": %d}' % number, START)
    return records
