"""What one observation does to its shipment. Pure.

A shipment is known by its observations; applying another returns the shipment after it and what came of it.
"""

from bisect import bisect_left
from typing import Final

import msgspec

from processor.fold import Entry, Snapshot, advance, fold, sort_key, transition_of
from schemas.couriers import Courier
from schemas.observation import Observation
from schemas.vocabulary import AnomalyKind, EventType, Service, Source, Status, Transition

NOTHING_PROVEN: Final[frozenset[Service]] = frozenset()


class Shipment(msgspec.Struct, frozen=True):
    """Everything the next observation is judged by.

    `entries` are its observations in order, but for those with an unknown word. `copies` leads from each record's
    digest to its reading's, `kept` from a reading's digest to the copy of it that counts.
    """

    shipment_id: str
    service: Service
    snapshot: Snapshot | None = None
    version: int = 0
    entries: tuple[Entry, ...] = ()
    proven: frozenset[Service] = NOTHING_PROVEN
    copies: dict[bytes, bytes] = {}
    kept: dict[bytes, Observation] = {}


class Changed(msgspec.Struct, frozen=True):
    """An event. `says` is set where the webhook came late: the event then shows what it said."""

    type: EventType
    previous: Status | None
    transition: Transition | None = None
    skipped: tuple[Status, ...] = ()
    late: bool = False
    resolves: tuple[str, ...] = ()


class Duplicate(msgspec.Struct, frozen=True):
    """Known already."""


class Refused(msgspec.Struct, frozen=True):
    """An anomaly."""

    kind: AnomalyKind


class Unchanged(msgspec.Struct, frozen=True):
    """Nothing to tell: details for a shipment not known yet."""


Effect = Changed | Duplicate | Refused | Unchanged


class Applied(msgspec.Struct, frozen=True):
    """The shipment after an observation, and what came of it.

    `conflict`: the observation completed the proof of two services. `kept`: the observation takes part from now on,
    in the fold or in telling repeats.
    """

    shipment: Shipment
    effect: Effect
    conflict: bool = False
    kept: bool = True


def new_shipment(courier: Courier, shipment_id: str) -> Shipment:
    """Return a shipment nothing is known of yet."""
    return Shipment(shipment_id, courier.service(NOTHING_PROVEN))


def rebuild(
    courier: Courier, shipment_id: str, version: int, history: list[tuple[Observation, str | None]]
) -> Shipment:
    """Return a shipment from its kept observations (in any order), each with the anomaly that refused it, if any."""
    kept: dict[bytes, Observation] = {}
    copies: dict[bytes, bytes] = {}
    anomalies: dict[bytes, str] = {}
    proven: frozenset[Service] = NOTHING_PROVEN
    for observation, anomaly in history:
        reading = copies.get(observation.record_digest, observation.reading_digest)
        copies[observation.record_digest] = reading
        if reading not in kept or _counts_before(observation, kept[reading]):
            kept[reading] = observation
        if anomaly:
            anomalies[reading] = anomaly
        proven |= frozenset(observation.proves)
    service = courier.service(proven)
    entries = [
        Entry(sort_key(courier, service, observation), observation, anomaly=anomalies.get(reading))
        for reading, observation in kept.items()
        if observation.known
    ]
    snapshot, judged = fold(courier, service, sorted(entries, key=_by_key))
    return Shipment(shipment_id, service, snapshot, version, judged, proven, copies, kept)


def apply(courier: Courier, shipment: Shipment, observation: Observation, anomaly_id: str) -> Applied:
    """Apply one observation. `anomaly_id` is the id of the `illegal_transition` it would become."""
    reading = observation.reading_digest
    if reading not in shipment.kept:
        reading = shipment.copies.get(observation.record_digest, reading)
    if reading in shipment.kept:
        return _apply_copy(courier, shipment, observation, reading)
    remembered = msgspec.structs.replace(
        shipment,
        copies={**shipment.copies, observation.record_digest: reading},
        kept={**shipment.kept, reading: observation},
    )
    if not observation.known:
        return Applied(remembered, Refused(AnomalyKind.UNKNOWN_STATUS))
    proven = shipment.proven.union(observation.proves)
    after = _insert(courier, remembered, observation, proven)
    effect = _effect(courier, shipment, after, observation)
    match effect:
        case Changed():
            after = msgspec.structs.replace(after, version=shipment.version + 1)
        case Refused():
            after = _mark(after, observation, anomaly_id)
        case _:
            pass
    return Applied(after, effect, conflict=len(proven) > 1 >= len(shipment.proven))


def _apply_copy(courier: Courier, shipment: Shipment, observation: Observation, reading: bytes) -> Applied:
    """Take a copy of what is known: of two copies the one received earlier counts."""
    known = shipment.kept[reading]
    fresh = observation.record_digest not in shipment.copies
    earlier = _counts_before(observation, known)
    if fresh:
        shipment = msgspec.structs.replace(shipment, copies={**shipment.copies, observation.record_digest: reading})
    if not earlier:
        return Applied(shipment, Duplicate(), kept=fresh)
    counting = msgspec.structs.replace(shipment, kept={**shipment.kept, reading: observation})
    if not known.known:
        return Applied(counting, Duplicate())
    entries = [
        Entry(sort_key(courier, shipment.service, observation), observation, anomaly=entry.anomaly)
        if entry.observation is known
        else entry
        for entry in shipment.entries
    ]
    snapshot, judged = fold(courier, shipment.service, sorted(entries, key=_by_key))
    after = msgspec.structs.replace(counting, snapshot=snapshot, entries=judged)
    if snapshot == shipment.snapshot:
        return Applied(after, Duplicate())
    effect = _corrected(shipment, after)
    return Applied(msgspec.structs.replace(after, version=shipment.version + 1), effect)


