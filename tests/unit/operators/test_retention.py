"""What retention takes for old, and when it refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.doctor.finding import Level
from operators.doctor.machine import of_settings
from operators.retention.limits import Limits, limits
from operators.shared.errors import OperatorError
from runtime.settings import Settings, load_settings

NOW = datetime(2026, 11, 23, tzinfo=UTC)
WEEK, MONTH, HALF_YEAR, YEAR = (timedelta(days=days) for days in (7, 30, 180, 365))


def settings(final: str = "180d", others: str = "365d") -> Settings:
    return load_settings({"WAYBILL_RETENTION": final, "WAYBILL_RETENTION_UNFINISHED": others})


def test_what_is_old() -> None:
    assert limits(NOW, settings(), MONTH, WEEK) == Limits(NOW - HALF_YEAR, NOW - YEAR, NOW - WEEK, NOW - MONTH)
    assert limits(NOW, settings(), MONTH, None).dead_letters is None


@pytest.mark.parametrize(
    ("final", "others", "raw", "why"),
    [
        ("30d", "365d", MONTH, r"WAYBILL_RETENTION \(.* must be longer"),
        ("29d", "365d", MONTH, r"WAYBILL_RETENTION \(.* must be longer"),
        ("180d", "30d", MONTH, r"WAYBILL_RETENTION_UNFINISHED \(.* must be longer"),
        ("180d", "365d", None, "for ever"),
    ],
)
def test_what_is_younger_than_the_raw_topic_stays(final: str, others: str, raw: timedelta | None, why: str) -> None:
    with pytest.raises(OperatorError, match=why):
        limits(NOW, settings(final, others), raw, MONTH)


@pytest.mark.parametrize("days", [29, 30, 31])
def test_the_doctor_judges_as_retention_does(days: int) -> None:
    given = settings(f"{days}d")
    (found,) = [each for each in of_settings(given, lambda _: True) if each.what == "retention"]
    try:
        limits(NOW, given, MONTH, MONTH)
    except OperatorError:
        assert found.level is Level.FAIL
    else:
        assert found.level is Level.OK
