"""Secrets and personal data stay where they belong: nothing that is shown, printed or raised holds any."""

import io
import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog

from cli.demo.surroundings import surroundings
from cli.main import main
from ingest.credentials import make_verifier
from ingest.service import routes_of
from processor.core.reading import Unreadable, read
from runtime.logging import configure_logging
from runtime.settings import declared, load_settings
from schemas.couriers import COURIERS
from schemas.records import Provenance, RawRecord
from schemas.vocabulary import Source
from tests.poison import MARK, PHONE_PREFIX, marked_samples, spoilt

SECRET = "hunter2-s3cret"
MASKED = tuple(name for name, setting in declared().items() if setting.mask)
PUBLIC = {courier.tracking.address.name for courier in COURIERS.values() if courier.tracking}
"""Shown as they are: with a secret in them they are refused."""

VALUES = dict.fromkeys(MASKED, SECRET) | {
    "DATABASE_URL": f"postgresql://waybill:{SECRET}@db:5432/waybill",
    "CONSOLE_SESSION_KEY": SECRET * 3,
    "CONSOLE_USERS": f"ani:viewer:$argon2id$v=19${SECRET}",
}
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in os.environ:
        if name.startswith("WAYBILL_"):
            monkeypatch.delenv(name)
    environ = {f"WAYBILL_{name}": value for name, value in VALUES.items()}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_every_setting_that_may_hold_a_secret_is_masked() -> None:
    telling = ("PASSWORD", "SECRET", "TOKEN", "KEY", "URL")
    assert {name for name in declared() if any(word in name for word in telling)} - PUBLIC <= set(MASKED)


