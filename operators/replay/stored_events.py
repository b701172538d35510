"""The stored events that a selection of a replay comes to, page by page."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from operators.replay.range import Selection, Stretch, within
from processor.core.errors import StoredRowError
from processor.core.outputs import Output
from processor.storage.outputs import event_output
from runtime.postgres import Pool, Row
from runtime.queries import load_queries
from schemas.topics import Topic

PAGE: Final = 2_000
"""Stored outputs that are looked at at once."""

_LAST_OFFSET: Final = 2**63 - 1
_LAST_ORDINAL: Final = 2**31 - 1
_Q: Final = load_queries("operators.replay")


class _Facts(msgspec.Struct, frozen=True, gc=False):
    """What an event is selected by."""

    courier: str
    received_at: datetime


_read_facts: Final = msgspec.json.Decoder(_Facts).decode


class Place(msgspec.Struct, frozen=True, order=True):
    """A place in a partition's stored outputs."""

    incarnation: int = -1
    cause: int = -1
    ordinal: int = -1


class EventPage(msgspec.Struct, frozen=True):
    """The next selected events of a partition. With them, everything up to `place` is dealt with."""

    events: Sequence[Output]
    place: Place


class StoredEvents:
    """The events that a selection comes to."""

    def __init__(self, pool: Pool, selection: Selection, current: Mapping[int, int]) -> None:
        """`current` are the partitions' incarnations: offsets that are given are of these."""
        self._pool = pool
        self._selection = selection
        self._current = current

    async def pages(self, stretch: Stretch, after: Place, most: int) -> AsyncIterator[EventPage]:
        """Return the selected events of a partition behind a place, at most `most` in a page."""
        async for rows in self._rows(stretch, after):
            for page in _cut(rows, self._selected, most):
                yield page

    async def _rows(self, stretch: Stretch, after: Place) -> AsyncIterator[Sequence[Row]]:
        if self._selection.shipment is not None:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(
                    _Q["stored_events_of_shipment"], self._selection.shipment, stretch.partition
                )
            found = [row for row in rows if _place(row) > after and self._within_offsets(stretch, row)]
            if found:
                yield found
            return
        async with self._pool.acquire() as connection:
            incarnations = await connection.fetch(_Q["incarnations_of_outputs"], stretch.partition)
        for incarnation in (row["incarnation"] for row in incarnations):
            if incarnation >= after.incarnation and self._reads(stretch, incarnation):
                async for page in self._incarnation(stretch, incarnation, after):
                    yield page

    async def _incarnation(self, stretch: Stretch, incarnation: int, after: Place) -> AsyncIterator[Sequence[Row]]:
        is_current = incarnation == self._current.get(stretch.partition, 0)
        start, end = (stretch.start, stretch.end) if is_current else (0, _LAST_OFFSET)
        place = max(after, Place(incarnation, start - 1, _LAST_ORDINAL))
        while True:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(
                    _Q["stored_page"], stretch.partition, incarnation, place.cause, place.ordinal, end, PAGE
                )
            if rows:
                yield rows
                place = _place(rows[-1])
            if len(rows) < PAGE:
                return

    def _reads(self, stretch: Stretch, incarnation: int) -> bool:
        """Whether offsets of an incarnation are meant: of the log that is there now, or of any if none are given."""
        selection = self._selection
        given = stretch.partition in selection.from_offsets or stretch.partition in selection.until_offsets
        current = self._current.get(stretch.partition, 0)
        return incarnation == current or (not given and incarnation < current)

    def _within_offsets(self, stretch: Stretch, row: Any) -> bool:
        if not self._reads(stretch, row["incarnation"]):
            return False
        is_current = row["incarnation"] == self._current.get(stretch.partition, 0)
        return not is_current or stretch.start <= row["cause_offset"] < stretch.end

    def _selected(self, row: Any) -> Output | None:
        if row["topic"] != Topic.EVENTS:
            return None
        if row["event"] is not None:
            event = event_output(0, row)
            assert event.event is not None
            return event if self._wants(msgspec.convert(event.event, _Facts, from_attributes=True)) else None
        if row["value"] is None or not self._wants(_facts(row)):
            return None
        return Output(
            Topic.EVENTS,
            0,
            row["cause_offset"],
            row["ordinal"],
            row["key"],
            row["value"],
            row["recorded_at"],
            row["shipment_id"],
            row["version"],
        )

    def _wants(self, facts: _Facts) -> bool:
        selection = self._selection
        return within(selection, facts.received_at) and selection.courier in {None, facts.courier}


def _facts(row: Any) -> _Facts:
    try:
        found: _Facts = _read_facts(row["value"])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise StoredRowError(f"the event {row['shipment_id']}/{row['version']}", error) from error
    return found


def event_stretches(selection: Selection, applied: Mapping[int, int], partitions: Collection[int]) -> list[Stretch]:
    """Return what of each partition's stored outputs is looked through. `applied` says where they end just now."""
    return [
        _stretch(selection, partition, applied.get(partition, 0))
        for partition in sorted(selection.named or partitions)
        if partition in partitions
    ]


def _stretch(selection: Selection, partition: int, applied: int) -> Stretch:
    end = min(applied, selection.until_offsets.get(partition, applied))
    return Stretch(partition, min(selection.from_offsets.get(partition, 0), end), end)


def _place(row: Any) -> Place:
    return Place(row["incarnation"], row["cause_offset"], row["ordinal"])


def _cut(rows: Sequence[Any], selected: Any, most: int) -> Iterator[EventPage]:
    """Cut rows into pages of at most `most` selected events; the last one ends with the rows."""
    events: list[Output] = []
    place = Place()
    for row in rows:
        event = selected(row)
        if event is not None:
            if len(events) == most:
                yield EventPage(events, place)
                events = []
            events.append(event)
        place = _place(row)
    yield EventPage(events, place)
