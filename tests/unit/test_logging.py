"""Logs: one JSON object a line, libraries included, without secrets and without floods."""

import io
import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest
import structlog

from runtime import logging as logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    stream = io.StringIO()
    logs.configure_logging("info", "auto", stream)
    structlog.get_logger().info("hello", partition=3, text="two\nlines", odd=object)
    (line,) = lines(stream)
    assert line["event"] == "hello"
    assert line["level"] == "info"
    assert line["partition"] == 3
    assert str(line["time"]).endswith("Z")


def test_the_level_holds() -> None:
    stream = io.StringIO()
    logs.configure_logging("warning", "json", stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("somewhere").info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_libraries_take_the_same_way() -> None:
    stream = io.StringIO()
    logs.configure_logging("info", "json", stream)
    logging.getLogger("aiokafka.client").error("Unable connect to %s", "broker")
    logging.getLogger("aiokafka.client").info("chatter")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("Unable connect to broker", "aiokafka.client", "error")


def test_what_a_library_repeats_is_written_once_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    logs.configure_logging("info", "json", stream)
    logger = logging.getLogger("aiokafka.client")
    for _ in range(5):
        logger.error("Unable connect to broker")
    logger.error("Unable connect to another")
    now += logs.REPEAT_AFTER
    logger.error("Unable connect to broker")
    written = lines(stream)
    assert [str(line["event"]).rsplit(" ", 1)[1] for line in written] == ["broker", "another", "broker"]
    assert written[-1]["left_out"] == 4


@pytest.mark.parametrize("format_", ["json", "console"])
def test_an_exception_shows_neither_local_variables_nor_rows(format_: str) -> None:
    stream = io.StringIO()
    logs.configure_logging("info", format_, stream)

    secret, row = "".join(["hunt", "er2"]), "".join(["Bu", "di, 0812"])

    def fail(_local: str) -> None:
        raise ValueError(f"null value\nDETAIL:  Failing row contains ({row}).")

    try:
        fail(secret)
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed too")
    text = stream.getvalue()
    assert "null value" in text
    assert secret not in text
    assert row not in text


def test_a_terminal_gets_readable_lines() -> None:
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb") as screen, os.fdopen(follower, "w") as terminal:
        logs.configure_logging("info", "auto", terminal)
        structlog.get_logger().info("hello")
        assert b"hello" in screen.readline()
        logs.configure_logging("info", "json", terminal)
        structlog.get_logger().info("hello")
        assert json.loads(screen.readline())["event"] == "hello"


def test_loggers_follow_when_standard_error_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure_logging("info", "json")
    logger = structlog.get_logger().bind()
    for _ in range(2):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logger.info("hello")
        assert len(lines(stream)) == 1
