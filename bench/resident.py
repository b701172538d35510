"""How much memory a process holds while it works off a backlog. Pure."""

from collections.abc import Sequence
from statistics import linear_regression
from typing import Final

import msgspec

FULL: Final = 0.4
"""The part of a backlog after which the caches are full: 64 MB of shipments for each of two partitions, some 150,000
records. A backlog is to be twice as long, better a million."""

MILLION: Final = 1_000_000


class Memory(msgspec.Struct, frozen=True):
    """A process's memory over a backlog of so many `records`, in MB: at first with full caches, at its end, at most."""

    records: int
    full: float
    last: float
    most: float
    slope: float
    """MB more for each million records, by the line that fits what was seen with full caches best."""

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"{self.full:,.0f} MB with full caches, {self.last:,.0f} MB at the end of {self.records:,} records, "
            f"{self.most:,.0f} MB at most: {self.slope:+.1f} MB for each million records"
        )


def memory_of(seen: Sequence[tuple[int, float]]) -> Memory:
    """Return what was `seen` at steady intervals: how many records were done, and how many MB were held.

    Raises:
        ValueError: too little was seen with full caches.

    """
    whole = seen[-1][0]
    steady = [(done, mb) for done, mb in seen if done >= FULL * whole]
    fifth = len(steady) // 5
    if not fifth:
        raise ValueError(f"only {len(steady)} looks with full caches: the backlog is too short")
    done, held = zip(*steady, strict=True)
    slope = linear_regression([each / MILLION for each in done], held).slope
    return Memory(whole, _mean(held[:fifth]), _mean(held[-fifth:]), max(mb for _, mb in seen), slope)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
