"""Tells what a chaos run did, at the end of the tests; writes it down where `make chaos` asks for it."""

import os
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest

from tests.conftest import STACK_LINES
from tests.faults.chaos import Outcome
from tests.faults.report import Test, write_report

OUTCOME: Final = "chaos outcome"
WRITE: Final = "WAYBILL_TEST_WRITE_RELIABILITY"
"""Set to write docs/reliability.md."""


@pytest.fixture
def chaos_outcomes(request: pytest.FixtureRequest) -> Iterator[list[Outcome]]:
    """Takes what is to be told. It goes with the test's report, for a worker has no summary of its own."""
    outcomes: list[Outcome] = []
    yield outcomes
    request.node.user_properties += [(OUTCOME, msgspec.json.encode(outcome).decode()) for outcome in outcomes]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = [
        msgspec.json.decode(told, type=Outcome, dec_hook=lambda type_, value: type_(value))
        for report in terminalreporter.getreports("")
        if report.when == "teardown"
        for name, told in report.user_properties
        if name == OUTCOME
    ]
    for outcome in outcomes:
        terminalreporter.section("chaos: nothing lost, nothing twice")
        for line in outcome.lines():
            terminalreporter.write_line(line)
    if os.environ.get(WRITE):
        tests = [
            Test(report.nodeid, report.outcome, report.duration)
            for kind in ("passed", "failed")
            for report in terminalreporter.getreports(kind)
            if report.when == "call" and "/faults/" in report.nodeid and "test_chaos" not in report.nodeid
        ]
        write_report(outcomes, tests, config.stash.get(STACK_LINES, ()))
