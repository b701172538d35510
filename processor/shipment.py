"""What one observation does to its shipment. Pure.

A shipment is known by its observations; applying another returns the shipment after it and what came of it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Final

import msgspec

from processor.fold import Entry, Snapshot, advance, fold, sort_key, transition_of
from schemas.couriers import Courier
from schemas.couriers.base import Position
from schemas.observation import Accept, Details, Dismiss, Erase, Observation, Retire, SetStatus
from schemas.vocabulary import AnomalyKind, EventType, Service, Source, Status, Transition

NameAnomaly = Callable[[AnomalyKind], str]
"""Gives the id of the anomaly that the record at hand would become."""

NOTHING_PROVEN: Final[frozenset[Service]] = frozenset()


class Shipment(msgspec.Struct, frozen=True, gc=False):
    """Everything the next observation is judged by.

    `records` holds the observation of each raw record, by the record's digest; `kept` those that count, one for each
    reading, by its digest; `entries` these in order, but for those that take no part in the fold. `anomalies` are the
    ids of those that refused a record.
    """

    shipment_id: str
    service: Service
    snapshot: Snapshot | None = None
    version: int = 0
    entries: tuple[Entry, ...] = ()
    proven: frozenset[Service] = NOTHING_PROVEN
    hinted: frozenset[Service] = NOTHING_PROVEN
    records: dict[bytes, Observation] = {}
    kept: dict[bytes, Observation] = {}
    anomalies: dict[bytes, str] = {}
    decided: bool = False
    """An operator has set its status, or made a refused observation count."""
    dismissed: frozenset[str] = frozenset()
    """The ids of anomalies that an operator has dismissed."""
    erased: bool = False
    """Its personal data was erased, and none is taken in."""
    retired: bool = False
    """Its history was given up: only the snapshot is left."""


class Past(msgspec.Struct, frozen=True, gc=False):
    """One kept observation of a shipment, in the order of arrival.

    `anomaly` is the id of the anomaly that refused it, if one did. `again`: its record was read again, and this is the
    newer reading.
    """

    observation: Observation
    anomaly: str | None = None
    again: bool = False


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
    """Nothing to tell: details for a shipment not known yet, a re-reading or a decision without effect."""


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
    return Shipment(shipment_id, courier.service(NOTHING_PROVEN, NOTHING_PROVEN))


def retired_shipment(shipment_id: str, version: int, snapshot: Snapshot) -> Shipment:
    """Return a shipment of which only the row is left."""
    return Shipment(shipment_id, snapshot.service, snapshot, version, retired=True)


def rebuild(courier: Courier, shipment_id: str, version: int, history: Iterable[Past]) -> Shipment:
    """Return a shipment from its kept observations, in the order of arrival."""
    records: dict[bytes, Observation] = {}
    anomalies: dict[bytes, str] = {}
    for past in history:
        name, observation = past.observation.record_digest, past.observation
        if past.again and (former := _under_its_former_name(records, observation)) is not None:
            del records[former.record_digest]
        if past.again or name not in records or _counts_before(observation, records[name]):
            records[name] = observation
        if past.anomaly:
            anomalies[name] = past.anomaly
    empty = msgspec.structs.replace(new_shipment(courier, shipment_id), version=version, anomalies=anomalies)
    return _assembled(courier, empty, records)


def apply(
    courier: Courier, shipment: Shipment, observation: Observation, name_anomaly: NameAnomaly, *, again: bool = False
) -> Applied:
    """Apply one observation.

    `again`: its record is read again with today's code. The reading replaces the one that the record gave, if it gave
    one, and there is an event only where the snapshot changes.
    """
    if shipment.erased:
        observation = forgotten(observation)
    if shipment.retired:
        return _apply_to_retired(shipment, observation, again=again)
    name = observation.record_digest
    known = shipment.records.get(name)
    if again:
        return _apply_again(courier, shipment, observation, name_anomaly)
    if known is not None:
        if not _counts_before(observation, known):
            return Applied(shipment, Duplicate(), kept=False)
        return _apply_copy(courier, shipment, observation)
    if observation.reading_digest in shipment.kept:
        if observation.known and _counts_before(observation, shipment.kept[observation.reading_digest]):
            return _apply_copy(courier, shipment, observation)
        return Applied(_remembering(shipment, observation), Duplicate())
    if observation.decision is not None and observation.status is None:
        return _apply_decision(courier, shipment, observation)
    if not observation.known:
        unknown = AnomalyKind.UNKNOWN_STATUS
        return Applied(
            _refusing(_remembering(shipment, observation), observation, name_anomaly(unknown)), Refused(unknown)
        )
    return _apply_new(courier, shipment, observation, name_anomaly)


def forgotten(observation: Observation) -> Observation:
    """Return an observation without personal data. The scan text goes too: couriers write names into it."""
    details = _impersonal(observation.details)
    return observation if details == observation.details else msgspec.structs.replace(observation, details=details)


def _impersonal(details: Details) -> Details:
    return msgspec.structs.replace(details, driver=None, signed_by=None, tracking_url=None, description=None, proofs=())


def _apply_new(courier: Courier, shipment: Shipment, observation: Observation, name_anomaly: NameAnomaly) -> Applied:
    folded, after = _with(courier, shipment, observation)
    effect = _effect(courier, shipment, folded, observation)
    if isinstance(effect, Changed):
        after = msgspec.structs.replace(after, version=shipment.version + 1)
    elif isinstance(effect, Refused):
        after = _refusing(after, observation, name_anomaly(effect.kind))
    return Applied(after, effect, conflict=len(after.proven) > 1 >= len(shipment.proven))


def _with(courier: Courier, shipment: Shipment, observation: Observation) -> tuple[Folded, Shipment]:
    """Return the fold and the shipment with a new observation, put in its place where that is all there is to do."""
    if shipment.decided or observation.decision is not None:
        after = _assembled(courier, shipment, {**shipment.records, observation.record_digest: observation})
        return Folded(after.service, after.snapshot, after.entries), after
    proven, hinted = shipment.proven.union(observation.proves), shipment.hinted.union(observation.hints)
    folded = _insert(courier, shipment, observation, courier.service(proven, hinted))
    return folded, Shipment(
        shipment.shipment_id,
        folded.service,
        folded.snapshot,
        shipment.version,
        folded.entries,
        proven,
        hinted,
        {**shipment.records, observation.record_digest: observation},
        {**shipment.kept, observation.reading_digest: observation},
        shipment.anomalies,
        dismissed=shipment.dismissed,
        erased=shipment.erased,
    )


def _apply_copy(courier: Courier, shipment: Shipment, observation: Observation) -> Applied:
    """Take a copy of what is known that was received earlier: of two copies it counts."""
    after = _assembled(courier, shipment, {**shipment.records, observation.record_digest: observation})
    if after.snapshot == shipment.snapshot:
        return Applied(after, Duplicate())
    return _correcting(shipment, after)


def _apply_again(courier: Courier, shipment: Shipment, observation: Observation, name_anomaly: NameAnomaly) -> Applied:
    """Take a record's newer reading."""
    records = shipment.records
    old = _under_its_former_name(records, observation)
    if old is not None:
        records = {name: each for name, each in records.items() if each is not old}
    else:
        old = records.get(observation.record_digest)
        if old is None:
            return _only_differences(shipment, apply(courier, shipment, observation, name_anomaly))
        if observation == old or _record(observation) != _record(old):
            return Applied(shipment, Unchanged(), kept=False)
    after = _assembled(courier, shipment, {**records, observation.record_digest: observation})
    if after.snapshot is None and shipment.snapshot is not None:
        return Applied(shipment, Unchanged(), kept=False)  # a row is never taken back
    counted = any(entry.accepted and entry.observation is old for entry in shipment.entries)
    counts = observation.takes_part and after.kept[observation.reading_digest] is observation
    conflict = len(after.proven) > 1 >= len(shipment.proven)
    if counted or not counts:
        if after.snapshot == shipment.snapshot:
            return Applied(after, Unchanged(), conflict)
        return _correcting(shipment, after)
    effect = _effect(courier, shipment, Folded(after.service, after.snapshot, after.entries), observation)
    if isinstance(effect, Refused):
        refusal = name_anomaly(effect.kind)
        if refusal == shipment.anomalies.get(observation.record_digest):
            return Applied(after, Unchanged(), conflict)
        return Applied(_refusing(after, observation, refusal), effect, conflict)
    if isinstance(effect, Changed):
        after = msgspec.structs.replace(after, version=shipment.version + 1)
    return _only_differences(shipment, Applied(after, effect, conflict))


