"""Writes docs/reliability.md from what runs tried and found."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import psutil

from tests.faults.chaos import Outcome

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"

HEAD: Final = """\
# Reliability: what was tried, how often, what came of it

Written by `make chaos`, never by hand. It starts the real services as processes of their own on a real Kafka and a
real PostgreSQL, posts webhooks as couriers do (again after a 503 or a broken connection, until answered 200), and
breaks things meanwhile. `WAYBILL_TEST_SEED=<seed> make chaos` repeats the plan of faults; what they hit depends on
timing. `make test` runs short forms of the same.

Once everything had healed, this was checked after each run under load, record by record, against the raw topic read
again by the pure planner:

- every item of every webhook answered 200 is in the raw topic (more than once is allowed: a door may repeat itself);
- every raw record is exactly one observation or one dead letter, by its coordinates, and the sums of conservation hold;
- `shipment.events`, read committed, holds exactly the events that the planner derives, field by field (but for the
  time of writing), each once, each shipment's in the order of `version`, without gaps; anomalies likewise;
- `shipment.state` and the rows of `shipments` are the planner's last word, and agree;
- every service ended by SIGTERM within 10 s with exit code 0.
"""

ONE_BY_ONE: Final = "One fault at a time"
_BREAK: Final = "\n## "


class Test(msgspec.Struct, frozen=True):
    """One test of the fault suite and how it ended."""

    name: str
    outcome: str
    seconds: float


def write_report(outcomes: Sequence[Outcome], tests: Sequence[Test], stack: tuple[str, ...], *, whole: bool) -> None:
    """Write the page anew, or, not `whole`, only the sections of these runs: the others stay as they are."""
    machine = _machine(stack)
    sections = {outcome.title: _outcome(outcome, machine) for outcome in outcomes}
    if tests:
        sections[ONE_BY_ONE] = _tests(tests, machine)
    PAGE.write_text(page(sections) if whole else page(sections_of(PAGE.read_text()) | sections))


def page(sections: Mapping[str, str]) -> str:
    """Return the page with these sections, by heading. The single faults come last."""
    ordered = sorted(sections, key=lambda heading: heading == ONE_BY_ONE)
    return HEAD + "".join(f"{_BREAK}{heading}\n\n{sections[heading]}" for heading in ordered)


def sections_of(text: str) -> dict[str, str]:
    """Return the sections of a page, by heading."""
    _, *sections = text.split(_BREAK)
    return {heading: body for heading, _, body in (section.partition("\n\n") for section in sections)}


def _machine(stack: tuple[str, ...]) -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"Run on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {os.cpu_count()} cores and {memory:.0f} GiB shared by\n"
        f"brokers, database and services; Python {platform.python_version()}, {platform.system()}.\n"
        + "".join(f"{line.split(', ')[0]}.\n" for line in stack)
    )


def _outcome(outcome: Outcome, machine: str) -> str:
    rows = [
        f"| {fault} | {times} | {outcome.recovery(fault) or 'not measured by itself'} |"
        for fault, times in outcome.faults.items()
    ]
    return "\n".join(
        [
            outcome.about,
            f"{outcome.seconds / 60:.1f} minutes. Nothing was lost, nothing came twice.",
            "",
            machine,
            "| fault | times | until a new webhook was heard of on every partition: median, longest (measured) |",
            "|---|---|---|",
            *rows,
            "",
            "\n".join(_table(heading, counts) for heading, counts in outcome.counts.items()),
        ]
    )


def _table(title: str, counts: Mapping[str, int]) -> str:
    rows = "".join(f"| {name} | {count:,} |\n" for name, count in counts.items())
    return f"| {title} | |\n|---|---|\n{rows}"


def _tests(tests: Sequence[Test], machine: str) -> str:
    rows = "".join(f"| {_sentence(test.name)} | {test.outcome} | {test.seconds:.0f} s |\n" for test in tests)
    return f"{machine}\n| test | | took |\n|---|---|---|\n{rows}"


def _sentence(name: str) -> str:
    return name.rpartition("::")[2].removeprefix("test_").replace("_", " ")
