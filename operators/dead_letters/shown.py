"""Dead letters as they are shown: one, with what today's code reads in it; many, in groups and row by row. Pure."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from operators.dead_letters.letters import Letter, LetterState, name_of
from processor.core.reading import Reading, Unreadable
from schemas.times import format_time


class ShownLetter(msgspec.Struct, frozen=True):
    """A dead letter. `at` names it; `record` is the record that came to nothing last; `bytes` is its body's size."""

    at: str
    record: str
    state: str
    reason: str
    detail: str
    courier: str | None
    key: str | None
    bytes: int | None
    received_at: str | None
    dead_at: str
    decided_by: str | None
    why: str | None


class Today(msgspec.Struct, frozen=True):
    """What today's code reads in a dead letter: which shipment and word, or why it reads nothing."""

    readable: bool
    reason: str | None = None
    detail: str | None = None
    shipment_id: str | None = None
    courier_status: str | None = None
    known: bool | None = None
    status: str | None = None

    @property
    def in_words(self) -> str:
        """The same as a sentence."""
        if not self.readable:
            return f"would come back: {self.reason}, {self.detail}"
        meant = self.status or ("details only" if self.known else "an unknown word")
        return f"would be read: {self.shipment_id}, {self.courier_status} ({meant})"


class LetterGroup(msgspec.Struct, frozen=True):
    """Dead letters of one reason and courier that need something: `waiting` of them are redriven and not applied."""

    reason: str
    courier: str | None
    open: int
    waiting: int
    oldest: str
    newest: str


def shown(letter: Letter) -> ShownLetter:
    """Return a letter as it is shown."""
    return ShownLetter(
        letter.at,
        name_of(letter.place),
        letter.state,
        letter.reason,
        letter.detail,
        letter.courier,
        letter.key,
        letter.size,
        _time(letter.received_at),
        format_time(letter.recorded_at),
        letter.decided_by,
        letter.why,
    )


def today(reading: Reading) -> Today:
    """Return what a reading of a dead letter by today's code came to."""
    if isinstance(reading, Unreadable):
        return Today(readable=False, reason=reading.error.reason, detail=reading.error.detail)
    said = reading.observation
    return Today(
        readable=True,
        shipment_id=said.shipment_id,
        courier_status=said.word,
        known=said.known,
        status=said.status,
    )


def grouped(letters: Iterable[Letter]) -> tuple[LetterGroup, ...]:
    """Return the groups of those letters that are open or waiting, the largest first."""
    found: dict[tuple[str, str | None], list[Letter]] = {}
    for each in letters:
        if each.needs_something:
            found.setdefault((each.reason, each.courier), []).append(each)
    groups = [_group(*of, members) for of, members in found.items()]
    return tuple(sorted(groups, key=lambda each: (-each.open - each.waiting, each.reason, each.courier or "")))


def _group(reason: str, courier: str | None, members: list[Letter]) -> LetterGroup:
    times = [each.recorded_at for each in members]
    waiting = sum(each.state is LetterState.WAITING for each in members)
    oldest, newest = format_time(min(times)), format_time(max(times))
    return LetterGroup(reason, courier, len(members) - waiting, waiting, oldest, newest)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)
