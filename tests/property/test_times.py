"""A time that is read the fast way reads the same the slow way, and is written as Python writes it."""

from datetime import UTC, datetime
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from schemas import times
from schemas.times import format_time, read_time

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


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_written_with_microseconds(moment: datetime) -> None:
    assert format_time(moment) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