def _under_its_former_name(records: Mapping[bytes, Observation], observation: Observation) -> Observation | None:
    """Return what the same record gave when it was identified otherwise."""
    known = records.get(observation.former_digest) if observation.former_digest else None
    if known is None or _record(known)[:-1] != _record(observation)[:-1]:
        return None
    return known


def _only_differences(before: Shipment, applied: Applied) -> Applied:
    """Leave out an event that shows no difference."""
    if not isinstance(applied.effect, Changed) or applied.shipment.snapshot != before.snapshot:
        return applied
    silent = msgspec.structs.replace(applied.shipment, version=before.version)
    return msgspec.structs.replace(applied, shipment=silent, effect=Unchanged())


def _apply_decision(courier: Courier, shipment: Shipment, observation: Observation) -> Applied:
    """Take an operator's decision that is no status."""
    records = {**shipment.records, observation.record_digest: observation}
    decision = observation.decision
    if isinstance(decision, Retire):
        after = _retired(shipment) if _may_retire(courier, shipment, decision) else shipment
        return Applied(after, Unchanged(), kept=False)
    if isinstance(decision, Erase):
        records = {name: forgotten(each) for name, each in records.items()}
    after = _assembled(courier, shipment, records)
    if after.snapshot != shipment.snapshot:
        return _correcting(shipment, after)
    resolves = _resolved(shipment, Folded(after.service, after.snapshot, after.entries))
    if not resolves:
        return Applied(after, Unchanged())
    assert shipment.snapshot is not None
    told = Changed(EventType.HISTORY_ADDED, shipment.snapshot.status, late=True, resolves=resolves)
    return Applied(msgspec.structs.replace(after, version=shipment.version + 1), told)