def _counts_before(one: Observation, other: Observation) -> bool:
    """Which of two copies counts: the one received earlier; the rest only makes the choice the same every time."""
    return _copy_order(one) < _copy_order(other)


def _copy_order(observation: Observation) -> tuple[object, ...]:
    pushed = observation.source is not Source.PULL
    return (observation.received_at, pushed, observation.item, observation.record_digest)


def _insert(courier: Courier, shipment: Shipment, observation: Observation, proven: frozenset[Service]) -> Shipment:
    """Put a new observation in its place; judge it alone where it stands last, else fold anew."""
    service = courier.service(proven)
    entry = Entry(sort_key(courier, service, observation), observation)
    if service is shipment.service:
        entries = shipment.entries
        if (not entries or entries[-1].key < entry.key) and shipment.snapshot and observation.status:
            snapshot, verdict = advance(courier, service, shipment.snapshot, observation)
            judged = (*entries, msgspec.structs.replace(entry, verdict=verdict))
            return msgspec.structs.replace(shipment, snapshot=snapshot, entries=judged, proven=proven)
        place = bisect_left(entries, entry.key, key=_by_key)
        ordered = [*entries[:place], entry, *entries[place:]]
    else:
        moved = [
            msgspec.structs.replace(old, key=sort_key(courier, service, old.observation)) for old in shipment.entries
        ]
        ordered = sorted([*moved, entry], key=_by_key)
    snapshot, judged = fold(courier, service, ordered)
    return msgspec.structs.replace(shipment, service=service, snapshot=snapshot, entries=judged, proven=proven)


def _effect(courier: Courier, before: Shipment, after: Shipment, observation: Observation) -> Effect:
    """Say what a new observation led to, from the shipment without and with it."""
    if after.snapshot is None:
        return Unchanged()
    resolves = _resolved(before, after)
    if observation.status is None:
        if after.service is not before.service:
            return _corrected(before, after)
        return Changed(EventType.UPDATED, previous=after.snapshot.status, resolves=resolves)
    entry = next(entry for entry in reversed(after.entries) if entry.observation is observation)
    verdict = entry.verdict
    assert verdict is not None
    if _in_turn(before, after, entry):
        previous = before.snapshot.status if before.snapshot else None
        if not verdict.moved:
            return Changed(EventType.UPDATED, previous=previous, resolves=resolves)
        return Changed(
            EventType.STATUS_CHANGED,
            previous=previous,
            transition=transition_of(courier.lifecycles[after.service], verdict, after.snapshot.status),
            skipped=verdict.passed,
            resolves=resolves,
        )
    assert before.snapshot is not None
    if after.snapshot != before.snapshot:
        return _corrected(before, after)
    if verdict.accepted:
        return Changed(EventType.HISTORY_ADDED, previous=before.snapshot.status, late=True, resolves=resolves)
    return Refused(AnomalyKind.ILLEGAL_TRANSITION)


def _in_turn(before: Shipment, after: Shipment, entry: Entry) -> bool:
    """Whether an observation came in its turn.

    That is: behind all accepted before, itself accepted, the last accepted now, judged from the status shown before.
    """
    if not entry.accepted or entry.verdict is None:
        return False
    shown = before.snapshot.status if before.snapshot else None
    if entry.verdict.before is not shown:
        return False
    behind = after.entries[after.entries.index(entry) + 1 :]
    accepted_before = {old.observation.reading_digest for old in before.entries if old.accepted} if behind else ()
    return not any(late.accepted or late.observation.reading_digest in accepted_before for late in behind)


def _corrected(before: Shipment, after: Shipment) -> Changed:
    assert before.snapshot is not None
    assert after.snapshot is not None
    moved = after.snapshot.status is not before.snapshot.status
    return Changed(
        EventType.CORRECTED,
        previous=before.snapshot.status,
        transition=Transition.CORRECTION if moved else None,
        late=True,
        resolves=_resolved(before, after),
    )


def _resolved(before: Shipment, after: Shipment) -> tuple[str, ...]:
    """Return the anomalies whose observations were refused before and are accepted now."""
    refused = {entry.observation.reading_digest for entry in before.entries if entry.anomaly and not entry.accepted}
    if not refused:
        return ()
    return tuple(
        entry.anomaly
        for entry in after.entries
        if entry.anomaly and entry.accepted and entry.observation.reading_digest in refused
    )


def _mark(shipment: Shipment, observation: Observation, anomaly_id: str) -> Shipment:
    entries = tuple(
        msgspec.structs.replace(entry, anomaly=anomaly_id) if entry.observation is observation else entry
        for entry in shipment.entries
    )
    return msgspec.structs.replace(shipment, entries=entries)


def _by_key(entry: Entry) -> tuple[object, ...]:
    return entry.key
