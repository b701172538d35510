"""Where a shipment's observations stand in its timeline, and where operators' decisions stand among them. Pure."""

from bisect import insort

from processor.core.copies import copy_order
from processor.core.fold import Entry, place_of
from processor.core.state import Shipment
from processor.core.timeline import Timeline
from schemas.couriers.base import Position
from schemas.observation import Accept, Observation


def reorder(shipment: Shipment) -> None:
    """Put all observations in order anew, for the service that they prove."""
    courier = shipment.courier
    service = courier.service(shipment.proven, shipment.hinted)
    counting = [copies for copies in shipment.kept.values() if copies[0].takes_part]
    told = [copies for copies in counting if copies[0].decision is None]
    entries = [_entry(shipment, each, place_of(courier, service, each[0])) for each in told]
    timeline = Timeline(courier, service, entries)
    shipment.statuses_set = sorted((each[0] for each in counting if each[0].decision), key=copy_order)
    for decision in shipment.statuses_set:
        _put_behind(shipment, timeline, decision)
    timeline.mark_as(shipment.timeline)
    shipment.timeline = timeline


def place(shipment: Shipment, reading: bytes) -> None:
    """Bring the entry of a reading up to date with what is known of it."""
    timeline, copies = shipment.timeline, shipment.kept.get(reading, [])
    wanted = copies[0] if copies and copies[0].takes_part else None
    if shipment.statuses_set or (wanted is not None and wanted.decision is not None):
        _place_among_decisions(shipment, reading, wanted)
        return
    entry = None if wanted is None else _entry(shipment, copies, place_of(timeline.courier, timeline.service, wanted))
    if timeline.holds(reading):
        if entry is not None and timeline.has(entry):
            return
        timeline.remove(reading)
    if entry is not None:
        timeline.insert(entry)


def place_accepted(shipment: Shipment, decision: Accept) -> None:
    """Bring what a decision accepted up to date.

    It names a record as the edition did by which it was made, and the anomaly, which is named as ever.
    """
    anomalies = shipment.anomalies
    for each in [
        each
        for name, each in shipment.records.items()
        if bytes.fromhex(decision.record) in (name, each.former_digest) or anomalies.get(name) == decision.anomaly_id
    ]:
        place(shipment, each.reading_digest)


def _place_among_decisions(shipment: Shipment, reading: bytes, wanted: Observation | None) -> None:
    """Do the same where operators have set the status: decisions that were received later stand behind it."""
    timeline, decisions = shipment.timeline, shipment.statuses_set
    old = timeline.find(reading)
    known = [each for each in (old.observation if old else None, wanted) if each is not None]
    first = min((each.received_at for each in known), default=None)
    later = [] if first is None else [each for each in decisions if each.received_at >= first]
    for each in later:
        timeline.remove(each.reading_digest)
    if timeline.holds(reading):
        timeline.remove(reading)
    if wanted is not None and wanted.decision is None:
        timeline.insert(_entry(shipment, shipment.kept[reading], place_of(timeline.courier, timeline.service, wanted)))
    decisions[:] = [each for each in decisions if each.reading_digest != reading]
    later = [each for each in later if each.reading_digest != reading]
    if wanted is not None and wanted.decision is not None:
        insort(decisions, wanted, key=copy_order)
        insort(later, wanted, key=copy_order)
    for each in later:
        _put_behind(shipment, timeline, each)


def _put_behind(shipment: Shipment, timeline: Timeline, decision: Observation) -> None:
    """Put an operator's decision behind everything received before it."""
    behind = timeline.newest_by(decision.received_at)
    key = (*behind, decision.received_at, decision.reading_digest)
    timeline.insert(_entry(shipment, shipment.kept[decision.reading_digest], key))


def _entry(shipment: Shipment, copies: list[Observation], key: Position) -> Entry:
    observation = copies[0]
    accepted = shipment.accepted
    forced = observation.decision is not None or (
        bool(accepted) and any(not accepted.isdisjoint((each.record_digest, each.former_digest)) for each in copies)
    )
    return Entry(key, observation, anomaly=anomaly_of(shipment, copies), forced=forced)


def anomaly_of(shipment: Shipment, copies: list[Observation]) -> str | None:
    """Return the id of the anomaly that refused one of these copies, if one did."""
    anomalies = shipment.anomalies
    if not anomalies:
        return None
    return next((anomalies[each.record_digest] for each in copies if each.record_digest in anomalies), None)
