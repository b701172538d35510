"""Steady make-believe traffic: webhooks of parcels whose lives go on side by side, as they reach a merchant.

Some come late, some twice, so that some come in another order than they were told. Pure: the same seed and the same
moments give the same webhooks. Nothing is kept of a life that has ended.
"""

import heapq
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Final

import msgspec

from devstack.couriers.kiriminaja import Format
from devstack.couriers.lives import (
    Kind,
    Life,
    dash_express,
    dash_logistic,
    kiriminaja_express,
    kiriminaja_instant,
    so_far,
)
from devstack.couriers.webhooks import Webhook, webhooks

KINDS: Final[Sequence[Kind]] = (dash_express, dash_logistic, kiriminaja_express, kiriminaja_instant)

SECONDS_BETWEEN_MOVES: Final = 20
"""How long a parcel rests between two webhooks, about: so many parcels are under way for each webhook a second."""

MOST_OPEN: Final = 2_000
"""Parcels under way together, at most. Each takes some kilobytes."""

LATE: Final = 0.04
TWICE: Final = 0.03
"""Shares of the webhooks that come late, and that come a second time."""

LONGEST_DELAY: Final = 3
"""How late a webhook may be, in rests of its parcel: those that follow it come first."""

MOST_HELD: Final = 1_000
"""Webhooks that are on their way, at most. Beyond it none is late."""

APART: Final = timedelta(seconds=1)
"""The least time between two moves of a parcel: couriers write whole seconds."""

_FORMATS: Final[tuple[Format, ...]] = ("short", "complete")


class Traffic:
    """The webhooks, one after the other."""

    def __init__(self, seed: int, rate: int) -> None:
        """`seed` names the run's parcels. `rate` webhooks are to be taken a second."""
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self._open: list[tuple[Life, int, Format]] = []
        self._most = min(MOST_OPEN, rate * SECONDS_BETWEEN_MOVES)
        self._numbers = count(1)
        self._given = 0
        self._held: list[tuple[int, int, Webhook]] = []

    @property
    def size(self) -> int:
        """How many parcels are under way, and webhooks on theirs."""
        return len(self._open) + len(self._held)

    def next(self, now: datetime) -> Webhook:
        """Return the webhook that comes next. What it tells, if it is not late, happened `now`."""
        while True:
            self._given += 1
            if self._held and self._held[0][0] <= self._given:
                return heapq.heappop(self._held)[2]
            told = self._move(now)
            if told is None:
                continue
            if self._chance.random() < TWICE:
                self._hold(told)
            if self._chance.random() >= LATE or not self._hold(told):
                return told

    def _hold(self, webhook: Webhook) -> bool:
        """Let a webhook come later. Says whether there is room."""
        if len(self._held) >= MOST_HELD:
            return False
        due = self._given + self._chance.randint(1, LONGEST_DELAY * self._most)
        heapq.heappush(self._held, (due, next(self._numbers), webhook))
        return True

    def _move(self, now: datetime) -> Webhook | None:
        """Let the next thing happen to some parcel, a new one while there are few; None: no webhook tells of it."""
        if len(self._open) < self._most:
            self._open.append(self._born(now))
        place = self._chance.randrange(len(self._open))
        life, moves, form = self._open[place]
        at = max(now, life.moves[moves - 1].at + APART) if moves else now
        moved = (*life.moves[:moves], msgspec.structs.replace(life.moves[moves], at=at), *life.moves[moves + 1 :])
        life = msgspec.structs.replace(life, moves=moved)
        if moves + 1 < len(life.moves):
            self._open[place] = (life, moves + 1, form)
        else:
            self._open[place] = self._open[-1]
            self._open.pop()
        return next(iter(webhooks([so_far(life, moves + 1)], form)), None)

    def _born(self, now: datetime) -> tuple[Life, int, Format]:
        life = self._chance.choice(KINDS)(next(self._numbers), self._seed, now)
        return life, 0, self._chance.choice(_FORMATS)