def _may_retire(courier: Courier, shipment: Shipment, decision: Retire) -> bool:
    """Whether a shipment is as silent as it must be, and final if it must be."""
    snapshot = shipment.snapshot
    if snapshot is None:
        return False
    if not (decision.unfinished or courier.lifecycles[snapshot.service].is_final(snapshot.status)):
        return False
    return all(each.received_at < decision.silent_since for each in shipment.records.values())


def _retired(shipment: Shipment) -> Shipment:
    snapshot = shipment.snapshot
    assert snapshot is not None
    bare = msgspec.structs.replace(snapshot, details=_impersonal(snapshot.details))
    return retired_shipment(shipment.shipment_id, shipment.version, bare)


def _apply_to_retired(shipment: Shipment, observation: Observation, *, again: bool) -> Applied:
    """Take what comes for a shipment whose history is gone: nothing can be told from it any more."""
    assert shipment.snapshot is not None
    if again or observation.decision is not None:
        return Applied(shipment, Unchanged(), kept=False)
    told = Changed(EventType.HISTORY_ADDED, shipment.snapshot.status, late=True)
    return Applied(msgspec.structs.replace(shipment, version=shipment.version + 1), told, kept=False)


def _assembled(courier: Courier, shipment: Shipment, records: dict[bytes, Observation]) -> Shipment:
    """Return a shipment folded anew from the observations of its records."""
    kept: dict[bytes, Observation] = {}
    proven = hinted = NOTHING_PROVEN
    accepted: set[bytes] = set()
    dismissed: set[str] = set()
    erased = decided = False
    for observation in records.values():
        reading = observation.reading_digest
        if reading not in kept or _counts_before(observation, kept[reading]):
            kept[reading] = observation
        proven, hinted = proven.union(observation.proves), hinted.union(observation.hints)
        decision = observation.decision
        if isinstance(decision, Accept):
            accepted.add(bytes.fromhex(decision.record))
        elif isinstance(decision, Dismiss):
            dismissed.add(decision.anomaly_id)
        erased = erased or isinstance(decision, Erase)
        decided = decided or isinstance(decision, SetStatus | Accept)
    service = courier.service(proven, hinted)
    refused = {records[name].reading_digest: each for name, each in shipment.anomalies.items() if name in records}
    forced = {records[name].reading_digest for name in accepted if name in records}
    entries = _in_order(courier, service, kept, refused, forced)
    snapshot, judged = fold(courier, service, entries)
    return Shipment(
        shipment.shipment_id,
        service,
        snapshot,
        shipment.version,
        judged,
        proven,
        hinted,
        records,
        kept,
        shipment.anomalies,
        decided,
        frozenset(dismissed),
        erased,
    )


