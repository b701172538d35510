"""Tells what a chaos run did, at the end of the tests; writes it down where `make chaos` asks for it."""

import os
from typing import Final

import pytest

from tests.conftest import STACK_LINES
from tests.faults.chaos import Outcome
from tests.faults.report import Test, write_report

OUTCOMES: Final = pytest.StashKey[list[Outcome]]()
WRITE: Final = "WAYBILL_TEST_WRITE_RELIABILITY"
"""Set to write docs/reliability.md."""


@pytest.fixture
def chaos_outcomes(pytestconfig: pytest.Config) -> list[Outcome]:
    """Takes what is to be told."""
    return pytestconfig.stash.setdefault(OUTCOMES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash.get(OUTCOMES, [])
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
