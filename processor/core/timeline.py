"""A shipment's observations in order and what they add up to, kept up to date entry by entry. Pure.

The order is cut into stretches. Each is judged from the basis before it (`fold.Basis`) and keeps what it adds to
whatever stands there. An entry that comes last is judged alone. A late one makes its own stretch be judged again; those
behind it are judged again only where their basis is another than before, else only added up, and no further than until
nothing differs any more. So a late entry costs a stretch and the adding up of stretches, not the whole history.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec

from processor.core.fold import Entry, Snapshot, Verdict, advance, sort_key
from processor.core.stretches import NOTHING, Rules, Stretch, Sum
from schemas.couriers import Courier
from schemas.couriers.base import Position
from schemas.observation import Observation
from schemas.vocabulary import Service, Status

FULL: Final = 64
"""Entries of a stretch, at most. A late entry costs the judging of one stretch and the adding up of all behind it: for
the 5,000 observations that a shipment keeps, the least of both together lies about here."""


class Timeline:
    """The entries of one shipment, in order, and their fold."""

    __slots__ = (
        "_ahead",
        "_counted",
        "_followed",
        "_keys",
        "_last",
        "_last_before",
        "_moments",
        "_rules",
        "_stretches",
        "_sum",
        "_touched",
        "courier",
        "service",
    )

    def __init__(self, courier: Courier, service: Service, entries: Iterable[Entry] = ()) -> None:
        """Fold entries, given in any order."""
        self.service = service
        self.courier = courier
        self._rules = Rules(courier, service)
        self._sum = NOTHING
        self._moments: Counter[tuple[Status | None, datetime]] | None = None
        self._counted: dict[str, bool] = {}
        self._touched: dict[int, Stretch] = {}
        self._last: Position | None = None
        self._last_before: Position | None = None
        self._followed: list[Entry] = []
        self._ahead: Snapshot | None = None
        ordered = sorted(entries, key=_key)
        self._keys = {entry.observation.reading_digest: entry.key for entry in ordered}
        self._stretches = [Stretch(ordered[at : at + FULL]) for at in range(0, len(ordered), FULL)]
        self._settle(0, NOTHING)

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same entries, judged alike."""
        if not isinstance(other, Timeline):
            return NotImplemented
        return (self.service, self.snapshot, list(self)) == (other.service, other.snapshot, list(other))

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._keys) + len(self._followed)

    def __iter__(self) -> Iterator[Entry]:
        """Give the entries in order, each with its verdict."""
        self._take_in()
        for stretch in self._stretches:
            for entry, verdict in stretch.judged:
                yield _with_verdict(entry, verdict)

    @property
    def snapshot(self) -> Snapshot | None:
        """What all entries add up to; None where none has a status."""
        return self._ahead if self._followed else self._sum.snapshot

    def holds(self, reading: bytes) -> bool:
        """Whether a reading, by its digest, has an entry."""
        self._take_in()
        return reading in self._keys

    def has(self, entry: Entry) -> bool:
        """Whether this very entry is there, its verdict aside."""
        there = self.find(entry.observation.reading_digest)
        return there is not None and msgspec.structs.replace(there, verdict=None) == entry

    def newest_by(self, moment: datetime) -> Position:
        """Return the place of the last of the entries received by a moment; before everything if there is none."""
        self._take_in()
        for stretch in reversed(self._stretches):
            for entry in reversed(stretch.entries):
                if entry.observation.received_at <= moment:
                    return entry.key
        return ((),)

    def find(self, reading: bytes) -> Entry | None:
        """Return the entry of a reading, by its digest, with its verdict."""
        self._take_in()
        key = self._keys.get(reading)
        if key is None:
            return None
        stretch, place = self._find(key)
        assert stretch.run is not None
        return _with_verdict(stretch.entries[place], stretch.run.verdicts[place])

    def judged(self, reading: bytes) -> tuple[Position, Verdict | None]:
        """Return the place and the verdict of a reading that has an entry."""
        self._take_in()
        key = self._keys[reading]
        stretch, place = self._find(key)
        assert stretch.run is not None
        return key, stretch.run.verdicts[place]

    def at_the_time(self, observation: Observation) -> int:
        """Return how many entries have an observation's status and time."""
        self._take_in()
        if self._moments is None:
            self._moments = Counter(self._moment(entry.observation) for entry in self)
        return self._moments[self._moment(observation)]

    def mark(self) -> None:
        """Begin to watch what changes."""
        self._take_in()
        if self._counted or self._touched:
            self._counted.clear()
            self._touched.clear()
        self._last_before = self._last

    def mark_as(self, before: "Timeline") -> None:
        """Watch from where another order of the same observations stood."""
        counted = [entry.observation.reading_digest for entry in before if entry.accepted]
        self._last_before = max((self._keys[reading] for reading in counted if reading in self._keys), default=None)
        refused = [stretch for stretch in self._stretches if stretch.refused]
        self._counted = {entry.anomaly: False for stretch in refused for entry in stretch.entries if entry.anomaly}
        self._counted |= {entry.anomaly: entry.accepted for entry in before if entry.anomaly}
        self._touched = {id(stretch): stretch for stretch in refused}

    def resolved(self) -> tuple[str, ...]:
        """Return the anomalies whose entries count now and did not at the mark, in order."""
        if not self._counted or all(self._counted.values()):
            return ()
        found = {
            entry.key: entry.anomaly
            for stretch in self._touched.values()
            for entry, verdict in stretch.judged
            if entry.anomaly and verdict and verdict.accepted and not self._counted[entry.anomaly]
        }
        return tuple(found[key] for key in sorted(found))

    def is_last(self, key: Position) -> bool:
        """Whether the entry of this place is the last that counts, behind all that counted at the mark."""
        return self._last == key and (self._last_before is None or self._last_before < key)

    def follow(self, observation: Observation) -> Verdict | None:
        """Take an observation that comes behind all entries and counts; return its verdict. None: it does not.

        Nothing before it changes, so it is judged by itself, and becomes an entry when entries are next looked at.
        """
        courier, service, followed, end = self.courier, self.service, self._followed, self._end()
        occurred = courier.occurred(observation, service)
        key = sort_key(courier, service, observation, occurred.at)
        if end is not None and key < end:
            return None
        before = self._ahead if followed else self._sum.snapshot
        snapshot, verdict = advance(courier.lifecycles[service], before, observation, occurred, self._sum.background)
        if not verdict.accepted:
            return None
        followed.append(Entry(key, observation))
        self._ahead = snapshot
        return verdict

    def insert(self, entry: Entry) -> None:
        """Put an entry in its place."""
        self._take_in()
        self._keys[entry.observation.reading_digest] = entry.key
        self._note_moment(entry.observation, 1)
        if entry.anomaly is not None:
            self._counted.setdefault(entry.anomaly, False)
        end = self._end()
        if end is None or end < entry.key:
            self._append(entry)
            return
        at = self._at(entry.key)
        stretch = self._stretches[at]
        self._touch(stretch)
        stretch.entries.insert(_place(stretch, entry.key), entry)
        stretch.refused += entry.anomaly is not None
        if len(stretch.entries) > FULL:
            half = FULL // 2
            self._touched.pop(id(stretch), None)
            self._stretches[at : at + 1] = Stretch(stretch.entries[:half]), Stretch(stretch.entries[half:])
        self._settle(at, stretch.before)

    def remove(self, reading: bytes) -> Entry:
        """Take the entry of a reading out and return it."""
        self._take_in()
        key = self._keys.pop(reading)
        at = self._at(key)
        stretch = self._stretches[at]
        self._touch(stretch)
        entry = stretch.entries.pop(_place(stretch, key))
        stretch.refused -= entry.anomaly is not None
        self._note_moment(entry.observation, -1)
        if not stretch.entries:
            self._touched.pop(id(stretch), None)
            del self._stretches[at]
        self._settle(at, stretch.before)
        return entry

    def refuse(self, reading: bytes, anomaly: str | None) -> None:
        """Note which anomaly refused an entry. Its verdict stays."""
        self._take_in()
        key = self._keys[reading]
        stretch, place = self._find(key)
        old = stretch.entries[place]
        stretch.entries[place] = msgspec.structs.replace(old, anomaly=anomaly)
        stretch.refused += (anomaly is not None) - (old.anomaly is not None)

    def _end(self) -> Position | None:
        """Return the place of the last entry, whether it counts or not."""
        if self._followed:
            return self._followed[-1].key
        return self._stretches[-1].entries[-1].key if self._stretches else None

    def _take_in(self) -> None:
        """Make entries of the observations that followed."""
        if self._followed:
            followed, self._followed, self._ahead = self._followed, [], None
            for entry in followed:
                self._keys[entry.observation.reading_digest] = entry.key
                self._note_moment(entry.observation, 1)
                self._append(entry)

    def _append(self, entry: Entry) -> None:
        """Judge an entry that comes last. How its stretch is judged from elsewhere is no longer known."""
        if not self._stretches or len(self._stretches[-1].entries) >= FULL:
            stretch = Stretch([])
            stretch.before = self._sum
            stretch.run = self._rules.begun(self._rules.basis(self._sum))
            self._stretches.append(stretch)
        stretch = self._stretches[-1]
        run = stretch.run
        assert run is not None
        if stretch.runs:
            stretch.runs.clear()
        stretch.entries.append(entry)
        stretch.refused += entry.anomaly is not None
        if self._rules.judge(run, entry):
            self._last = entry.key
        self._sum = self._rules.added(stretch)
        if entry.anomaly is not None:
            self._watch(stretch)

    def _touch(self, stretch: Stretch) -> None:
        """Forget how a stretch is judged: its entries change."""
        self._watch(stretch)
        stretch.run = None
        stretch.runs.clear()

    def _settle(self, at: int, before: Sum) -> None:
        """Judge and add up anew from a stretch on, until nothing differs from before."""
        for stretch in islice(self._stretches, at, None):
            if stretch.run is not None and stretch.before == before:
                break
            stretch.before = before
            basis = self._rules.basis(before)
            if stretch.run is None or stretch.run.basis != basis:
                self._watch(stretch)
                stretch.turn_to(stretch.runs.get(basis) or self._rules.judged(stretch.entries, basis))
            before = self._rules.added(stretch)
        else:
            self._sum = before
        self._last = self._find_last()

    def _watch(self, stretch: Stretch) -> None:
        """Remember which of a stretch's refused entries count, at first."""
        if stretch.refused:
            self._touched[id(stretch)] = stretch
            if stretch.run is not None:
                for entry, verdict in stretch.judged:
                    if entry.anomaly is not None:
                        self._counted.setdefault(entry.anomaly, verdict is not None and verdict.accepted)

    def _find_last(self) -> Position | None:
        """Return the place of the last entry that counts."""
        for stretch in reversed(self._stretches):
            if stretch.run is not None and stretch.run.last >= 0:
                return stretch.entries[stretch.run.last].key
        return None

    def _find(self, key: Position) -> tuple[Stretch, int]:
        """Return where the entry of this place is: mostly it is the last."""
        last = self._stretches[-1]
        if last.entries[-1].key == key:
            return last, len(last.entries) - 1
        stretch = self._stretches[self._at(key)]
        return stretch, _place(stretch, key)

    def _at(self, key: Position) -> int:
        """Return which stretch an entry of this place is in, or would be."""
        return max(0, bisect_right(self._stretches, key, key=_first) - 1)

    def _moment(self, observation: Observation) -> tuple[Status | None, datetime]:
        return observation.status, self.courier.occurred(observation, self.service).at

    def _note_moment(self, observation: Observation, entries: int) -> None:
        if self._moments is not None:
            self._moments[self._moment(observation)] += entries


def _with_verdict(entry: Entry, verdict: Verdict | None) -> Entry:
    return entry if verdict is None else msgspec.structs.replace(entry, verdict=verdict)


def _place(stretch: Stretch, key: Position) -> int:
    return bisect_left(stretch.entries, key, key=_key)


def _key(entry: Entry) -> Position:
    return entry.key


def _first(stretch: Stretch) -> Position:
    return stretch.entries[0].key
