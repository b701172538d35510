"""What came of records over time, of those that were looked at."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from operators.views.flow import BIN, LOOK_BACK, MOST_LETTERS, Outcomes, Seen, began, flow_of
from schemas.vocabulary import Outcome, Status

UNTIL: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
SINCE: Final = UNTIL - LOOK_BACK


def seen(minute: float, outcome: Outcome = Outcome.EVENT, delay: float | None = 0.5) -> Seen:
    return Seen(SINCE + timedelta(minutes=minute), outcome, Status.FAILED, delay)


@given(st.lists(st.tuples(st.floats(0, 359), st.sampled_from(Outcome)), max_size=50), st.integers(1, 1000))
def test_every_record_looked_at_stands_for_as_many_as_the_pace_says(
    told: list[tuple[float, Outcome]], pace: int
) -> None:
    flow = flow_of([seen(*each) for each in told], pace, [], SINCE, UNTIL)
    assert sum(each.records for each in flow.outcomes) == pace * len(told)
    minutes = BIN / timedelta(minutes=1)
    rates = sum(sum(each.a_minute.values()) * minutes for each in flow.bins)
    assert abs(rates - pace * len(told)) < 0.1 * (1 + len(told))
    events = sum(1 for _, outcome in told if outcome is Outcome.EVENT)
    assert sum(sum(each.told) for each in flow.statuses) == pace * events


def test_delays_are_told_of_each_five_minutes_and_not_where_none_came() -> None:
    records = [seen(0.5, delay=each) for each in (0.1, 0.2, 0.3, 9.0)] + [seen(6, delay=None)]
    flow = flow_of(records, 1, [Outcomes("misrouted", MOST_LETTERS)], SINCE, UNTIL)
    assert [(each.delay_p50, each.delay_p95) for each in flow.bins[:3]] == [(0.3, 9.0), (None, None), (None, None)]
    assert [each.a_minute[Outcome.EVENT] for each in flow.bins[:3]] == [0.8, 0.2, 0.0]
    assert (len(flow.bins), flow.more_letters) == (72, True)


def test_nothing_is_a_flow_too() -> None:
    flow = flow_of([], 1, [], SINCE, UNTIL)
    assert (flow.outcomes, flow.statuses, flow.more_letters, len(flow.bins)) == ((), (), False, 72)
    assert flow_of([seen(-1), seen(360)], 1, [], SINCE, UNTIL).outcomes == ()


def test_the_minute_that_is_not_over_is_told_at_its_own_pace() -> None:
    """What came within the minute of the first record is seen; the last five minutes end now."""
    now = UNTIL + timedelta(seconds=15)
    since = began(now)
    assert since == SINCE + timedelta(minutes=1)
    records = [Seen(now - timedelta(seconds=each), Outcome.EVENT, Status.FAILED, 0.5) for each in (1, 2, 100)]
    flow = flow_of(records, 1, [], since, now)
    assert (len(flow.bins), flow.until) == (72, "2026-11-27T12:00:15.000000Z")
    assert flow.outcomes == (Outcomes("event", 3),)
    assert flow.bins[-1].a_minute[Outcome.EVENT] == round(3 / 4.25, 2)
    assert began(UNTIL) == SINCE