@pytest.mark.parametrize("name", sorted(PUBLIC))
@pytest.mark.parametrize("url", [f"https://u:{SECRET}@h", f"https://h/?key={SECRET}", f"https://h/#{SECRET}"])
def test_a_public_setting_takes_no_secret(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"WAYBILL_{name}", url)
    assert main(["config"]) == 2
    printed = capsys.readouterr()
    assert f"WAYBILL_{name} must look like" in printed.err
    assert SECRET not in printed.out + printed.err


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"]])
def test_config_shows_no_secret(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err
    assert printed.out.count("********") == len(MASKED)


def test_config_shows_no_secret_of_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    for name, value in VALUES.items():
        (tmp_path / name).write_text(f"{value}\n")
        monkeypatch.delenv(f"WAYBILL_{name}")
        monkeypatch.setenv(f"WAYBILL_{name}_FILE", str(tmp_path / name))
    assert main(["config"]) == 0
    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("wrong", [f"sha256:{SECRET}", f"{SECRET}\x00", f"{SECRET}\x00,b", f"x://{SECRET}@:h:h/"])
def test_a_wrong_secret_is_not_quoted(
    name: str, wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(f"WAYBILL_{name}")
    monkeypatch.setattr("os.environ", {**os.environ, f"WAYBILL_{name}": wrong})  # a real one takes no NUL
    main(["config"])
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:1/{SECRET}@h/d",
        f"postgresql://u:1@x/{SECRET}@h/d",
        f"postgresql://u:1?{SECRET}@h/d",
        f"postgresql://u:1@x/d?{SECRET}",
        f"postgresql://u:1@x/d?a={SECRET}@h/d",
        f"postgresql://u:1@x/d#{SECRET}@h/d",
        f"postgresql://u:1@x/d#{SECRET}",
        f"postgresql://u:{SECRET}@h:p/d",
    ],
)
def test_a_password_that_tears_its_url_is_refused_unquoted(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", url)
    assert main(["config"]) == 2
    printed = capsys.readouterr()
    assert "WAYBILL_DATABASE_URL must look like" in printed.err
    assert SECRET not in printed.out + printed.err


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:%2F{SECRET}%40%23@h/d",
        f"postgresql://h/d?user=u&password={SECRET}",
        f"postgresql://h/d?user=u&password={SECRET}%40@x",
        f"postgresql://h/d?user=u;password={SECRET}",
        f"postgresql://h/d?user=u&PASSword={SECRET}&sslpassword={SECRET}",
    ],
)
def test_a_password_is_masked_wherever_it_stands(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", url)
    assert main(["config"]) == 0
    assert SECRET not in capsys.readouterr().out


def test_a_broker_written_with_a_password_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (f"u:{SECRET}@h:9092", f"SASL_SSL://u:{SECRET}@h:9092", f"{SECRET}@h:9092"):
        monkeypatch.setenv("WAYBILL_KAFKA_BOOTSTRAP_SERVERS", f"ok:9092,{wrong}")
        assert main(["config"]) == 2
        printed = capsys.readouterr()
        assert "entry 2 is not one" in printed.err
        assert SECRET not in printed.out + printed.err


def test_what_is_printed_of_our_own_objects_holds_no_secret(environ: dict[str, str]) -> None:
    settings = load_settings(environ)
    around = surroundings(
        environ, kafka_bootstrap_servers="k:1", database_url=VALUES["DATABASE_URL"], is_free=bool, free_port=lambda: 1
    )
    verifiers = [make_verifier(COURIERS["dash"].credentials, "X", [SECRET])]
    for shown in (settings, [settings], {"settings": settings}, around, routes_of(settings), verifiers):
        for text in (repr(shown), str(shown), f"{shown}"):
            assert SECRET not in text


@pytest.mark.parametrize("command", [["migrate"], ["topics", "check"]])
def test_stores_that_are_away_are_told_without_passwords(
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unused_tcp_port: int,
) -> None:
    monkeypatch.setenv("WAYBILL_LOG_LEVEL", "debug")
    monkeypatch.setenv("WAYBILL_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("WAYBILL_KAFKA_SASL_USERNAME", "waybill")
    monkeypatch.setenv("WAYBILL_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("WAYBILL_DATABASE_URL", f"postgresql://u:{SECRET}@127.0.0.1:{unused_tcp_port}/d")
    assert main(command) == 1
    printed = capsys.readouterr()
    assert str(unused_tcp_port) in printed.err
    assert SECRET not in printed.out + printed.err


def refusal(detail: str) -> Exception:
    error: Exception = asyncpg.NotNullViolationError("null value in column")
    error.__dict__["detail"] = detail
    error.__dict__["hint"] = "Look at the column."
    return error


@pytest.mark.parametrize("value", [f"({MARK}, 0812)", f"({MARK}\nof two lines {MARK}\n\n{MARK})"])
def test_rows_quoted_by_the_database_are_not_logged(value: str, logged: io.StringIO) -> None:
    log = structlog.get_logger()
    quoting = asyncpg.DataError(f"invalid input for query argument $3: {value} (expected str)")
    for error in (refusal(value), quoting, asyncpg.DataError(f"invalid input syntax for type integer: {value}")):
        for raised in (error, ExceptionGroup("two", [refusal(value), ValueError("two"), error])):
            log.error("failed", exc_info=raised)
            logging.getLogger("asyncpg").error("failed", exc_info=raised)
        log.warning("waiting", reason=str(error))
        logging.getLogger("asyncpg").warning("failed: %s", error)
    text = logged.getvalue()
    assert MARK not in text
    assert text.count("null value in column") >= 4
    assert "Look at the column." in text
    assert "ValueError: two" in text


def test_secrets_of_a_frame_are_not_logged(logged: io.StringIO) -> None:
    def connect(_password: str) -> None:
        raise OSError("refused")

    try:
        connect(SECRET)
    except OSError:
        structlog.get_logger().exception("failed")
        logging.getLogger("aiokafka").exception("failed")
    assert "refused" in logged.getvalue()
    assert SECRET not in logged.getvalue()


def test_why_a_record_is_unreadable_quotes_none_of_it() -> None:
    reasons = set()
    for sample in marked_samples():
        for body in (sample.body, *spoilt(sample)):
            for piece in COURIERS[sample.courier].split(body):
                for partition in (0, 1):
                    reading = read(raw(sample.courier, piece.value, partition), lambda *_: UTC, 2)
                    if isinstance(reading, Unreadable):
                        reasons.add(reading.error.reason)
                        assert MARK not in str(reading.error)
                        assert PHONE_PREFIX not in str(reading.error)
    assert len(reasons) >= 5, "the bodies are not spoilt enough"


@pytest.mark.parametrize("name", ["courier", "source", "item", "received-at"])
def test_an_odd_header_is_not_quoted(name: str) -> None:
    record = msgspec.structs.replace(
        raw("dash", b"{}", 0), headers=(("courier", b"dash"), (name, f"{MARK}/{MARK}".encode()))
    )
    reading = read(record, lambda *_: UTC, 1)
    assert isinstance(reading, Unreadable)
    assert MARK not in reading.error.detail


def raw(courier: str, value: bytes, partition: int) -> RawRecord:
    headers = Provenance(courier=courier, received_at=NOW, source=Source.PUSH).headers()
    return RawRecord(partition, 0, b"key", value, tuple(headers), 0)


def test_the_marks_are_in_the_bodies() -> None:
    """What all searches above rely on."""
    for sample in marked_samples():
        assert json.loads(sample.body) == sample.value
    assert sum(MARK.encode() in sample.body for sample in marked_samples()) > 15
