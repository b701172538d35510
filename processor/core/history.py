"""What is known of a shipment, record by record: read back, taken in, refused, erased, retired. Pure."""

from bisect import insort
from collections.abc import Iterable
from typing import Final

import msgspec

from processor.core.copies import copy_order, counts_before, under_its_former_name
from processor.core.fold import Verdict
from processor.core.placing import anomaly_of, place, place_accepted, reorder
from processor.core.state import (
    NOTHING_PROVEN,
    Shipment,
    StoredObservation,
    forgotten,
    is_formerly_named,
    new_shipment,
    retired_shipment,
)
from schemas.couriers import Courier
from schemas.observation import Accept, Observation, impersonal
from schemas.vocabulary import Source

_PULL: Final = Source.PULL

BARE_WEIGHT: Final = 2_000
"""Bytes that an observation takes beside its longest details, its entry and its verdict included."""

PICTURE_WEIGHT: Final = 250
"""Bytes that a picture takes beside its link."""


def rebuild(courier: Courier, shipment_id: str, version: int, history: Iterable[StoredObservation]) -> Shipment:
    """Return a shipment from its kept observations, in the order of arrival; what it shows is what they come to."""
    shipment = new_shipment(courier, shipment_id)
    shipment.version = version
    records = shipment.records
    for past in history:
        name, observation = past.observation.record_digest, past.observation
        former = under_its_former_name(records, observation) if past.again else None
        shipment.held += observation.decision is None and not (past.again and (former is not None or name in records))
        if former is not None:
            _rename(shipment, former, observation)
        if past.again or name not in records or counts_before(observation, records[name]):
            records[name] = observation
        if past.anomaly:
            shipment.anomalies[name] = past.anomaly
    assemble(shipment)
    shipment.shown = shipment.snapshot
    return shipment


def learn(shipment: Shipment, observation: Observation, old: Observation | None = None) -> None:
    """Take what a record says, in place of what it said before, if it said anything.

    `old` is that, where it was known under another name. Whoever wants to know what this changes marks the timeline
    before.
    """
    if old is None:
        old = shipment.records.get(observation.record_digest)
    elif old.record_digest != observation.record_digest:
        _rename(shipment, old, observation)
    _remember(shipment, observation)
    if old is not None:
        shipment.weight -= _weight(old)
        _let_go(shipment, old)
    _keep(shipment, observation)
    evidence_changed = _prove(shipment, observation, old)
    if observation.decision is not None:
        shipment.heed(observation.decision)
    if evidence_changed and shipment.courier.service(shipment.proven, shipment.hinted) is not shipment.service:
        reorder(shipment)
    else:
        place(shipment, observation.reading_digest)
        if old is not None and old.reading_digest != observation.reading_digest:
            place(shipment, old.reading_digest)
        if isinstance(observation.decision, Accept):
            place_accepted(shipment, observation.decision)
    shipment.snapshot = shipment.timeline.snapshot


def follow(shipment: Shipment, observation: Observation, limit: int) -> Verdict | None:
    """Take what a pushed record says, which comes in its turn and counts; return its verdict. None: it may not be so.

    Nearly every record comes so. Nothing that is known changes its place or its meaning then, and neither does what the
    shipment is folded for. `limit`: how many observations a shipment keeps.
    """
    reading, proves, hints = observation.reading_digest, observation.proves, observation.hints
    if (
        observation.status is None
        or not observation.known
        or observation.source is _PULL
        or observation.decision is not None
        or shipment.shown is not shipment.snapshot
        or shipment.is_special
        or observation.record_digest in shipment.records
        or reading in shipment.kept
        or shipment.held >= limit
    ):
        return None
    proven, hinted = shipment.proven, shipment.hinted
    if (proves and not proven.issuperset(proves)) or (hints and not hinted.issuperset(hints)):
        proven, hinted = proven.union(proves), hinted.union(hints)
        if len(proven) > 1 or shipment.courier.service(proven, hinted) is not shipment.service:
            return None
    verdict = shipment.timeline.follow(observation)
    if verdict is None:
        return None
    _remember(shipment, observation)
    shipment.kept[reading] = [observation]
    shipment.proven, shipment.hinted = proven, hinted
    shipment.held += 1
    shipment.snapshot = shipment.timeline.snapshot
    return verdict


