"""Tells what a chaos run did, at the end of the tests; writes it down where `make chaos` asks for it."""

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

import devstack
from devstack import KafkaCluster, MissingToolError
from tests.conftest import STACK_LINES, lacking
from tests.faults.chaos import Outcome
from tests.faults.report import Test, write_report

OUTCOME: Final = "chaos outcome"
WRITE: Final = "WAYBILL_TEST_WRITE_RELIABILITY"
"""Has docs/reliability.md written: `whole`, or `part`, the sections of this run alone."""


@pytest.fixture
def chaos_outcomes(request: pytest.FixtureRequest) -> Iterator[list[Outcome]]:
    """Takes what is to be told. It goes with the test's report, for a worker has no summary of its own."""
    outcomes: list[Outcome] = []
    yield outcomes
    request.node.user_properties += [(OUTCOME, msgspec.json.encode(outcome).decode()) for outcome in outcomes]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kafka_cluster() -> AsyncIterator[KafkaCluster]:
    """Three brokers for the tests of a file, which may kill them, and leave them running.

    Idle, they would take a tenth of a processor to the end of the run.
    """
    try:
        async with devstack.kafka_cluster(3, lambda _: None) as cluster:
            yield cluster
    except MissingToolError as error:
        lacking(f"no brokers: {error}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = [outcome for report in terminalreporter.getreports("") for outcome in _told(report)]
    for outcome in outcomes:
        terminalreporter.section("nothing lost, nothing twice")
        for line in outcome.lines():
            terminalreporter.write_line(line)
    if write := os.environ.get(WRITE):
        under_load = {report.nodeid for report in terminalreporter.getreports("") if _told(report)}
        tests = [
            Test(report.nodeid, report.outcome, report.duration)
            for kind in ("passed", "failed")
            for report in terminalreporter.getreports(kind)
            if report.when == "call" and "/faults/" in report.nodeid and report.nodeid not in under_load
        ]
        write_report(outcomes, tests, config.stash.get(STACK_LINES, ()), whole=write != "part")


def _told(report: Any) -> list[Outcome]:
    """Return what the test of a report has to tell."""
    if report.when != "teardown":
        return []
    return [msgspec.json.decode(told, type=Outcome) for name, told in report.user_properties if name == OUTCOME]
