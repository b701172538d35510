"""What one observation does to its shipment, which is changed in place, and what came of it. Pure."""

from collections.abc import Callable
from typing import ClassVar

import msgspec

from processor.core.copies import counts_before, under_its_former_name, which_record
from processor.core.fold import Snapshot, Verdict, transition_of
from processor.core.history import forget_personal, learn, refuse, retire
from processor.core.state import Shipment, forgotten
from schemas.couriers import Courier
from schemas.couriers.base import Position
from schemas.observation import KEPT_OBSERVATIONS, Erase, Observation, Retire
from schemas.vocabulary import AnomalyKind, EventType, Outcome, Service, Source, Status, Transition

NameAnomaly = Callable[[AnomalyKind], str]
"""Gives the id of the anomaly that the record at hand would become."""


class Before(msgspec.Struct, frozen=True, gc=False):
    """A shipment before an observation."""

    service: Service
    snapshot: Snapshot | None
    shown: Snapshot | None
    """The snapshot as an older edition came to it, where nothing was told since; else the same one."""
    conflicting: bool
    """Two services were proven."""

    @property
    def outdated(self) -> bool:
        """Whether something else was shown than its observations come to by today's rules."""
        return self.shown is not self.snapshot and self.shown != self.snapshot


class Changed(msgspec.Struct, frozen=True, gc=False):
    """An event. `late`: the webhook came late, and the event shows what it said."""

    outcome: ClassVar[Outcome] = Outcome.EVENT

    type: EventType
    previous: Status | None
    transition: Transition | None = None
    skipped: tuple[Status, ...] = ()
    late: bool = False
    resolves: tuple[str, ...] = ()


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """Known already: a copy, or a pulled entry that says nothing new."""

    outcome: ClassVar[Outcome] = Outcome.DUPLICATE


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An anomaly."""

    outcome: ClassVar[Outcome] = Outcome.ANOMALY

    kind: AnomalyKind


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """Nothing to tell: details for a shipment not known yet, a re-reading or a decision without effect."""

    outcome: ClassVar[Outcome] = Outcome.UNCHANGED


Effect = Changed | Duplicate | Refused | Unchanged


class Applied(msgspec.Struct, frozen=True, gc=False):
    """What came of an observation.

    `conflict`: the observation completed the proof of two services. `kept`: the observation takes part from now on,
    in the fold or in telling repeats.
    """

    effect: Effect
    conflict: bool = False
    kept: bool = True


def apply(
    courier: Courier,
    shipment: Shipment,
    observation: Observation,
    name_anomaly: NameAnomaly,
    *,
    again: bool = False,
    limit: int = KEPT_OBSERVATIONS,
) -> Applied:
    """Apply one observation to a shipment.

    `again`: its record is read again with today's code. The reading replaces the one that the record gave, if it gave
    one, and there is an event only where the snapshot is another than was shown. `limit`: how many observations of its
    couriers a shipment keeps. Beyond it nothing of them changes it any more; what operators decide does, and so does a
    newer reading of what is kept.
    """
    if shipment.erased:
        observation = forgotten(observation)
    if shipment.retired:
        return _apply_to_retired(shipment, observation, again=again)
    known = shipment.records.get(observation.record_digest)
    if again:
        known = under_its_former_name(shipment.records, observation) or known
    full = shipment.held >= limit and observation.decision is None
    if known is None:
        applied = _apply_first(courier, shipment, observation, name_anomaly, again=again, full=full)
    elif again:
        applied = _apply_again(courier, shipment, observation, known, name_anomaly)
    elif full or not counts_before(observation, known):
        applied = Applied(Duplicate(), kept=False)
    else:
        applied = _apply_copy(courier, shipment, observation)
    if applied.kept and observation.decision is None and not (again and known is not None):
        shipment.held += 1
    return applied


def _apply_first(
    courier: Courier,
    shipment: Shipment,
    observation: Observation,
    name_anomaly: NameAnomaly,
    *,
    again: bool,
    full: bool,
) -> Applied:
    """Take a record that the shipment does not know."""
    copies = shipment.kept.get(observation.reading_digest)
    if copies is not None:
        if full:
            return Applied(Duplicate(), kept=False)
        if observation.known and counts_before(observation, copies[0]):
            return _apply_copy(courier, shipment, observation)
        learn(courier, shipment, observation)
        return Applied(Duplicate())
    if observation.decision is not None and observation.status is None:
        return _apply_decision(courier, shipment, observation)
    if full:
        return Applied(Refused(AnomalyKind.HISTORY_LIMIT), kept=False)
    before = _mark(shipment)
    learn(courier, shipment, observation)
    if not observation.known:
        effect: Effect = Refused(AnomalyKind.UNKNOWN_STATUS)
    else:
        effect = _effect(courier, before, shipment, observation)
    if again:
        effect = _only_differences(before, shipment, effect)
    _note(shipment, observation, effect, name_anomaly)
    return Applied(effect, _conflict(before, shipment))


def _apply_copy(courier: Courier, shipment: Shipment, observation: Observation) -> Applied:
    """Take a copy of what is known that was received earlier: of two copies it counts."""
    before = _mark(shipment)
    learn(courier, shipment, observation)
    if shipment.snapshot == before.snapshot:
        return Applied(Duplicate())
    return _correcting(before, shipment)


def _apply_again(
    courier: Courier, shipment: Shipment, observation: Observation, old: Observation, name_anomaly: NameAnomaly
) -> Applied:
    """Take a record's newer reading."""
    renamed = old.record_digest != observation.record_digest
    before = _mark(shipment)
    if not renamed and (observation == old or which_record(observation) != which_record(old)):
        effect = _only_differences(before, shipment, Unchanged())
        _note(shipment, observation, effect, name_anomaly)
        return Applied(effect, kept=False)
    entry = shipment.timeline.find(old.reading_digest)
    counted = entry is not None and entry.accepted and entry.observation is old
    learn(courier, shipment, observation, old)
    if shipment.snapshot is None and before.snapshot is not None:
        learn(courier, shipment, old, observation)  # a row is never taken back
        return Applied(Unchanged(), kept=False)
    counts = observation.takes_part and shipment.kept[observation.reading_digest][0] is observation
    effect = Unchanged() if counted or not counts else _effect(courier, before, shipment, observation)
    if isinstance(effect, Refused) and name_anomaly(effect.kind) == shipment.anomalies.get(observation.record_digest):
        effect = Unchanged()
    effect = _only_differences(before, shipment, effect)
    _note(shipment, observation, effect, name_anomaly)
    return Applied(effect, _conflict(before, shipment))