def refuse(shipment: Shipment, observation: Observation, anomaly_id: str) -> None:
    """Note which anomaly refused a record."""
    shipment.anomalies[observation.record_digest] = anomaly_id
    if shipment.timeline.holds(observation.reading_digest):
        anomaly = anomaly_of(shipment, shipment.kept[observation.reading_digest])
        shipment.timeline.refuse(observation.reading_digest, anomaly)


def forget_personal(shipment: Shipment) -> None:
    """Take the personal data out of everything that is known of a shipment."""
    for name, observation in shipment.records.items():
        shipment.records[name] = forgotten(observation)
    assemble(shipment)


def retire(shipment: Shipment) -> None:
    """Leave only what the row says, without personal data."""
    snapshot = shipment.snapshot
    assert snapshot is not None
    bare = msgspec.structs.replace(snapshot, details=impersonal(snapshot.details))
    empty = retired_shipment(shipment.courier, shipment.shipment_id, shipment.version, bare)
    for name in Shipment.__struct_fields__:
        setattr(shipment, name, getattr(empty, name))


def assemble(shipment: Shipment) -> None:
    """Fold a shipment anew from its records."""
    shipment.kept = {}
    shipment.proven = shipment.hinted = NOTHING_PROVEN
    shipment.weight = 0
    shipment.formerly_named = any(map(is_formerly_named, shipment.records.values()))
    for observation in shipment.records.values():
        shipment.proven = shipment.proven.union(observation.proves)
        shipment.hinted = shipment.hinted.union(observation.hints)
        shipment.weight += _weight(observation)
        _keep(shipment, observation)
        if observation.decision is not None:
            shipment.heed(observation.decision)
    reorder(shipment)
    shipment.snapshot = shipment.timeline.snapshot


def _weight(observation: Observation) -> int:
    details = observation.details
    texts = len(details.tracking_url or "") + len(details.reason or "") + len(details.description or "")
    pictures = details.proofs
    return BARE_WEIGHT + texts + (sum([PICTURE_WEIGHT + len(each.url) for each in pictures]) if pictures else 0)


def _rename(shipment: Shipment, old: Observation, observation: Observation) -> None:
    """Let go of what a record said under another name; what refused it stays."""
    del shipment.records[old.record_digest]
    anomaly = shipment.anomalies.pop(old.record_digest, None)
    if anomaly is not None:
        shipment.anomalies[observation.record_digest] = anomaly


def _remember(shipment: Shipment, observation: Observation) -> None:
    """Keep an observation under its record's name."""
    shipment.records[observation.record_digest] = observation
    shipment.weight += _weight(observation)


def _keep(shipment: Shipment, observation: Observation) -> None:
    """Put an observation among those of its reading."""
    copies = shipment.kept.get(observation.reading_digest)
    if copies is None:
        shipment.kept[observation.reading_digest] = [observation]
    else:
        insort(copies, observation, key=copy_order)


def _let_go(shipment: Shipment, observation: Observation) -> None:
    """Take an observation out from among those of its reading."""
    copies = shipment.kept[observation.reading_digest]
    copies[:] = [each for each in copies if each is not observation]
    if not copies:
        del shipment.kept[observation.reading_digest]


def _prove(shipment: Shipment, observation: Observation, old: Observation | None) -> bool:
    """Bring what speaks for a service up to date; return whether that is something else now."""
    proven, hinted = shipment.proven, shipment.hinted
    if old is not None and (old.proves, old.hints) != (observation.proves, observation.hints):
        shipment.proven = NOTHING_PROVEN.union(*(each.proves for each in shipment.records.values()))
        shipment.hinted = NOTHING_PROVEN.union(*(each.hints for each in shipment.records.values()))
    elif not (proven.issuperset(observation.proves) and hinted.issuperset(observation.hints)):
        shipment.proven = proven.union(observation.proves)
        shipment.hinted = hinted.union(observation.hints)
    else:
        return False
    return True
