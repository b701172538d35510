"""When to ask: how long a shipment is left alone, how fast a courier is asked, when it is not asked at all. Pure.

Times are seconds of a monotonic clock, unless they are datetimes.
"""

from collections import deque
from datetime import timedelta
from typing import Final

import msgspec

from runtime.backoff import doubled
from runtime.metrics import AskResult

LONGEST_REST: Final = timedelta(days=7)
"""The longest a shipment is left alone: a dead one costs a request a week."""

FIRST_RETRY: Final = timedelta(minutes=1)
"""How long a shipment is left alone after an ask that got no answer; doubled each time."""

ATTEMPTS: Final = 4
"""How often one ask is tried before the shipment is put off."""

FIRST_DELAY: Final = 0.5
"""Seconds at most before the second attempt; doubled each time."""

LONGEST_DELAY: Final = 5.0
"""Seconds at most before any attempt: a stop of the process waits for it."""

WINDOW: Final = 1.0
"""Seconds the rate speaks of."""

TRIP_AFTER: Final = 10
"""Failures in a row after which a courier is left alone. Where a third of the answers fail, chance makes so many in a
row once in 60,000."""

FIRST_COOLING: Final = 5.0
"""Seconds a courier that fails is left alone before one ask tries it; doubled each time that fails."""

LONGEST_COOLING: Final = 300.0
"""Seconds a courier is left alone at most: five minutes after it has come back everything goes on."""

PROBE_LOOK: Final = 0.5
"""Seconds between two looks at how the one ask goes."""


class Standing(msgspec.Struct, frozen=True):
    """How the asks about a shipment went lately: answers in a row without news, asks in a row without an answer."""

    fruitless: int = 0
    failures: int = 0

    def after(self, said: AskResult) -> "Standing":
        """Return how it stands after another ask."""
        match said:
            case AskResult.NEWS:
                return Standing()
            case AskResult.NO_NEWS | AskResult.NOT_FOUND:
                return Standing(self.fruitless + 1)
            case AskResult.THROTTLED | AskResult.FAILED | AskResult.REFUSED:
                return Standing(self.fruitless, self.failures + 1)

    def rest(self, stale_after: timedelta) -> timedelta:
        """Say how long the shipment is left alone from an ask on."""
        longest = max(LONGEST_REST, stale_after)
        if self.failures:
            first, times = min(FIRST_RETRY, stale_after), self.failures - 1
        else:
            first, times = stale_after, self.fruitless
        return timedelta(seconds=doubled(first.total_seconds(), times, longest.total_seconds()))


def delay(attempt: int, chance: float) -> float:
    """Say how long to wait after a failed attempt (from 1): any time up to a bound that doubles. Full jitter.

    `chance`: from 0 to 1.
    """
    return chance * doubled(FIRST_DELAY, attempt - 1, LONGEST_DELAY)


class RateLimiter:
    """Spaces the requests to one courier: in no span of a second do more than `rate` of them arrive.

    A request arrives at some time between its begin and the begin of its answer. So each takes one of `rate` permits
    at its begin, and gives it back a second after its answer began: whatever the network does in between, of `rate` + 1
    requests the last begins a second after the first has arrived. Besides, they begin evenly and never in bursts.
    """

    def __init__(self, rate: int, not_before: float) -> None:
        """`not_before`: when the first may begin."""
        self._rate = rate
        self._gap = WINDOW / rate
        self._next = not_before
        self._under_way = 0
        self._ended: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Say how many seconds to wait, at least, before the next request may begin; 0: it may."""
        while self._ended and now >= self._ended[0] + WINDOW:
            self._ended.popleft()
        if self._under_way + len(self._ended) < self._rate:
            return max(0.0, self._next - now)
        return max(0.0, self._ended[0] + WINDOW - now) if self._ended else self._gap

    def begin(self, now: float) -> None:
        """Take a permit."""
        self._under_way += 1
        self._next = max(self._next, now - self._gap) + self._gap

    def end(self, now: float) -> None:
        """Give the permit back: the answer has begun, or none will come."""
        self._under_way -= 1
        self._ended.append(now)

    def hold(self, until: float) -> None:
        """Begin nothing before."""
        self._next = max(self._next, until)


class Breaker:
    """Leaves a courier alone after `TRIP_AFTER` failures in a row, but for one ask now and then that tries it."""

    def __init__(self) -> None:
        """Begin closed."""
        self._in_a_row = 0
        self._open_until: float | None = None
        self._probing = False
        self.trips = 0
        """How often in a row it has opened; 0: the courier answers."""

    def wait(self, now: float) -> float:
        """Say how many seconds to wait, at least, before the next ask; 0: it may begin."""
        if self._open_until is None:
            return 0.0
        if self._probing:
            return PROBE_LOOK
        return max(0.0, self._open_until - now)

    def begin(self) -> None:
        """Note an ask that begins. While open it is the one that tries."""
        self._probing = self._open_until is not None

    def answered(self) -> None:
        """Note an answer, whatever it says."""
        self._in_a_row = self.trips = 0
        self._open_until, self._probing = None, False

    def failed(self, now: float) -> None:
        """Note an ask without an answer. Those that began before it opened tell nothing new."""
        self._in_a_row += 1
        waiting = self._open_until is not None and not self._probing
        if self._in_a_row < TRIP_AFTER or waiting:
            return
        self._open_until = now + doubled(FIRST_COOLING, self.trips, LONGEST_COOLING)
        self._probing = False
        self.trips += 1

    def gave_up(self) -> None:
        """Note an ask that ended without anything to tell."""
        self._probing = False