def _apply_decision(courier: Courier, shipment: Shipment, observation: Observation) -> Applied:
    """Take an operator's decision that is no status."""
    decision = observation.decision
    if isinstance(decision, Retire):
        if _may_retire(courier, shipment, decision):
            retire(courier, shipment)
        return Applied(Unchanged(), kept=False)
    before = _mark(shipment)
    learn(courier, shipment, observation)
    if isinstance(decision, Erase):
        forget_personal(courier, shipment)
    if shipment.snapshot != before.shown:
        return _correcting(before, shipment)
    resolves = shipment.timeline.resolved()
    if not resolves:
        return Applied(Unchanged())
    assert shipment.snapshot is not None
    _count(shipment)
    return Applied(Changed(EventType.HISTORY_ADDED, shipment.snapshot.status, late=True, resolves=resolves))


def _may_retire(courier: Courier, shipment: Shipment, decision: Retire) -> bool:
    """Whether a shipment is as silent as it must be, and final if it must be."""
    snapshot = shipment.snapshot
    if snapshot is None:
        return False
    if not (decision.unfinished or courier.lifecycles[snapshot.service].is_final(snapshot.status)):
        return False
    return all(each.received_at < decision.silent_since for each in shipment.records.values())


def _apply_to_retired(shipment: Shipment, observation: Observation, *, again: bool) -> Applied:
    """Take what comes for a shipment whose history is gone: nothing can be told from it any more."""
    assert shipment.snapshot is not None
    if again or observation.decision is not None:
        return Applied(Unchanged(), kept=False)
    _count(shipment)
    return Applied(Changed(EventType.HISTORY_ADDED, shipment.snapshot.status, late=True), kept=False)


def _mark(shipment: Shipment) -> Before:
    """Begin to watch what changes."""
    shipment.timeline.mark()
    return Before(shipment.service, shipment.snapshot, shipment.shown, len(shipment.proven) > 1)


def _conflict(before: Before, shipment: Shipment) -> bool:
    return len(shipment.proven) > 1 and not before.conflicting


