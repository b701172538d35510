"""When to ask: rests that grow, a pace that is never exceeded, a breaker that opens and tries."""

import heapq
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.couriers.simulator import busiest
from reconcile.waiting import (
    FIRST_COOLING,
    FIRST_DELAY,
    FIRST_RETRY,
    LONGEST_COOLING,
    LONGEST_DELAY,
    LONGEST_REST,
    TRIP_AFTER,
    WINDOW,
    Breaker,
    RateLimiter,
    Standing,
    delay,
)
from runtime.metrics import AskResult

HOURS = timedelta(hours=1)
STALE = 6 * HOURS


@pytest.mark.parametrize(
    ("standing", "rest"),
    [
        (Standing(), STALE),
        (Standing(1), 2 * STALE),
        (Standing(2), 4 * STALE),
        (Standing(20), LONGEST_REST),
        (Standing(10**9), LONGEST_REST),
        (Standing(0, 1), FIRST_RETRY),
        (Standing(3, 2), 2 * FIRST_RETRY),
        (Standing(0, 10**9), LONGEST_REST),
    ],
)
def test_rests(standing: Standing, rest: timedelta) -> None:
    assert standing.rest(STALE) == rest


def test_what_follows_an_ask() -> None:
    dead = Standing(3, 2)
    assert dead.after(AskResult.NEWS) == Standing()
    assert dead.after(AskResult.NO_NEWS) == dead.after(AskResult.NOT_FOUND) == Standing(4)
    assert (
        dead.after(AskResult.FAILED)
        == dead.after(AskResult.THROTTLED)
        == dead.after(AskResult.REFUSED)
        == Standing(3, 3)
    )


@given(st.lists(st.sampled_from(AskResult)), st.timedeltas(timedelta(milliseconds=1), timedelta(days=365)))
def test_rests_lie_within_their_bounds(said: list[AskResult], stale_after: timedelta) -> None:
    standing = Standing()
    for one in said:
        standing = standing.after(one)
    rest = standing.rest(stale_after)
    assert min(FIRST_RETRY, stale_after) <= rest <= max(LONGEST_REST, stale_after)
    if not standing.failures:
        assert rest >= stale_after


@given(st.integers(1, 1000), st.floats(0, 1))
def test_delays_are_jittered_in_full(attempt: int, chance: float) -> None:
    assert delay(attempt, 0.0) == 0.0
    assert delay(1, 1.0) == FIRST_DELAY
    assert 0.0 <= delay(attempt, chance) <= LONGEST_DELAY
    assert delay(attempt, 1.0) <= delay(attempt + 1, 1.0)


travels = st.tuples(st.floats(0, 3), st.floats(0, 3))
"""How long a request is on its way, and its answer."""


@given(st.integers(1, 9), st.lists(travels, min_size=1, max_size=60), st.lists(st.floats(0, 2), max_size=60))
def test_no_second_sees_more_than_the_rate(rate: int, sent: list[tuple[float, float]], late: list[float]) -> None:
    """Whatever the network does, and however late the process looks at its clock."""
    pace, now = RateLimiter(rate, 0.5), 0.0
    answers: list[float] = []
    begun: list[float] = []
    arrived: list[float] = []
    for number, (there, back) in enumerate(sent):
        while True:
            while answers and answers[0] <= now:
                pace.end(max(heapq.heappop(answers), now))
            if (seconds := pace.wait(now)) <= 0.0:
                break
            now = min([now + seconds, *answers[:1]]) if answers and answers[0] > now else now + seconds
        now += late[number] if number < len(late) else 0.0
        pace.begin(now)
        begun.append(now)
        arrived.append(now + there)
        heapq.heappush(answers, now + there + back)
    assert busiest(arrived, WINDOW) <= rate
    assert busiest(begun, WINDOW) <= rate
    assert begun[0] >= 0.5


def test_requests_are_spaced_evenly() -> None:
    pace, now, begun = RateLimiter(10, 0.0), 0.0, []
    for _ in range(30):
        while (seconds := pace.wait(now)) > 0.0:
            now += seconds
        pace.begin(now)
        begun.append(now)
        pace.end(now)
    gaps = [after - before for before, after in pairwise(begun)]
    assert min(gaps) == pytest.approx(0.1)
    assert begun[-1] - begun[0] == pytest.approx(2.9, rel=0.1)


def test_a_hold_is_heeded() -> None:
    pace = RateLimiter(10, 0.0)
    pace.hold(60.0)
    pace.hold(30.0)
    assert pace.wait(2.0) == 58.0
    assert pace.wait(60.0) == 0.0


def tripped(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(TRIP_AFTER):
        assert breaker.wait(now) == 0.0
        breaker.begin()
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    assert tripped().wait(0.0) == FIRST_COOLING
    breaker = Breaker()
    for _ in range(5 * TRIP_AFTER):
        for _ in range(TRIP_AFTER - 1):
            breaker.failed(0.0)
        breaker.answered()
    assert breaker.wait(0.0) == 0.0


def test_one_ask_tries_and_closes_it() -> None:
    breaker = tripped()
    now = FIRST_COOLING
    assert breaker.wait(now) == 0.0
    breaker.begin()
    assert breaker.wait(now) > 0.0, "only one tries"
    breaker.answered()
    assert breaker.wait(now) == 0.0
    assert breaker.trips == 0


def test_one_that_fails_opens_it_for_longer() -> None:
    breaker, now, coolings = tripped(), 0.0, []
    for _ in range(10):
        cooling = breaker.wait(now)
        coolings.append(cooling)
        now += cooling
        breaker.begin()
        breaker.failed(now)
    assert coolings[:3] == [FIRST_COOLING, 2 * FIRST_COOLING, 4 * FIRST_COOLING]
    assert coolings[-1] == LONGEST_COOLING


def test_asks_that_began_before_change_nothing() -> None:
    breaker = tripped()
    breaker.failed(3.0)
    assert breaker.wait(3.0) == FIRST_COOLING - 3.0


def test_a_try_that_comes_to_nothing_is_made_again() -> None:
    breaker = tripped()
    breaker.begin()
    breaker.gave_up()
    assert breaker.wait(FIRST_COOLING) == 0.0
