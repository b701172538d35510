"""Couriers' times, as they are written and as they are read."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import EARLIEST, LATEST, format_time, milliseconds, moment_of, read_time

JAKARTA = ZoneInfo("Asia/Jakarta")


@pytest.mark.parametrize(
    ("text", "moment", "zoned"),
    [
        ("2024-12-27T14:18:17Z", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27T14:18:17.128Z", "2024-12-27T14:18:17.128000Z", True),
        ("2024-01-10T08:21:28.301662Z", "2024-01-10T08:21:28.301662Z", True),
        ("2024-12-27T14:18:17.1Z", "2024-12-27T14:18:17.100000Z", True),
        ("2024-12-27T14:18:17.123456789Z", "2024-12-27T14:18:17.123456Z", True),
        ("2024-12-27T14:18:17.999999999Z", "2024-12-27T14:18:17.999999Z", True),
        ("2024-12-27T14:18:17z", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27 14:18:17Z", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27 14:18:17 Z", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27T14:18:17+00:00", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27T21:18:17+07:00", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27T21:18:17.5+0700", "2024-12-27T14:18:17.500000Z", True),
        ("2024-12-27T21:18:17+07", "2024-12-27T14:18:17.000000Z", True),
        ("2024-12-27T09:48:17-04:30", "2024-12-27T14:18:17.000000Z", True),
        ("2022-05-05 00:00:00", "2022-05-04T17:00:00.000000Z", False),
        ("2022-05-05T00:00:00", "2022-05-04T17:00:00.000000Z", False),
        ("2022-05-05 00:00:00.25", "2022-05-04T17:00:00.250000Z", False),
        ("2022-05-05 00:00", "2022-05-04T17:00:00.000000Z", False),
        (" 2022-05-05 00:00:00\n", "2022-05-04T17:00:00.000000Z", False),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z", True),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", True),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", True),
    ],
)
def test_readable(text: str, moment: str, zoned: bool) -> None:
    found = read_time(text, JAKARTA)
    assert found is not None
    assert (format_time(found[0]), found[1]) == (moment, zoned)
    assert found[0].utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", 0, 1735308506306, 1735308506.5, True, [], {}, ["2024-12-27T14:18:17Z"],
        "garbage", "0000-00-00 00:00:00", "0000-01-01T00:00:00Z", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z",
        "2024-12-27T24:00:00Z", "2024-12-27T14:60:00Z", "2016-12-31T23:59:60Z", "2024-12-27", "14:18:17",
        "2024-12-27T14:18:17+25:00", "2024-12-27T14:18:17 Asia/Jakarta", "12024-12-27T14:18:17Z", "27-12-2024 14:18:17",
        "0001-01-01 00:00:00", "0001-01-01T00:00:00+07:00", "9999-12-31T23:59:59-07:00", "2024-12-27T14:18:17Z\x00",
        "2024-12-27T14:18:17ZZ", "２０２４-12-27T14:18:17Z", "2024-12-27T14:18:17.Z", "1735308506",
    ],
)  # fmt: skip
def test_unreadable(value: object) -> None:
    assert read_time(value, JAKARTA) is None


def test_dash_times_without_a_zone_are_utc() -> None:
    assert read_time("2024-12-27T14:18:17", UTC) == (datetime(2024, 12, 27, 14, 18, 17, tzinfo=UTC), False)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 12, 27, 14, 18, 17, tzinfo=UTC), "2024-12-27T14:18:17.000000Z"),
        (datetime(2024, 12, 27, 14, 18, 17, 5, UTC), "2024-12-27T14:18:17.000005Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(0))), "2024-01-01T00:00:00.000000Z"),
    ],
)
def test_written_times_are_always_27_characters(moment: datetime, text: str) -> None:
    assert format_time(moment) == text
    assert len(text) == 27


@given(
    moment=st.datetimes(
        EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None) - timedelta(seconds=1), timezones=st.just(UTC)
    )
)
def test_a_timestamp_and_its_moment(moment: datetime) -> None:
    timestamp_ms = milliseconds(moment)
    again = moment_of(timestamp_ms)
    assert again is not None
    assert timedelta(0) <= moment - again < timedelta(milliseconds=1)
    assert milliseconds(again) == timestamp_ms
    assert moment_of(milliseconds(EARLIEST) - 1) is None
    assert moment_of(milliseconds(LATEST)) is None
