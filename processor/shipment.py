"""What one observation does to its shipment. Pure.

A shipment is known by its observations; applying another returns the shipment after it and what came of it.
"""

from bisect import bisect_left
from itertools import takewhile
from typing import Final

import msgspec

from processor.fold import Entry, Snapshot, advance, fold, sort_key, transition_of
from schemas.couriers import Courier
from schemas.observation import Observation
from schemas.vocabulary import AnomalyKind, EventType, Service, Source, Status, Transition

NOTHING_PROVEN: Final[frozenset[Service]] = frozenset()


class Shipment(msgspec.Struct, frozen=True, gc=False):
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


class Folded(msgspec.Struct, frozen=True, gc=False):
    """The fold with one more observation."""

    service: Service
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]


class Changed(msgspec.Struct, frozen=True, gc=False):
    """An event. `late`: the webhook came late, and the event shows what it said."""

    type: EventType
    previous: Status | None
    transition: Transition | None = None
    skipped: tuple[Status, ...] = ()
    late: bool = False
    resolves: tuple[str, ...] = ()


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """Known already: a copy, or a pulled entry that says nothing new."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An anomaly."""

    kind: AnomalyKind


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """Nothing to tell: details for a shipment not known yet."""


Effect = Changed | Duplicate | Refused | Unchanged


class Applied(msgspec.Struct, frozen=True, gc=False):
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
    copies = {**shipment.copies, observation.record_digest: reading}
    kept = {**shipment.kept, reading: observation}
    if not observation.known:
        remembered = msgspec.structs.replace(shipment, copies=copies, kept=kept)
        return Applied(remembered, Refused(AnomalyKind.UNKNOWN_STATUS))
    proven = shipment.proven.union(observation.proves)
    folded = _insert(courier, shipment, observation, courier.service(proven))
    effect = _effect(courier, shipment, folded, observation)
    entries, version = folded.entries, shipment.version
    if isinstance(effect, Changed):
        version += 1
    elif isinstance(effect, Refused):
        entries = _mark(entries, observation, anomaly_id)
    after = Shipment(shipment.shipment_id, folded.service, folded.snapshot, version, entries, proven, copies, kept)
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
    folded = Folded(shipment.service, *fold(courier, shipment.service, sorted(entries, key=_by_key)))
    after = msgspec.structs.replace(counting, snapshot=folded.snapshot, entries=folded.entries)
    if folded.snapshot == shipment.snapshot:
        return Applied(after, Duplicate())
    corrected = msgspec.structs.replace(after, version=shipment.version + 1)
    return Applied(corrected, _corrected(shipment, folded))


def _counts_before(one: Observation, other: Observation) -> bool:
    """Which of two copies counts: the one received earlier; the rest only makes the choice the same every time."""
    return _copy_order(one) < _copy_order(other)


def _copy_order(observation: Observation) -> tuple[object, ...]:
    pushed = observation.source is not Source.PULL
    return (observation.received_at, pushed, observation.item, observation.record_digest)


def _insert(courier: Courier, shipment: Shipment, observation: Observation, service: Service) -> Folded:
    """Put a new observation in its place; judge it alone where it stands last, else fold anew."""
    key = sort_key(courier, service, observation)
    entries = shipment.entries
    if service is not shipment.service:
        moved = [msgspec.structs.replace(old, key=sort_key(courier, service, old.observation)) for old in entries]
        ordered = sorted([*moved, Entry(key, observation)], key=_by_key)
    elif shipment.snapshot and observation.status and entries[-1].key < key:
        snapshot, verdict = advance(courier, service, shipment.snapshot, observation)
        return Folded(service, snapshot, (*entries, Entry(key, observation, verdict)))
    else:
        place = bisect_left(entries, key, key=_by_key)
        ordered = [*entries[:place], Entry(key, observation), *entries[place:]]
    return Folded(service, *fold(courier, service, ordered))


def _effect(courier: Courier, before: Shipment, after: Folded, observation: Observation) -> Effect:
    """Say what a new observation led to, from the shipment without and with it."""
    if after.snapshot is None:
        return Unchanged()
    resolves = _resolved(before, after)
    if observation.status is None:
        if after.service is not before.service:
            return _corrected(before, after)
        return Changed(EventType.UPDATED, previous=after.snapshot.status, resolves=resolves)
    if after.snapshot == before.snapshot and _pulled_again(courier, before, after.service, observation):
        return Duplicate()
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


def _pulled_again(courier: Courier, before: Shipment, service: Service, observation: Observation) -> bool:
    """Whether a pulled entry's status and time are there already."""
    if observation.source is not Source.PULL:
        return False
    moment = courier.occurred(observation, service).at
    return any(
        old.observation.status is observation.status and courier.occurred(old.observation, service).at == moment
        for old in before.entries
    )


def _in_turn(before: Shipment, after: Folded, entry: Entry) -> bool:
    """Whether an observation came in its turn.

    That is: behind all accepted before, itself accepted, the last accepted now, judged from the status shown before.
    """
    shown = before.snapshot.status if before.snapshot else None
    if not entry.accepted or entry.verdict is None or entry.verdict.before is not shown:
        return False
    behind = list(takewhile(lambda later: later is not entry, reversed(after.entries)))
    accepted_before = {old.observation.reading_digest for old in before.entries if old.accepted} if behind else ()
    return not any(late.accepted or late.observation.reading_digest in accepted_before for late in behind)


def _corrected(before: Shipment, after: Folded) -> Changed:
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


def _resolved(before: Shipment, after: Folded) -> tuple[str, ...]:
    """Return the anomalies whose observations were refused before and are accepted now."""
    refused = {entry.observation.reading_digest for entry in before.entries if entry.anomaly and not entry.accepted}
    if not refused:
        return ()
    return tuple(
        entry.anomaly
        for entry in after.entries
        if entry.anomaly and entry.accepted and entry.observation.reading_digest in refused
    )


def _mark(entries: tuple[Entry, ...], observation: Observation, anomaly_id: str) -> tuple[Entry, ...]:
    return tuple(
        msgspec.structs.replace(entry, anomaly=anomaly_id) if entry.observation is observation else entry
        for entry in entries
    )


def _by_key(entry: Entry) -> tuple[object, ...]:
    return entry.key
