"""What retention takes for old, and when it refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.errors import OperatorError
from operators.retention import Limits, limits

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MONTH = timedelta(days=30)
HALF_YEAR = timedelta(days=180)


def test_what_is_old() -> None:
    assert limits(NOW, HALF_YEAR, MONTH, timedelta(days=7)) == Limits(
        NOW - HALF_YEAR, NOW - timedelta(days=7), NOW - MONTH
    )
    assert limits(NOW, HALF_YEAR, MONTH, None).dead_letters is None


@pytest.mark.parametrize(
    ("kept", "raw", "why"),
    [(MONTH, MONTH, "must be longer"), (timedelta(days=29), MONTH, "must be longer"), (HALF_YEAR, None, "for ever")],
)
def test_what_is_younger_than_the_raw_topic_stays(kept: timedelta, raw: timedelta | None, why: str) -> None:
    with pytest.raises(OperatorError, match=why):
        limits(NOW, kept, raw, MONTH)
