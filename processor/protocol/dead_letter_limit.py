"""When too many webhooks give no observation. Pure.

After a bad deploy every body may look unreadable. Then a courier's dead letters are held back before the topic is
emptied into them. It is judged courier by courier and webhook by webhook: one body with thousands of items is one
webhook, and what one courier sends says nothing about another.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from processor.core.errors import DeadLetterLimitError
from processor.core.reading import Read, Reading, Unreadable, is_unauthorized
from schemas.couriers import COURIERS
from schemas.records import RawRecord, header_values

NOBODY: Final = ""
"""Stands for the courier of records that name no known courier."""

Window = Mapping[bytes, bool]
"""A courier's newest webhooks, oldest first, by name: whether none of its records here gave an observation."""

Windows = Mapping[str, Window]
"""By courier."""


def _offset(reading: Reading) -> int:
    return reading.record.offset


def courier_of(record: RawRecord) -> str:
    """Return the courier that a record names."""
    named = str(_header(record, "courier"), "utf-8", "replace")
    return named if named in COURIERS else NOBODY


def _header(record: RawRecord, wanted: str) -> bytes:
    """Return a header's last value. Thousands of records are asked, so nothing else is read."""
    return header_values(record.headers).get(wanted, b"")


def slid(windows: Windows, readings: Sequence[Reading], size: int) -> dict[str, Window]:
    """Return the windows with a batch more, each of at most `size` webhooks."""
    alive = all(isinstance(reading, Read) for reading in readings)
    fresh = _newest(readings, size) if alive else _all_of(readings)
    return {**windows, **{courier: _joined(windows.get(courier, {}), seen, size) for courier, seen in fresh.items()}}


def _all_of(readings: Iterable[Reading]) -> Windows:
    fresh: dict[str, dict[bytes, bool]] = defaultdict(dict)
    for reading in readings:
        if is_unauthorized(reading):
            continue  # no courier's, whatever it says
        seen = fresh[courier_of(reading.record)]
        webhook = _webhook(reading.record)
        seen[webhook] = seen.pop(webhook, True) and isinstance(reading, Unreadable)
    return fresh


def _newest(readings: Sequence[Reading], size: int) -> Windows:
    """Return the newest webhooks of a batch without dead letters: older ones would slide out. Most batches are such."""
    fresh: dict[str, dict[bytes, bool]] = defaultdict(dict)
    for reading in reversed(readings):
        seen = fresh[reading.observation.courier if isinstance(reading, Read) else NOBODY]
        if len(seen) < size:
            seen[_webhook(reading.record)] = False
    return {courier: dict(reversed(seen.items())) for courier, seen in fresh.items()}


def _webhook(record: RawRecord) -> bytes:
    return _header(record, "webhook-id") or record.at.encode()


def _joined(window: Window, fresh: Mapping[bytes, bool], size: int) -> Window:
    """Put webhooks behind those known. One that goes on over several batches stands at its last record."""
    merged = {webhook: dead for webhook, dead in window.items() if webhook not in fresh}
    for webhook, dead in fresh.items():
        merged[webhook] = dead and window.get(webhook, True)
    surplus = len(merged) - size
    return dict(list(merged.items())[surplus:]) if surplus > 0 else merged


def beyond_limit(windows: Windows, size: int, max_ratio: float) -> frozenset[str]:
    """Return the couriers of whose full window more than `max_ratio` gave nothing."""
    return frozenset(
        courier
        for courier, window in windows.items()
        if len(window) >= size and sum(window.values()) > max_ratio * len(window)
    )


def last_of_others(records: Sequence[RawRecord], held: Collection[str]) -> int | None:
    """Return the offset of the last record of a courier that is not held back; None: there is none."""
    return next((record.offset for record in reversed(records) if courier_of(record) not in held), None)


class DeadLetterLimit:
    """Which couriers of one partition are held back, batch after batch."""

    def __init__(self, size: int, max_ratio: float) -> None:
        """Hold back a courier of whose newest `size` webhooks more than `max_ratio` would be dead letters."""
        self._size = size
        self._max_ratio = max_ratio
        self._windows: Windows = {}
        self._holding = False
        """Whether a courier is held back."""
        self._others_until = 0
        """Up to here other couriers' records stand behind the dead letters of one that is held back."""

    def judge(self, readings: Sequence[Reading]) -> Windows:
        """Return the windows with a batch more.

        Raises:
            DeadLetterLimitError: a courier is beyond the limit, and no other's records stand behind its dead letters.

        """
        windows = slid(self._windows, readings, self._size)
        couriers = beyond_limit(windows, self._size, self._max_ratio)
        if not couriers:
            return windows
        held = couriers & {
            courier_of(each.record)
            for each in readings
            if isinstance(each, Unreadable) and each.record.offset >= self._others_until
        }
        if held:
            named = " and ".join(each or "no known courier" for each in sorted(held))
            raise DeadLetterLimitError(
                held,
                f"of the newest {self._size} webhooks of {named} more would be dead letters than "
                f"WAYBILL_DLQ_MAX_RATIO={self._max_ratio:g} allows; other couriers' records go on: roll back what was "
                "deployed and start again, or, if they are garbage indeed, start again with WAYBILL_DLQ_MAX_RATIO=1",
            )
        return windows

    def stored(self, windows: Windows) -> bool:
        """Keep the windows of a batch that is stored; return whether no courier is held back any more."""
        self._windows = windows
        if not self._holding or beyond_limit(windows, self._size, self._max_ratio):
            return False
        self._holding = False
        return True

    def hold(self) -> None:
        """Take note that a courier is held back."""
        self._holding = True

    def let_pass(self, until: int) -> None:
        """Let dead letters pass that stand before an offset: other couriers' records stand behind them."""
        self._others_until = until

    def parts(self, readings: Sequence[Reading]) -> Iterator[Sequence[Reading]]:
        """Return a batch in two parts where some of it is let pass: each is judged by itself."""
        passing = bisect_left(readings, self._others_until, key=_offset)
        for part in (readings[:passing], readings[passing:]):
            if part:
                yield part
