"""What is said, asked and answered before a command changes something."""

import io
from argparse import Namespace

import pytest

from cli.terminal.consent import unconfirmed
from cli.terminal.output import say

PLANNED, VALUE, ASKED = "3 would go", '{\n  "done": null\n}', "Shall this be done?"


@pytest.mark.parametrize(
    ("given", "anything", "answer", "code", "printed", "asked"),
    [
        ({"dry_run": True}, True, "", 0, PLANNED, False),
        ({"dry_run": True, "json": True}, True, "", 0, VALUE, False),
        ({"dry_run": True, "yes": True}, True, "", 0, PLANNED, False),
        ({}, False, "", 0, PLANNED, False),
        ({"yes": True, "json": True}, False, "", 0, VALUE, False),
        ({"yes": True}, True, "", None, PLANNED, False),
        ({"yes": True, "json": True}, True, "", None, "", False),
        ({}, True, "yes\n", None, PLANNED, True),
        ({}, True, "Y\n", None, PLANNED, True),
        ({}, True, "no\n", 1, PLANNED, True),
        ({}, True, "", 1, PLANNED, True),
    ],
)
def test_what_is_done_is_agreed_to(
    given: dict[str, bool],
    anything: bool,
    answer: str,
    code: int | None,
    printed: str,
    asked: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    arguments = Namespace(**({"dry_run": False, "yes": False, "json": False} | given))
    assert unconfirmed(arguments, lambda: say(PLANNED), {"done": None}, anything=anything) == code
    said = capsys.readouterr()
    assert (said.out.strip(), ASKED in said.err) == (printed, asked)
