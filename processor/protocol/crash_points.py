"""The steps of a claim and of a batch, announced as they are reached, so that tests can stop a process at each."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """A point between two effects on the outside world."""

    FENCED = "fenced"
    CURSOR_CLAIMED = "cursor-claimed"
    PUBLISHED_AGAIN = "published-again"
    PLANNED = "planned"
    WRITTEN = "written"
    STORED = "stored"
    SENT = "sent"
    OFFSETS_ADDED = "offsets-added"
    EMITTED = "emitted"


Reached = Callable[[Step], None]
"""Told of each step when it is reached."""


def no_one(_step: Step) -> None:
    """Nobody listens."""
