"""What an answer's status and headers say."""

from datetime import UTC, datetime

import pytest

from reconcile.outcomes import (
    LONGEST_HOLD,
    Count,
    Failed,
    Refused,
    Throttled,
    outcome_of_status,
    read_retry_after,
)
from runtime.metrics import AskResult

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 01 Nov 2026 08:00:30 GMT", 30.0),
        ("Sun, 01 Nov 2026 15:00:30 +0700", 30.0),
        ("Sun, 01 Nov 2026 07:00:00 GMT", 0.0),
        ("Sun, 01 Nov 2099 07:00:00 GMT", LONGEST_HOLD),
        ("9" * 400, LONGEST_HOLD),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("Sun, 99 Nov 2026 07:00:00 GMT", None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, NOW) == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 405, 418, 422])
def test_what_another_try_does_not_help(status: int) -> None:
    outcome = outcome_of_status(status, {}, NOW)
    assert isinstance(outcome, Failed)
    assert not outcome.again


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520, 999])
def test_what_another_try_may_help(status: int) -> None:
    outcome = outcome_of_status(status, {"Retry-After": "7"}, NOW)
    assert isinstance(outcome, Failed)
    assert (outcome.again, outcome.hold) == (True, 7.0)


def test_the_rest() -> None:
    assert outcome_of_status(200, {}, NOW) is None
    assert outcome_of_status(404, {}, NOW) is None
    assert outcome_of_status(429, {}, NOW) == Throttled()
    assert outcome_of_status(429, {"Retry-After": "3"}, NOW) == Throttled(3.0)
    assert isinstance(outcome_of_status(401, {}, NOW), Refused)
    assert isinstance(outcome_of_status(403, {}, NOW), Refused)


def test_counting() -> None:
    count = Count().plus(AskResult.NEWS, 3).plus(AskResult.NOT_FOUND).plus(AskResult.NEWS, 1)
    assert count == Count(asked=3, news=2, not_found=1, appended=4)
    assert count + count == Count(asked=6, news=4, not_found=2, appended=8)
    assert {said.value for said in AskResult} < set(Count.__struct_fields__)
