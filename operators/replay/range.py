"""Which raw records an operator means: from a RANGE to stretches of offsets, and what is taken of them. Pure.

Received times do not grow with the offsets, because a door's spool hands records over late. So a range in time begins
at the first record received at its start or later, and everything behind it is looked at.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final

import msgspec

from schemas.records import RawRecord, header_values
from schemas.times import EARLIEST, LATEST, moment_of, read_time
from schemas.vocabulary import Source

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_OPERATOR: Final = Source.OPERATOR.encode()


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A RANGE as an operator gives it, half-open in time and in offsets; all that is given must hold.

    `from_offsets` and `until_offsets` are by partition. Where partitions are named, by them or by `partitions`, only
    those are meant. `shipment` is an id, `courier` a courier's name.
    """

    everything: bool = False
    since: datetime | None = None
    until: datetime | None = None
    from_offsets: Mapping[int, int] = {}
    until_offsets: Mapping[int, int] = {}
    partitions: tuple[int, ...] = ()
    shipment: str | None = None
    courier: str | None = None

    @property
    def named(self) -> frozenset[int]:
        """The partitions that are named; none: all are meant."""
        return frozenset({*self.partitions, *self.from_offsets, *self.until_offsets})


class LogRange(msgspec.Struct, frozen=True):
    """A partition's log: the records from `start` until `end`, the first one received at the range's start or later
    being `since` (`start`, if the range has no start in time)."""

    start: int
    end: int
    since: int


class Stretch(msgspec.Struct, frozen=True):
    """Offsets of a partition to look through, half-open. `gone` of those asked for are before the log's start."""

    partition: int
    start: int
    end: int
    gone: int = 0


class Choice(Enum):
    """What a record of a stretch is to a selection."""

    SELECTED = auto()
    REREADING = auto()
    """A record that an earlier replay or redrive appended: its root is what is read again."""
    DECISION = auto()
    """An operator's."""
    OUTSIDE = auto()


def contradiction(selection: Selection) -> str | None:
    """Say why a selection cannot be meant, if so."""
    offsets = (*selection.from_offsets.items(), *selection.until_offsets.items())
    ranged = bool(selection.since or selection.until or selection.named)
    if not (selection.everything or ranged):
        return "which records? Give --since, --until, --from-offset, --until-offset or --partition, or --all"
    if selection.everything and ranged:
        return "--all means every record: give it without another range"
    if selection.since and selection.until and selection.since >= selection.until:
        return "--since must be before --until"
    for partition, _ in offsets:
        if selection.partitions and partition not in selection.partitions:
            return f"an offset of partition {partition} is given, and --partition does not name it"
    for partition, until in selection.until_offsets.items():
        if selection.from_offsets.get(partition, 0) >= until:
            return f"--from-offset must be below --until-offset, in partition {partition}"
    return None


def stretches(
    selection: Selection, logs: Mapping[int, LogRange], homes: Collection[int] | None = None
) -> list[Stretch]:
    """Return what of each partition's log is to be looked through, in the partitions' order.

    `homes` are the partitions in which the selected shipment's records may stand; None: in all.
    """
    concerned = (selection.named or logs.keys()) & (logs.keys() if homes is None else frozenset(homes))
    return [_stretch(selection, partition, logs[partition]) for partition in sorted(concerned & logs.keys())]


def _stretch(selection: Selection, partition: int, log: LogRange) -> Stretch:
    asked = selection.from_offsets.get(partition, 0)
    end = min(log.end, selection.until_offsets.get(partition, log.end))
    start = max(asked, log.start, log.since)
    reaches_back = selection.since is None or log.since <= log.start
    gone = max(0, min(log.start, selection.until_offsets.get(partition, log.start)) - asked) if reaches_back else 0
    return Stretch(partition, min(start, end), end, gone)


def search_time(since: datetime) -> int:
    """Return what to ask Kafka for, in milliseconds since the epoch: a millisecond early, as it rounds the times."""
    return max(0, (since - _EPOCH) // _MILLISECOND - 1)


def received_at(record: RawRecord) -> datetime:
    """Return when a record was received: its header, else its timestamp."""
    header = header_values(record.headers).get("received-at", b"")
    found = read_time(header.decode(errors="replace"), UTC)
    if found and EARLIEST <= found[0] < LATEST:
        return found[0]
    return moment_of(record.timestamp_ms) or _EPOCH


def judge(selection: Selection, record: RawRecord, belongs: Callable[[RawRecord], bool]) -> Choice:
    """Say what a record of a stretch is. `belongs` tells whether it is about the selected shipment."""
    headers = header_values(record.headers)
    if selection.courier is not None and headers.get("courier") != selection.courier.encode():
        return Choice.OUTSIDE
    if (selection.since or selection.until) and not within(selection, received_at(record)):
        return Choice.OUTSIDE
    if not belongs(record):
        return Choice.OUTSIDE
    if headers.get("replay-of"):
        return Choice.REREADING
    return Choice.DECISION if headers.get("source") == _OPERATOR else Choice.SELECTED


def within(selection: Selection, received: datetime) -> bool:
    """Whether a time received lies in the range."""
    if selection.since is not None and received < selection.since:
        return False
    return selection.until is None or received < selection.until
