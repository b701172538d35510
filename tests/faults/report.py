"""Writes docs/reliability.md from what a run tried and found."""

import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import psutil

from tests.faults.chaos import Fault, Outcome

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"

HEAD: Final = """\
# Reliability: what was tried, how often, what came of it

Written by `make chaos`, never by hand. It starts the real services as processes of their own on a real Kafka and a
real PostgreSQL, all of their connections led through proxies, posts webhooks as couriers do (again after a 503 or a
broken connection, until answered 200), and breaks things at random meanwhile. `WAYBILL_TEST_SEED=<seed> make chaos`
repeats the plan of faults; what they hit depends on timing. `make test` runs a short form of the same.
"""

CHECKED: Final = """\
Once everything had healed, this was checked, record by record, against the raw topic read again by the pure planner:

- every item of every webhook answered 200 is in the raw topic (more than once is allowed: a door may repeat itself);
- every raw record is exactly one observation or one dead letter, by its coordinates, and the sums of conservation hold;
- `shipment.events`, read committed, holds exactly the events that the planner derives, field by field (but for the
  time of writing), each once, each shipment's in the order of `version`, without gaps; anomalies likewise;
- `shipment.state` and the rows of `shipments` are the planner's last word, and agree;
- every service ended by SIGTERM within 10 s with exit code 0.
"""


class Test(msgspec.Struct, frozen=True):
    """One test of the fault suite and how it ended."""

    name: str
    outcome: str
    seconds: float


def write_report(outcomes: Sequence[Outcome], tests: Iterable[Test], stack: tuple[str, ...]) -> None:
    """Write the page."""
    sections = [HEAD, _machine(stack), *(_outcome(outcome) for outcome in outcomes), _tests(tests)]
    PAGE.write_text("\n".join(sections))


def _machine(stack: tuple[str, ...]) -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"Last run: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {os.cpu_count()} cores and {memory:.0f} GiB shared by\n"
        f"broker, database and services; Python {platform.python_version()}, {platform.system()}.\n"
        + "; ".join(line.split(", ")[0] for line in stack)
        + ".\n"
    )


def _outcome(outcome: Outcome) -> str:
    rows = [
        f"| {fault} | {outcome.faults[fault]} | {_recovery(outcome.recovery_times(fault))} |"
        for fault in Fault
        if outcome.faults[fault]
    ]
    return "\n".join(
        [
            "## Everything at random, under load",
            "",
            f"Seed {outcome.plan.seed}, {outcome.seconds / 60:.1f} minutes. Nothing was lost, nothing came twice.",
            "",
            "| fault | times | until a new webhook was heard of on every partition: median, longest (measured) |",
            "|---|---|---|",
            *rows,
            "",
            _table("connections", outcome.connections),
            _table("the courier", outcome.courier),
            _table("found at the end", outcome.found),
            _table("lines in the log of", outcome.log_lines),
            CHECKED,
        ]
    )


def _recovery(times: Sequence[float]) -> str:
    return f"{times[len(times) // 2]:.1f} s, {times[-1]:.1f} s ({len(times)})" if times else "not measured by itself"


def _table(title: str, counts: Counter[str] | Mapping[str, int]) -> str:
    rows = "".join(f"| {name} | {count:,} |\n" for name, count in counts.items())
    return f"| {title} | |\n|---|---|\n{rows}"


def _tests(tests: Iterable[Test]) -> str:
    rows = "".join(f"| {_sentence(test.name)} | {test.outcome} | {test.seconds:.0f} s |\n" for test in tests)
    return f"## One fault at a time\n\n| test | | took |\n|---|---|---|\n{rows}"


def _sentence(name: str) -> str:
    return name.rpartition("::")[2].removeprefix("test_").replace("_", " ")
