"""Times, durations and numbers on the command line."""

import argparse
from datetime import UTC, datetime, timedelta

import pytest

from cli.main import command_line, main
from cli.terminal.arguments import length, moment, most_listed, positive, why

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1h30m", timedelta(minutes=90)),
        ("1d12h30m", timedelta(days=1, hours=12, minutes=30)),
        ("1.5h", timedelta(minutes=90)),
        (" 500ms ", timedelta(milliseconds=500)),
    ],
)
def test_a_duration_counts_back_from_now(text: str, ago: timedelta) -> None:
    assert moment(text, NOW) == NOW - ago
    assert length(text) == ago


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T08:30:00Z", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
        ("2026-11-23t08:30:00.25z", datetime(2026, 11, 23, 8, 30, 0, 250000, tzinfo=UTC)),
        ("2026-11-23T15:30:00+07:00", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
        ("2026-11-23 08:30:00+00:00", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339(text: str, at: datetime) -> None:
    found = moment(text, NOW)
    assert found == at
    assert found.utcoffset() == timedelta(0)


def test_without_a_now_the_clock_counts() -> None:
    assert abs(moment("1h") - (datetime.now(UTC) - timedelta(hours=1))) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yesterday", "neither a time"),
        ("", "neither a time"),
        ("2h ago", "neither a time"),
        ("-2h", "neither a time"),
        ("0s", "neither a time"),
        ("2026-13-01T00:00:00Z", "neither a time"),
        ("2026-11-23", "neither a time"),
        ("2026-11-23T08:30:00", "has no zone"),
        ("9000000d", "too long ago"),
    ],
)
def test_anything_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=says):
        moment(text, NOW)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "1000000000"])
def test_numbers_are_whole_and_above_nothing(text: str) -> None:
    assert positive(" 12 ") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        positive(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tail", "--since", "yesterday"],
        ["tail", "--topic", "state", "--type", "status_changed"],
        ["tail", "--courier", "nobody"],
        ["shipment", "list", "--status", "GONE"],
        ["shipment", "list", "--stale-for", "long"],
        ["shipment", "list", "--limit", "0"],
        ["shipment", "show"],
        ["completion", "telepathy"],
    ],
)
def test_wrong_usage_is_2_and_says_why(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert "waybill" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (["dlq", "list"], 100),
        (["dlq", "list", "--json"], None),
        (["dlq", "list", "--json", "--limit", "5000"], 5_000),
        (["anomalies", "list"], 100),
        (["anomalies", "list", "--json"], None),
        (["anomalies", "list", "--limit", "7"], 7),
    ],
)
def test_lists_are_some_screens_long_for_people_and_whole_for_programs(words: list[str], limit: int | None) -> None:
    assert most_listed(command_line({words[0]}).parse_args(words)) == limit


@pytest.mark.parametrize("text", ["", " ", "x" * 2_001, "nul\x00", "\ud800"])
def test_a_reason_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="1 to 2000 characters"):
        why(text)


def test_a_reason_is_kept_as_it_is() -> None:
    assert why(" because ") == " because "
