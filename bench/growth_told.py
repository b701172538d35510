"""What is told of a database that has grown, and what of it is to hold. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bench.compare import Wanted
from bench.growing import Dead, Pace, Took
from bench.machine import described
from bench.resident import Memory
from bench.steady import Spread, Steady, spread

COMMAND_MS: Final = 300
"""Within how many milliseconds a person takes an answer for immediate."""

SLOPE_MB: Final = 25
"""By how much a processor's memory may seem to grow: two looks in a row differ by 10 MB. Whatever was kept of each
record would take more, its coordinates alone some 100 MB."""


DEAD_ROWS: Final = 1.5
"""By how much more rows may be dead later on. The day is pressed into a minute, with a few vacuums for each half, so
that one which comes late shows. Where none came there would be twice as many."""


LEAST_DEAD: Final = 1.0
"""Dead rows for 100 live ones: fewer are none."""


class Grown(msgspec.Struct, frozen=True):
    """What was measured."""

    shipments: int
    filled_in: float
    bytes: Mapping[str, float]
    """A shipment's, by table."""
    rates: Sequence[tuple[Steady, Steady]]
    """Of the empty and the filled database, a round each."""
    memory: Memory
    commands: Mapping[str, tuple[Took, Took]]
    """In the empty and the filled database."""
    pages: Mapping[str, float]
    """Of the console, in the filled one."""
    start: float
    anomaly_pages: Sequence[float]
    audit: Pace
    retention: Pace
    dead: Dead


def wanted(found: Grown) -> list[Wanted]:
    """Return the figures that are to hold."""
    return [
        Wanted("records/s, filled / empty", [filled.rate / empty.rate for empty, filled in found.rates], least=0.9),
        Wanted(
            "CPU a record, filled / empty",
            [filled.whole_cpu / empty.whole_cpu for empty, filled in found.rates],
            most=1.11,
        ),
        Wanted(
            "ms of PostgreSQL for the slowest command, filled",
            [max(took.statements for _, took in found.commands.values())],
            most=COMMAND_MS,
        ),
        Wanted("ms for the console's slowest page, filled", [max(found.pages.values())], most=COMMAND_MS),
        Wanted("audit, last tenth / first tenth", [found.audit.last / found.audit.first], least=0.8),
        Wanted("retention, last tenth / first tenth", [found.retention.last / found.retention.first], least=0.8),
        Wanted("memory, MB more for each million records", [found.memory.slope], most=SLOPE_MB),
        Wanted("`shipments` after a day's updates / before", [found.dead.size[1]], most=1.2),
        Wanted(
            "most dead rows, second half of the day / first half",
            [found.dead.most[1] / max(found.dead.most[0], LEAST_DEAD)],
            most=DEAD_ROWS,
        ),
    ]


def told(found: Grown) -> str:
    """Write the section of the page, in Markdown."""
    judged = "\n".join(map(str, wanted(found)))
    return "\n\n".join([f"Measured on {described()}.", _table(found), _facts(found), judged])


def _table(found: Grown) -> str:
    empty, filled = (spread([pair[place].rate for pair in found.rates]) for place in (0, 1))
    cpu = [_cpu([pair[place] for pair in found.rates]) for place in (0, 1)]
    servers = " · ".join(found.rates[0][0].cpu)
    lines = [
        f"| | empty | {found.shipments:,} shipments |",
        "|---|---|---|",
        f"| records/s of one processor | {_rate(empty)} | {_rate(filled)} |",
        f"| CPU, ms per 1,000 records: {servers} | {cpu[0]} | {cpu[1]} |",
        *(f"| {name}, ms | {before} | {behind} |" for name, (before, behind) in found.commands.items()),
        *(f"| the console's {name}, ms | | {took:,.0f} |" for name, took in found.pages.items()),
    ]
    return "\n".join(lines)


def _rate(found: Spread) -> str:
    return f"{found.median:,.0f} ({found.least:,.0f} to {found.most:,.0f})"


def _cpu(runs: Sequence[Steady]) -> str:
    return " · ".join(f"{spread([run.cpu[server] for run in runs]).median:.1f}" for server in runs[0].cpu)


def _facts(found: Grown) -> str:
    stored, pages, dead = sum(found.bytes.values()), found.anomaly_pages, found.dead
    sizes = ", ".join(f"`{table}` {size:,.0f}" for table, size in found.bytes.items())
    left = "; ".join(
        f"at most {most:.1f} dead rows for 100 live ones, {vacuums} vacuums, `shipments` has grown by {size - 1:.0%}"
        for most, vacuums, size in zip(dead.most, dead.vacuums, dead.size, strict=True)
    )
    facts = [
        f"Stored by SQL in {found.filled_in:,.0f} s: {stored:,.0f} bytes a shipment ({sizes}).",
        f"A command's time, with PostgreSQL's part in brackets, begins when it has started, in {found.start:,.0f} ms.",
        f"The first page of all anomalies takes {pages[0]:,.0f} ms, the last of {len(pages)} {pages[-1]:,.0f} ms.",
        f"`waybill audit` compares {_pace(found.audit)}.",
        f"`waybill retention` retires {_pace(found.retention)}.",
        f"A processor's memory: {found.memory}.",
        f"A day's {dead.updates:,} updates in {dead.seconds:,.0f} s, by halves: {left}.",
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def _pace(found: Pace) -> str:
    tenths = _tenths(f"{found.first:,.0f}", f"{found.last:,.0f}")
    return f"{found.shipments:,} shipments at {found.rate:,.0f} a second: {tenths}"


def _tenths(first: str, last: str) -> str:
    return f"{first} in the first tenth, {last} in the last"