def _in_order(
    courier: Courier,
    service: Service,
    kept: Mapping[bytes, Observation],
    refused: Mapping[bytes, str],
    forced: set[bytes],
) -> list[Entry]:
    """Put observations in order. An operator's stands behind everything received before it."""
    told = [each for each in kept.values() if each.takes_part]
    decisions = sorted((each for each in told if each.decision), key=_copy_order)

    def entry(key: Position, observation: Observation) -> Entry:
        reading = observation.reading_digest
        force = observation.decision is not None or reading in forced
        return Entry(key, observation, anomaly=refused.get(reading), forced=force)

    entries = [entry(sort_key(courier, service, each), each) for each in told if not each.decision]
    for decision in decisions:
        before = [each.key for each in entries if each.observation.received_at <= decision.received_at]
        behind: Position = max(before, default=((),))
        entries.append(entry((*behind, decision.received_at, decision.reading_digest), decision))
    return sorted(entries, key=_by_key)


def _remembering(shipment: Shipment, observation: Observation) -> Shipment:
    """Return a shipment that knows one more record, and its reading, but folds as before."""
    kept = shipment.kept
    if observation.reading_digest not in kept:
        kept = {**kept, observation.reading_digest: observation}
    records = {**shipment.records, observation.record_digest: observation}
    return msgspec.structs.replace(shipment, records=records, kept=kept)


def _refusing(shipment: Shipment, observation: Observation, anomaly_id: str) -> Shipment:
    entries = tuple(
        msgspec.structs.replace(entry, anomaly=anomaly_id) if entry.observation is observation else entry
        for entry in shipment.entries
    )
    anomalies = {**shipment.anomalies, observation.record_digest: anomaly_id}
    return msgspec.structs.replace(shipment, entries=entries, anomalies=anomalies)


def _correcting(before: Shipment, after: Shipment) -> Applied:
    change = _corrected(before, Folded(after.service, after.snapshot, after.entries))
    conflict = len(after.proven) > 1 >= len(before.proven)
    return Applied(msgspec.structs.replace(after, version=before.version + 1), change, conflict)


def _counts_before(one: Observation, other: Observation) -> bool:
    """Which of two copies counts: the one received earlier; the rest only makes the choice the same every time."""
    return _copy_order(one) < _copy_order(other)


def _copy_order(observation: Observation) -> tuple[object, ...]:
    return (*_record(observation), msgspec.json.encode(observation.details))


def _record(observation: Observation) -> tuple[object, ...]:
    """Return which raw record it is, whatever was read in it."""
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
    if verdict.forced and verdict.moved and after.snapshot != before.snapshot:
        return _corrected(before, after)
    if _in_turn(before, after, entry):
        previous = before.snapshot.status if before.snapshot else None
        if not verdict.moved:
            return Changed(EventType.UPDATED, previous=previous, resolves=resolves)
        return Changed(
            EventType.STATUS_CHANGED,
            previous=previous,
            transition=transition_of(
                courier.lifecycles[after.service],
                verdict,
                after.snapshot.status,
                from_final=before.snapshot is not None
                and courier.lifecycles[before.service].is_final(before.snapshot.status),
            ),
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
    """Return the anomalies whose observations did not count before and count now."""
    if not before.anomalies:
        return ()
    settled = {entry.anomaly for entry in before.entries if entry.accepted}
    open_before = set(before.anomalies.values()) - settled
    return tuple(
        entry.anomaly for entry in after.entries if entry.anomaly and entry.accepted and entry.anomaly in open_before
    )


def _by_key(entry: Entry) -> tuple[object, ...]:
    return entry.key
