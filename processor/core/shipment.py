"""What one observation does to its shipment, which is changed in place. Pure.

The observation is taken in (`history`), the shipment compared with what it was (`effects`).
"""

import msgspec

from processor.core import history
from processor.core.copies import counts_before, under_its_former_name, which_record
from processor.core.decisions import apply_decision
from processor.core.effects import (
    Application,
    Arrival,
    Changed,
    Duplicate,
    Effect,
    Rejected,
    Unchanged,
    compare,
    conclude,
    in_order,
)
from processor.core.state import Shipment, forgotten
from schemas.observation import KEPT_OBSERVATIONS, Observation, SetStatus
from schemas.vocabulary import AnomalyKind


def follow(shipment: Shipment, observation: Observation, limit: int = KEPT_OBSERVATIONS) -> Changed | None:
    """Apply what comes in its turn, as nearly everything does: there is nothing to compare. None: it may not be so.

    Where it is so, `apply` comes to the same. `limit`: as there.
    """
    shown, verdict = shipment.shown, history.follow(shipment, observation, limit)
    if verdict is None:
        return None
    snapshot = shipment.snapshot
    assert snapshot is not None
    shipment.count_event()
    return in_order(snapshot, shown, verdict, shipment.courier)


def apply(shipment: Shipment, arrival: Arrival, limit: int = KEPT_OBSERVATIONS) -> Application:
    """Apply one observation to its shipment; return what came of it.

    Of a record that is read again the reading replaces the one that the record gave, if it gave one, and there is an
    event only where the snapshot is another than was shown. `limit`: how many observations of its couriers a shipment
    keeps. Beyond it nothing of them changes it any more; what operators decide does, and so does a newer reading of
    what is kept.
    """
    if shipment.erased:
        arrival = msgspec.structs.replace(arrival, observation=forgotten(arrival.observation))
    if shipment.retired:
        return _apply_to_retired(shipment, arrival)
    observation, again = arrival.observation, arrival.again
    known = _known(shipment, arrival)
    full = shipment.held >= limit and observation.decision is None
    if known is None:
        applied = _apply_first(shipment, arrival, full=full)
    elif again:
        applied = _apply_again(shipment, arrival, known)
    elif full or not counts_before(observation, known):
        applied = Application(Duplicate(), kept=False)
    else:
        applied = _apply_copy(shipment, arrival)
    if applied.kept and observation.decision is None and not (again and known is not None):
        shipment.held += 1
    return applied


def _known(shipment: Shipment, arrival: Arrival) -> Observation | None:
    """Return what the shipment knows of an arrival's record."""
    records, observation = shipment.records, arrival.observation
    known = records.get(observation.record_digest)
    return (under_its_former_name(records, observation) or known) if arrival.again else known


def _apply_to_retired(shipment: Shipment, arrival: Arrival) -> Application:
    """Apply what comes for a shipment whose history is gone: nothing can be told from it any more."""
    if arrival.again or arrival.observation.decision is not None:
        return Application(Unchanged(), kept=False)
    comparison = compare(shipment)
    return conclude(comparison, arrival, comparison.addition(), kept=False)


def _apply_first(shipment: Shipment, arrival: Arrival, *, full: bool) -> Application:
    """Apply an observation of a record that the shipment does not know."""
    observation = arrival.observation
    copies = shipment.kept.get(observation.reading_digest)
    if copies is not None:
        if full:
            return Application(Duplicate(), kept=False)
        if observation.known and counts_before(observation, copies[0]):
            return _apply_copy(shipment, arrival)
        history.learn(shipment, observation)
        return Application(Duplicate())
    decision = observation.decision
    if shipment.formerly_named and decision is None and arrival.former_name() in shipment.records:
        return Application(Duplicate(), kept=False)
    if decision is not None and not isinstance(decision, SetStatus):
        return apply_decision(shipment, arrival, decision)
    if full:
        return Application(Rejected(AnomalyKind.HISTORY_LIMIT), kept=False)
    comparison = compare(shipment)
    history.learn(shipment, observation)
    effect: Effect = comparison.of_news(observation) if observation.known else Rejected(AnomalyKind.UNKNOWN_STATUS)
    if arrival.again:
        effect = comparison.of_rereading(effect)
    return conclude(comparison, arrival, effect)


def _apply_copy(shipment: Shipment, arrival: Arrival) -> Application:
    """Apply a copy of what is known that was received earlier: of two copies it counts."""
    comparison = compare(shipment)
    history.learn(shipment, arrival.observation)
    if shipment.snapshot == comparison.snapshot:
        return Application(Duplicate())
    return conclude(comparison, arrival, comparison.correction())


def _apply_again(shipment: Shipment, arrival: Arrival, old: Observation) -> Application:
    """Apply a record's newer reading. `old` is the one that it gave before."""
    observation = arrival.observation
    comparison = compare(shipment)
    renamed = old.record_digest != observation.record_digest
    if not renamed and (observation == old or which_record(observation) != which_record(old)):
        return conclude(comparison, arrival, comparison.of_rereading(Unchanged()), kept=False)
    entry = shipment.timeline.find(old.reading_digest)
    counted = entry is not None and entry.accepted and entry.observation is old
    history.learn(shipment, observation, old)
    if shipment.snapshot is None and comparison.snapshot is not None:
        history.learn(shipment, old, observation)  # a row is never taken back
        return Application(Unchanged(), kept=False)
    counts = observation.takes_part and shipment.kept[observation.reading_digest][0] is observation
    effect = Unchanged() if counted or not counts else comparison.of_news(observation)
    if isinstance(effect, Rejected) and _refused_before(shipment, arrival, effect):
        effect = Unchanged()
    return conclude(comparison, arrival, comparison.of_rereading(effect))


def _refused_before(shipment: Shipment, arrival: Arrival, effect: Rejected) -> bool:
    """Whether the very anomaly that a reading would give refused its record before."""
    return arrival.name_anomaly(effect.kind) == shipment.anomalies.get(arrival.observation.record_digest)
