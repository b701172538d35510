"""A time that is read the fast way reads the same the slow way, and is written as Python writes it."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from unittest.mock import patch
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from schemas import times
from schemas.times import format_time, read_time

ZONES = st.sampled_from(
    [UTC, timezone(timedelta(hours=7)), *map(ZoneInfo, ("Asia/Jakarta", "Europe/Berlin", "Australia/Lord_Howe"))]
)
NEARLY_LOCAL = st.from_regex(r"(?a)2024-(12-27|W52-7|10-27|03-31)[T _][0-9:]{5}[0-9:., ]{3}", fullmatch=True)
NEARLY = st.from_regex(
    r"(?a)2024-(12-27|W52-7|0[0-9]-[0-9]{2})[T ][0-9]{2}:?[0-9]{2}[0-9:.,+ ]{0,12}[Zz]", fullmatch=True
)


@given(NEARLY)
@example("2024-12-27T14:07:49Z")
@example("2024-12-27T14:07:49.30 Z")
@example("2024-12-27T14:07:49,300Z")
@example("2024-12-27T140749.12345678Z")
@example("2024-W52-7T14:07:49Z")
@example("20241227T140749.3000Z")
@example('2024-12-27T14:07:49"Z')
@example("2024-12-27T14:07:49+0Z")
@example("2024-12-27T24:00:00Z")
@example("0000-12-27T14:07:49Z")
@example("2024-12-27T14:07:60Z")
@example("2024-12-27T14:07:49.30\ud800Z")
@example("2024-12-27T14:07:49.30éZ")
def test_a_usual_time_reads_the_same_the_slow_way(text: str) -> None:
    found = read_time(text, UTC)
    with patch.object(times, "_USUAL_LENGTHS", frozenset()):
        assert read_time(text, UTC) == found


@given(NEARLY_LOCAL, ZONES)
@example("2024-12-27 14:07:49", UTC)
@example("2024-W52-7 14:07:49", UTC)
@example("2024-12-27 14:07:4\u0669", UTC)
@example("2024-12-27 14:07:\ud80049"[:19], UTC)
@example("2024-12-27 24:00:00", UTC)
def test_a_local_time_reads_the_same_the_slow_way(text: str, zone: tzinfo) -> None:
    found = read_time(text, zone)
    with patch.object(times, "_LOCAL", None):
        assert read_time(text, zone) == found


@given(st.datetimes(), ZONES)
@example(datetime.fromisoformat("2024-03-31 02:30:00"), ZoneInfo("Europe/Berlin"))  # no clock showed it
@example(datetime.fromisoformat("2024-10-27 02:30:00"), ZoneInfo("Europe/Berlin"))  # clocks showed it twice
@example(datetime.fromisoformat("0001-01-01 00:00:00"), ZoneInfo("Asia/Jakarta"))
def test_a_local_time_is_its_zones(local: datetime, zone: tzinfo) -> None:
    try:
        expected = local.replace(tzinfo=zone, fold=0).astimezone(UTC), False
    except OverflowError:
        expected = None
    assert read_time(local.isoformat(" "), zone) == expected


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_written_with_microseconds(moment: datetime) -> None:
    assert format_time(moment) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
