"""What commands print commands no terminal, whatever couriers write, and JSON keeps its value."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from cli.demo.live import Live
from cli.terminal import output, tables
from cli.terminal.console import GuardedConsole
from runtime import logging as logs
from runtime.printable import printable, printable_json, printable_lines
from schemas.events import Anomaly, Event
from tests.hostile import HOSTILE, commanding
from tests.unit.schemas.examples import EXAMPLES


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


texts = st.text(st.characters(codec="utf-8") | st.sampled_from(HOSTILE))


@given(texts)
def test_a_printable_text_is_one_line_without_anything_unseen(text: str) -> None:
    shown = printable(text)
    assert commanding(shown) == []
    assert "\n" not in shown
    if text.isascii() and text.isprintable():
        assert shown == text


@given(texts)
def test_our_own_lines_and_tabs_stay(text: str) -> None:
    assert set(commanding(printable_lines(text))) <= {"\t"}
    assert printable_lines(text).count("\n") == text.count("\n")


@given(st.recursive(texts | st.integers() | st.none(), lambda below: st.lists(below) | st.dictionaries(texts, below)))
def test_json_keeps_its_value(value: Any) -> None:
    for encoded in (msgspec.json.encode(value), msgspec.json.format(msgspec.json.encode(value), indent=2)):
        shown = printable_json(encoded.decode())
        assert commanding(shown) == []
        assert json.loads(shown) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202eevil\u2069", r"\u202eevil\u2069"),
        ("zero\u200bwidth\u2060\ufeff", r"zero\u200bwidth\u2060\ufeff"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("filler\u3164\ufe0f\u034f", r"filler\u3164\ufe0f\u034f"),
        ("\U000e0041 tag", r"\U000e0041 tag"),
        ("\udcff of the command line", r"\udcff of the command line"),
        ("Jl. Sudirman → Köln, 東京 📦", "Jl. Sudirman → Köln, 東京 📦"),
    ],
)
def test_what_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def _table_on_a_terminal(text: str) -> None:
    stdout = sys.stdout
    stdout.isatty = lambda: True  # type: ignore[method-assign]
    tables.say_table(("heading",), [(text,), (None,)])


def _rich_table(text: str) -> None:
    table = Table("heading", text)
    table.add_row(text, text)
    GuardedConsole(file=sys.stdout, width=300, no_color=True).print(table, text)


def _ask(text: str) -> None:
    output.ask(text)


PRINTED: dict[str, Callable[[str], object]] = {
    "say": output.say,
    "say_json": lambda text: output.say_json({text: [text]}),
    "say_json_line": lambda text: output.say_json_line({text: [text]}),
    "complain": lambda text: output.complain(text, text),
    "progress_json": lambda text: output.progress_json({text: text}),
    "ask": _ask,
    "table": lambda text: tables.say_table(("heading",), [(text,), (None,)]),
    "table on a terminal": _table_on_a_terminal,
    "rich": _rich_table,
    "usage": lambda text: output.Parser(prog=text, description=text).print_help(),
}


@pytest.mark.parametrize("way", PRINTED)
def test_every_way_of_printing_guards(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    monkeypatch.setenv("TERM", "dumb")  # rich's own colours are not what is looked for
    PRINTED[way](HOSTILE)
    assert out.getvalue()
    assert set(commanding(out.getvalue())) <= ({"\t"} if way == "usage" else set())


@pytest.mark.parametrize("way", ["say", "complain", "table", "table on a terminal"])
def test_no_text_begins_a_line_of_its_own(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", out)
    PRINTED[way]("harmless\nwaybill: all is well")
    assert not any(line.startswith("waybill: all is well") for line in out.getvalue().splitlines())


def test_the_live_view_guards() -> None:
    out = io.StringIO()
    live = Live(GuardedConsole(file=out, width=300, highlight=False))
    event = msgspec.json.decode((EXAMPLES / "shipment.events.v1.001.json").read_bytes(), type=Event)
    live.event(msgspec.structs.replace(event, shipment_id=HOSTILE, courier_status=HOSTILE))
    anomaly = msgspec.json.decode((EXAMPLES / "shipment.anomalies.v1.001.json").read_bytes(), type=Anomaly)
    live.anomaly(msgspec.structs.replace(anomaly, shipment_id=HOSTILE, courier_status=HOSTILE))
    live.line(HOSTILE)
    live.note(HOSTILE, HOSTILE)
    assert commanding(out.getvalue()) == []
    assert out.getvalue().count("\n") == 4


@pytest.mark.parametrize("format_", ["console", "json"])
def test_lines_of_the_log_guard(format_: str, restored: None) -> None:
    out = io.StringIO()
    logs.configure_logging("info", format_, out)
    log = structlog.get_logger("test")
    log.info(HOSTILE, word=HOSTILE, words=[HOSTILE], named={HOSTILE: HOSTILE})
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    logging.getLogger("library").warning("says %s", HOSTILE)
    assert set(commanding(out.getvalue())) <= {"\t"}
    if format_ == "json":
        told = json.loads(out.getvalue().splitlines()[0])
        assert told["event"] == told["word"] == told["words"][0] == HOSTILE


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_is_gone_is_no_failure(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[io.StringIO] = []

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(f"sys.{stream}", Gone())
    monkeypatch.setattr(output, "unheard", gone.append)
    if stream == "stderr":
        output.complain("nobody hears")
        assert gone == [sys.stderr]
    else:
        with pytest.raises(output.UnheardError):
            output.say("nobody hears")
