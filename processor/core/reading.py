"""From raw records to readings: an observation of a shipment, or why there is none. Pure."""

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import tzinfo
from typing import ClassVar, Final

import msgspec

from schemas.couriers import COURIERS
from schemas.decisions import decision_digest, read_decision
from schemas.observation import Observation
from schemas.partitioning import partition_of
from schemas.records import (
    Provenance,
    RawRecord,
    UnforeseenError,
    UnreadableError,
    command_of,
    read_provenance,
    traceparent_of,
)
from schemas.vocabulary import DeadLetterReason, Source

_OPERATOR: Final = Source.OPERATOR

ZoneOf = Callable[[str, Source], tzinfo]
"""The zone of a courier's times without one, by the courier's name and the record's source."""


class Read(msgspec.Struct, frozen=True, gc=False):
    """A raw record and what it says."""

    record: RawRecord
    observation: Observation
    root: tuple[int, int] | None = None
    """Of a record read again: the root's partition and offset."""
    command_id: str | None = None
    traceparent: str | None = None
    """Of a traced webhook. Of a record read again it is the root's, like all else."""
    known: bool = False
    """Of a record read again: it says just what is stored of its root, so nothing comes of it (`roots.recognised`)."""

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset of the record that was read: the root, where there is one."""
        return self.root or (self.record.partition, self.record.offset)

    def former_name(self) -> bytes | None:
        """Return the record digest that an older edition gave the record, if it gave another."""
        if self.observation.decision is not None:
            return None
        return COURIERS[self.observation.courier].former_digest(self.record.value or b"")


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """A raw record that says nothing, and why."""

    root: ClassVar[None] = None

    record: RawRecord
    error: UnreadableError
    command_id: str | None = None
    traceparent: str | None = None


Reading = Read | Unreadable


def read(record: RawRecord, zone_of: ZoneOf, partitions: int) -> Reading:
    """Read one raw record. `partitions` is the topic's count: a record in another's partition is refused."""
    try:
        provenance = read_provenance(record.headers, record.timestamp_ms)
        observation = observe(record.value or b"", provenance, zone_of)
        home = partition_of(observation.shipment_id.encode(), partitions)
        if home != record.partition:
            raise UnreadableError(DeadLetterReason.MISROUTED, f"the shipment belongs to partition {home}")
    except UnreadableError as error:
        return _unreadable(record, error)
    except MemoryError:
        raise  # no record's fault
    except Exception as error:  # noqa: BLE001 - whatever one record causes is that record's dead letter
        return _unreadable(record, UnforeseenError(error))
    root = provenance.root if provenance.replay_of else None
    return Read(record, observation, root, provenance.command_id, provenance.traceparent)


def _unreadable(record: RawRecord, error: UnreadableError) -> Unreadable:
    return Unreadable(record, error, command_of(record.headers), traceparent_of(record.headers))


def observe(value: bytes, provenance: Provenance, zone_of: ZoneOf) -> Observation:
    """Read a raw record's value: a courier's body, or an operator's decision.

    Raises:
        UnreadableError: it gives no observation.

    """
    courier = COURIERS.get(provenance.courier)
    if courier is None:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "no such courier")
    if provenance.replay_of:
        provenance = msgspec.structs.replace(provenance, source=provenance.root_source)
    if provenance.source is _OPERATOR:
        return read_decision(value, provenance)
    return courier.read(value, provenance, zone_of(provenance.courier, provenance.source))


Written = Set[tuple[str, bytes]]
"""Decisions that stand in the operators' log: command id, and the digest of what was said."""


def authorized(readings: Sequence[Reading], written: Written) -> list[Reading]:
    """Return readings in which a decision that no operator's command wrote down is a dead letter.

    Whoever may append to the raw topic may claim to be an operator; the log says who is. Such a record's command id
    counts for nothing: it may be that of a decision yet to come.
    """
    return [
        _unauthorized(each)
        if isinstance(each, Read) and each.observation.decision is not None and not _is_written(each, written)
        else each
        for each in readings
    ]


def decisions(readings: Iterable[Reading]) -> list[Read]:
    """Return those of the readings that are operators' decisions."""
    return [each for each in readings if isinstance(each, Read) and each.observation.decision is not None]


def is_unauthorized(reading: Reading) -> bool:
    """Whether a record is a decision that no operator's command wrote down."""
    return isinstance(reading, Unreadable) and reading.error.reason is DeadLetterReason.UNAUTHORIZED


def _is_written(reading: Read, written: Written) -> bool:
    decision, command = reading.observation.decision, reading.command_id
    assert decision is not None
    return command is not None and (command, decision_digest(decision)) in written


def _unauthorized(reading: Reading) -> Unreadable:
    detail = "no row of operator_log has this command id and this decision"
    error = UnreadableError(DeadLetterReason.UNAUTHORIZED, detail)
    return Unreadable(reading.record, error, traceparent=reading.traceparent)
