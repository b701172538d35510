"""The steady middle of a backlog: how fast records were committed there, and what a record cost whom."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

import msgspec

MIDDLE: Final = (0.2, 0.8)
"""The part of a run's records that counts. Before it an engine joins its group, fills caches and compiles; behind it a
run may have met the end of the log."""


class Sample(msgspec.Struct, frozen=True):
    """What was seen at a moment: `at` in seconds, `committed` records, `cpu` seconds spent until then by whom."""

    at: float
    committed: int
    cpu: Mapping[str, float]


class Steady(msgspec.Struct, frozen=True):
    """A run's steady middle: records a second, and ms of CPU for 1,000 records by whom."""

    rate: float
    cpu: Mapping[str, float]

    @property
    def whole_cpu(self) -> float:
        """All that 1,000 records cost, in ms."""
        return sum(self.cpu.values())


class Spread(msgspec.Struct, frozen=True):
    """What several rounds gave for one figure."""

    median: float
    least: float
    most: float


def steady_middle(samples: Sequence[Sample]) -> Steady:
    """Return what lies between the first and the last commit of the middle.

    Raises:
        ValueError: fewer than two commits were seen there.

    """
    commits = [after for before, after in pairwise(samples) if after.committed > before.committed]
    low, high = (part * samples[-1].committed if samples else 0 for part in MIDDLE)
    within = [sample for sample in commits if low <= sample.committed <= high]
    if len(within) < 2:
        raise ValueError(f"only {len(within)} of {len(commits)} commits lie in the middle: the run was too short")
    first, last = within[0], within[-1]
    records = last.committed - first.committed
    # A microsecond a record is a millisecond for a thousand.
    spent = {who: (last.cpu[who] - seconds) / records * 1e6 for who, seconds in first.cpu.items()}
    return Steady(records / (last.at - first.at), spent)


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the least and the most."""
    return Spread(median(values), min(values), max(values))
