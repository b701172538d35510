"""The command line's answers and exit codes that need neither broker nor database."""

import json
import os

import pytest

from cli.main import main


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("WAYBILL_"):
            monkeypatch.delenv(name)


def test_config_shows_the_settings_in_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_INGEST_PORT", "8099")
    monkeypatch.setenv("WAYBILL_DASH_SECRETS", "hunter2")
    assert main(["config"]) == 0
    out = capsys.readouterr().out
    assert "WAYBILL_INGEST_PORT=8099\n" in out
    assert "WAYBILL_DASH_SECRETS=********\n" in out
    assert "hunter2" not in out


def test_config_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["WAYBILL_TOPIC_PARTITIONS"] == "12"


@pytest.mark.parametrize("command", [["config"], ["migrate"], ["topics", "check"], ["ingest"], ["processor"]])
def test_wrong_settings_are_a_line_each_and_exit_2(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_INGEST_PORT", "x")
    monkeypatch.setenv("WAYBILL_LOG_LEVEL", "y")
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "waybill: WAYBILL_INGEST_PORT must be a whole number from 0 to 65535",
        "waybill: WAYBILL_LOG_LEVEL must be one of debug, info, warning, error, critical",
    ]


def test_an_unknown_setting_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WAYBILL_INGEST_PROT", "1")
    assert main(["config"]) == 0
    assert capsys.readouterr().err == "waybill: WAYBILL_INGEST_PROT is not a setting of this version\n"


def test_ingest_without_a_courier_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest"]) == 2
    assert "no courier is on: set WAYBILL_KIRIMINAJA_TOKENS or WAYBILL_DASH_SECRETS" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["topics"], ["config", "--nonsense"]])
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: waybill" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("up", "ingest", "processor", "migrate", "topics", "config"))


def test_a_database_that_is_away_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", f"postgresql://u:hunter2@127.0.0.1:{unused_tcp_port}/d")
    assert main(["migrate"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"waybill: PostgreSQL at postgresql://u:********@127.0.0.1:{unused_tcp_port}/d cannot")


@pytest.mark.parametrize("verb", ["apply", "check"])
def test_a_broker_that_is_away_is_one_line_and_exit_1(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    monkeypatch.setenv("WAYBILL_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{unused_tcp_port}")
    assert main(["topics", verb]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"waybill: Kafka at 127.0.0.1:{unused_tcp_port} cannot be reached:")
