"""How a worker paces itself: the size of its batches, and when doubts in a row stop its partition. Pure.

Times are in seconds on any clock that does not jump.
"""

from typing import Final

import msgspec

from processor.core.plan import MAX_BATCH
from runtime.backoff import doubled

BRISK: Final = 0.25
"""A batch that was done within this share of the limit may be followed by one of twice its size, which then still has
half of the limit to spare: a batch that is given up costs all of the limit, and a claim."""

BACK_OFF: Final = (0.2, 5.0)
"""The first and the longest wait before another attempt; each is twice the one before."""

STUCK_DOUBTS: Final = 5
STUCK_SECONDS: Final = 30.0
"""So many doubts in a row, over so long a time, stop a partition. A rebalance or a restarted server costs one to three,
within seconds; a store that takes longer for each statement than its limit costs one in every 15 s."""

RETRY_SECONDS: Final = 30.0
"""How long a partition that doubts have stopped rests before it is tried again: what stops it does not pass within
seconds, and every try costs the stores as much as a batch."""


class Doubts(msgspec.Struct, frozen=True):
    """Doubts in a row: those since the partition last got on. `since` is when the first of them came."""

    count: int = 0
    since: float = 0.0

    def after(self, now: float) -> "Doubts":
        """Return them with one more, which came now."""
        return Doubts(self.count + 1, self.since if self.count else now)

    def have_stopped(self, now: float) -> bool:
        """Whether the partition stands still because of them."""
        return self.count >= STUCK_DOUBTS and now - self.since >= STUCK_SECONDS


def smaller(size: int) -> int:
    """Return the size of a batch behind one that ended in doubt."""
    return max(1, size // 2)


def larger(size: int, records: int, seconds: float, limit: float) -> int:
    """Return the size of a batch behind one that was done: twice as much, if it was full and done with time to spare.

    `limit` is how long the batch might have taken before it was given up.
    """
    full, brisk = records >= size, seconds <= limit * BRISK
    return min(2 * size, MAX_BATCH) if full and brisk else size


def back_off(attempt: int) -> float:
    """Return how long to wait before an attempt, however many there were. The one numbered 0 does not wait."""
    first, longest = BACK_OFF
    return doubled(first, attempt - 1, longest) if attempt else 0.0
