"""What is measured in a database that has grown: how its long runs go on, its dead rows, how long its commands take."""

import itertools
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from random import Random
from statistics import median
from time import monotonic
from typing import Any, Final

import asyncpg
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
from tests.integration.consoles import Console
from tests.integration.system import START, Raw, System, dash, raw_records
from tests.waiting import until

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
    """What a day's updates left, in its first half and in its second one."""

    updates: int
    seconds: float
    most: tuple[float, float]
    """Dead rows at most, for each hundred live ones."""
    size: tuple[float, float]
    """The table's size behind that half, times that before the first."""
    vacuums: tuple[int, int]


class Took(msgspec.Struct, frozen=True):
    """How long a command's work takes, its modules loaded, and of that PostgreSQL's at its statements, in ms."""

    whole: float
    statements: float

    def __str__(self) -> str:
        """Say both."""
        return f"{self.whole:,.0f} ({self.statements:,.0f})"


async def updated(connection: Any, ids: Sequence[str], updates: int) -> Dead:
    """Update rows of `shipments` as a day's events do, each in another hour than before, and watch the dead ones.

    The day passes in some minutes, so the server looks for tables to be vacuumed once a second, not once a minute.
    """
    await connection.execute("alter system set autovacuum_naptime = '1s'")
    await connection.execute("select pg_reload_conf()")
    before = await connection.fetchrow(_Q["dead_rows"], "shipments")
    size, chance = await connection.fetchval(_Q["size"], "shipments"), Random(0)
    began, started, looked = datetime.now(UTC) - DAY, monotonic(), monotonic()
    most, grown, vacuums = [0.0, 0.0], [0.0, 0.0], [before["vacuums"]]
    for half in (0, 1):
        for done in range(half * updates // 2, (half + 1) * updates // 2, BATCH):
            await connection.execute(_Q["update_shipments"], chance.sample(ids, BATCH), began + DAY * (done / updates))
            if monotonic() > looked + LOOK_SECONDS:
                looked = monotonic()
                found = await connection.fetchrow(_Q["dead_rows"], "shipments")
                most[half] = max(most[half], 100 * found["dead"] / found["live"])
        grown[half] = await connection.fetchval(_Q["size"], "shipments") / size
        vacuums.append((await connection.fetchrow(_Q["dead_rows"], "shipments"))["vacuums"])
    seconds = monotonic() - started
    await connection.execute("alter system reset autovacuum_naptime")
    await connection.execute("select pg_reload_conf()")
    first, second = (after - before for before, after in itertools.pairwise(vacuums))
    return Dead(updates, seconds, (most[0], most[1]), (grown[0], grown[1]), (first, second))


async def taken(system: System, *arguments: str) -> Took:
    """Return how long a command's work takes: connecting, asking, writing the answer.

    What a processor beside asks is counted with the command's own statements: a millisecond or two.
    """
    spent, busy = [], []
    connection: Any = await asyncpg.connect(system.settings.database_url)

    async def counted() -> bool:
        """Look whether the command's sessions have ended: until then they are not counted."""
        return not await connection.fetchval(_Q["operators"])

    try:
        for _ in range(1 + TIMES):
            before = await connection.fetchval(_Q["busy"])
            started = monotonic()
            said = await run_here(system.environ, *arguments, "--json", within=WITHIN)
            spent.append(1e3 * (monotonic() - started))
            assert said.code == 0 or arguments[0] == "doctor", (arguments, said)
            await until(counted)
            busy.append(await connection.fetchval(_Q["busy"]) - before)
    finally:
        await connection.close()
    return Took(median(spent[1:]), median(busy[1:]))


async def page_ms(console: Console, path: str) -> float:
    """Return how many milliseconds a page of the console takes, from the request to its last byte."""
    spent = []
    for _ in range(1 + TIMES):
        started = monotonic()
        await console.page(path, HTTPStatus.SEE_OTHER if "?q=" in path else HTTPStatus.OK)
        spent.append(1e3 * (monotonic() - started))
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