def _only_differences(before: Before, shipment: Shipment, effect: Effect) -> Effect:
    """Leave out an event that shows no difference, and correct a difference that no event shows."""
    if isinstance(effect, Changed) and shipment.snapshot == before.shown:
        return Unchanged()
    if isinstance(effect, Unchanged) and shipment.snapshot != before.shown:
        return _corrected(before, shipment)
    return effect


def _note(shipment: Shipment, observation: Observation, effect: Effect, name_anomaly: NameAnomaly) -> None:
    """Count an event, remember an anomaly."""
    if isinstance(effect, Changed):
        _count(shipment)
    elif isinstance(effect, Refused):
        refuse(shipment, observation, name_anomaly(effect.kind))


def _count(shipment: Shipment) -> None:
    """Count an event, which shows the snapshot."""
    shipment.version += 1
    shipment.shown = shipment.snapshot


def _correcting(before: Before, shipment: Shipment) -> Applied:
    _count(shipment)
    return Applied(_corrected(before, shipment), _conflict(before, shipment))


def _effect(courier: Courier, before: Before, shipment: Shipment, observation: Observation) -> Effect:
    """Say what a new observation led to, from the shipment as it was shown and as it is with it."""
    snapshot = shipment.snapshot
    if snapshot is None:
        return Unchanged()
    if observation.status is None:
        if shipment.service is not before.service or before.outdated:
            return _corrected(before, shipment)
        return Changed(EventType.UPDATED, previous=snapshot.status, resolves=shipment.timeline.resolved())
    unmoved = snapshot == before.snapshot
    if unmoved and _pulled_again(shipment, observation):
        return Duplicate()
    place, verdict = shipment.timeline.judged(observation.reading_digest)
    assert verdict is not None
    if verdict.forced and verdict.moved and not unmoved:
        return _corrected(before, shipment)
    if _in_turn(before, place, verdict, shipment):
        resolves = _resolved(before, shipment)
        if not verdict.moved:
            return Changed(EventType.UPDATED, previous=verdict.before, resolves=resolves)
        return Changed(
            EventType.STATUS_CHANGED,
            previous=verdict.before,
            transition=transition_of(
                courier.lifecycles[shipment.service],
                verdict,
                snapshot.status,
                from_final=before.shown is not None
                and courier.lifecycles[before.shown.service].is_final(before.shown.status),
            ),
            skipped=verdict.passed,
            resolves=resolves,
        )
    if not unmoved or (verdict.accepted and before.outdated):
        return _corrected(before, shipment)
    if verdict.accepted:
        resolves = shipment.timeline.resolved()
        return Changed(EventType.HISTORY_ADDED, previous=snapshot.status, late=True, resolves=resolves)
    return Refused(AnomalyKind.ILLEGAL_TRANSITION)


def _pulled_again(shipment: Shipment, observation: Observation) -> bool:
    """Whether a pulled entry's status and time are there already."""
    return observation.source is Source.PULL and shipment.timeline.at_the_time(observation) > 1


def _in_turn(before: Before, place: Position, verdict: Verdict, shipment: Shipment) -> bool:
    """Whether an observation came in its turn.

    That is: behind all accepted before, itself accepted, the last accepted now, judged from the status shown before.
    """
    shown = before.shown.status if before.shown else None
    return verdict.accepted and verdict.before is shown and shipment.timeline.is_last(place)


def _corrected(before: Before, shipment: Shipment) -> Changed:
    assert shipment.snapshot is not None
    resolves = _resolved(before, shipment)
    if before.shown is None:
        return Changed(EventType.STATUS_CHANGED, previous=None, transition=Transition.INITIAL, resolves=resolves)
    moved = shipment.snapshot.status is not before.shown.status
    return Changed(
        EventType.CORRECTED,
        previous=before.shown.status,
        transition=Transition.CORRECTION if moved else None,
        late=True,
        resolves=resolves,
    )


def _resolved(before: Before, shipment: Shipment) -> tuple[str, ...]:
    """Return the anomalies whose observations count now and did not before.

    Which of them counted by the rules of an older edition is not known: then all that count now.
    """
    if before.outdated:
        return tuple(entry.anomaly for entry in shipment.timeline if entry.anomaly and entry.accepted)
    return shipment.timeline.resolved()
