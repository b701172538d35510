"""How far an audit is, as it is shown."""

import io

import msgspec
import pytest

from cli.terminal import audit_progress
from operators.audit.report import Reached


def test_elsewhere_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(audit_progress, "monotonic", lambda: now)
    monkeypatch.setattr("sys.stderr", written := io.StringIO())
    with audit_progress.shown() as tell:
        for done in range(13):
            tell(Reached(3, "comparing shipments", done, 20))
            now += 1
    lines = [msgspec.json.decode(line) for line in written.getvalue().splitlines()]
    assert lines == [{"partition": 3, "doing": "comparing shipments", "done": done, "total": 20} for done in (5, 10)]


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (Reached(4, "reading shipment.state", 20, 20), "partition 4, reading shipment.state"),
        (Reached(None, "counting records", 0, 20), "counting records"),
    ],
)
def test_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch, reached: Reached, said: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr", written := Terminal())
    with audit_progress.shown() as tell:
        tell(Reached(3, "comparing shipments", 5, 20))
        tell(reached)
    assert said in written.getvalue()
    assert "None" not in written.getvalue()
