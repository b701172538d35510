"""What a dead letter is, what it is called, and how it stands. Pure.

Several letters may come from one raw record, the root: redriven, it may come back. One is shown, the newest, under the
root's coordinates.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from schemas.records import RawRecord, coordinates

FIRST_CHUNK: Final = 20
"""Letters dealt with before what came of them is looked at: enough to tell a bad decoder from a bad letter."""

LARGEST_CHUNK: Final = 500
"""Letters dealt with together later on. Each chunk is twice the one before."""

CHUNK_BYTES: Final = 16 * 1024 * 1024
"""Bodies held in memory together, but for one that is larger by itself."""

Place = tuple[int, int, int]
"""Incarnation, partition and offset."""

DEAD: Final = "dead_letter"
"""The outcome of a record that a tool appended and that gave no observation."""


class LetterState(StrEnum):
    """How a dead letter stands."""

    OPEN = "open"
    WAITING = "waiting"
    """Redriven; no processor has applied it yet."""
    MENDED = "mended"
    """Read again with success."""
    DROPPED = "dropped"


class Letter(msgspec.Struct, frozen=True, gc=False):
    """One dead letter, without its body. `root` is the raw record, `place` the record that came to nothing last."""

    root: Place
    place: Place
    reason: str
    detail: str
    courier: str | None
    source: str | None
    key: str | None
    size: int | None
    """Of the body, in bytes; None: the record came without one, or it was erased."""
    received_at: datetime | None
    recorded_at: datetime
    of_this_log: bool
    """False: the raw topic was made anew since, so the coordinates lead nowhere."""
    state: LetterState = LetterState.OPEN
    decided_by: str | None = None
    why: str | None = None
    command_id: str | None = None

    @property
    def needs_something(self) -> bool:
        """Whether it is open, or redriven and not applied yet."""
        return self.state in {LetterState.OPEN, LetterState.WAITING}

    @property
    def at(self) -> str:
        """Its name: the root's coordinates, behind the incarnation if that is not the first."""
        return name_of(self.root)


class LetterSelection(msgspec.Struct, frozen=True):
    """Which letters are meant. An empty field leaves none out; `names` are `P:O`."""

    names: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    couriers: tuple[str, ...] = ()
    since: datetime | None = None

    def holds(self, letter: Letter) -> bool:
        """Whether a letter is meant, `names` aside."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.couriers or letter.courier in self.couriers)
            and (self.since is None or letter.recorded_at >= self.since)
        )


class Body(msgspec.Struct, frozen=True, gc=False):
    """A letter with what it takes to have it read again: the record as it came first, and the record's bytes."""

    letter: Letter
    record: RawRecord


def name_of(place: Place) -> str:
    """Name a place: `P:O`, behind `<incarnation>/` if that is not the first."""
    incarnation, partition, offset = place
    return f"{f'{incarnation}/' if incarnation else ''}{partition}:{offset}"


def place_of(name: str) -> tuple[int | None, int, int]:
    """Read a letter's name. Without an incarnation the newest is meant.

    Raises:
        ValueError: it is of another form.

    """
    incarnation, slash, at = name.rpartition("/")
    if slash and not incarnation.isdecimal():
        raise ValueError(f"{name!r} is no <partition>:<offset>")
    return int(incarnation) if slash else None, *coordinates(at)


def chunks(found: Sequence[Letter]) -> list[list[Letter]]:
    """Cut letters into chunks whose bodies fit into memory, small ones first."""
    cut: list[list[Letter]] = []
    most, held = FIRST_CHUNK, 0
    for letter in found:
        size = letter.size or 0
        if not cut or len(cut[-1]) == most or held + size > CHUNK_BYTES:
            most, held = min(FIRST_CHUNK << len(cut), LARGEST_CHUNK), 0
            cut.append([])
        cut[-1].append(letter)
        held += size
    return cut


def state_of(letter: Letter, decision: str | None, outcome: str | None, mended_at: datetime | None) -> LetterState:
    """Say how a letter stands.

    `decision` is what an operator did last with its root, `outcome` what came of the redriving, `mended_at` when its
    root was last read again with success.
    """
    if mended_at is not None and mended_at >= letter.recorded_at:
        return LetterState.MENDED
    if decision == "dropped":
        return LetterState.DROPPED
    if decision == "redriven" and outcome is None:
        return LetterState.WAITING
    if decision == "redriven" and outcome != DEAD:
        return LetterState.MENDED
    return LetterState.OPEN
