"""Everything that is known of one shipment: its observations, and their fold. Pure.

A shipment has one owner, who changes it in place: a worker between two of its batches. Whoever shares it copies what he
wants to keep.
"""

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from processor.core.fold import Entry, Snapshot, sort_key
from processor.core.timeline import Timeline
from schemas.couriers import Courier
from schemas.couriers.base import Position
from schemas.observation import EDITION, Accept, Details, Dismiss, Erase, Observation
from schemas.vocabulary import Service, Source

NOTHING_PROVEN: Final[frozenset[Service]] = frozenset()

BARE_WEIGHT: Final = 1_500
"""Bytes that an observation takes beside its details, its entry and its verdict included."""

_encode: Final = msgspec.json.Encoder().encode


class Shipment(msgspec.Struct, gc=False):
    """Everything the next observation is judged by.

    `records` holds the observation of each raw record, by the record's digest; `kept` those of each reading, by its
    digest, the one that counts first; `timeline` those that count and take part in the fold, in order. `anomalies` are
    the ids of those that refused a record, by its digest.
    """

    shipment_id: str
    timeline: Timeline
    snapshot: Snapshot | None = None
    """What its observations come to."""
    shown: Snapshot | None = None
    """What its newest event said, and its row says. It is the snapshot too, unless an older edition wrote it."""
    version: int = 0
    proven: frozenset[Service] = NOTHING_PROVEN
    hinted: frozenset[Service] = NOTHING_PROVEN
    records: dict[bytes, Observation] = {}
    kept: dict[bytes, list[Observation]] = {}
    anomalies: dict[bytes, str] = {}
    statuses_set: list[Observation] = []
    """The operators' decisions that set its status, in the order of the times received."""
    accepted: set[bytes] = set()
    """The digests of records that operators made count."""
    dismissed: set[str] = set()
    """The ids of anomalies that operators have dismissed."""
    erased: bool = False
    """Its personal data was erased, and none is taken in."""
    retired: bool = False
    """Its history was given up: only the snapshot is left."""
    held: int = 0
    """How many of its couriers' observations are stored. Decisions and newer readings of them are not counted."""
    weight: int = 0
    """Roughly how many bytes its observations take."""

    @property
    def service(self) -> Service:
        """The service it is folded for."""
        return self.timeline.service

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The observations that count and take part in the fold, in order and judged."""
        return tuple(self.timeline)


class Past(msgspec.Struct, frozen=True, gc=False):
    """One kept observation of a shipment, in the order of arrival.

    `anomaly` is the id of the anomaly that refused it, if one did. `again`: its record was read again, and this is the
    newer reading.
    """

    observation: Observation
    anomaly: str | None = None
    again: bool = False


def new_shipment(courier: Courier, shipment_id: str) -> Shipment:
    """Return a shipment nothing is known of yet."""
    return Shipment(shipment_id, Timeline(courier, courier.service(NOTHING_PROVEN, NOTHING_PROVEN)))


def retired_shipment(courier: Courier, shipment_id: str, version: int, snapshot: Snapshot) -> Shipment:
    """Return a shipment of which only the row is left."""
    return Shipment(shipment_id, Timeline(courier, snapshot.service), snapshot, snapshot, version, retired=True)


def rebuild(courier: Courier, shipment_id: str, version: int, history: Iterable[Past]) -> Shipment:
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
    assemble(courier, shipment)
    shipment.shown = shipment.snapshot
    return shipment


def is_outdated(shipment: Shipment) -> bool:
    """Return whether an older edition read one of its couriers' records: what it shows may be that edition's too."""
    return any(each.edition < EDITION and each.decision is None for each in shipment.records.values())


def assemble(courier: Courier, shipment: Shipment) -> None:
    """Fold a shipment anew from its records."""
    shipment.kept = {}
    shipment.proven = shipment.hinted = NOTHING_PROVEN
    shipment.weight = 0
    for observation in shipment.records.values():
        shipment.proven = shipment.proven.union(observation.proves)
        shipment.hinted = shipment.hinted.union(observation.hints)
        shipment.weight += _weight(observation)
        _keep(shipment, observation)
        _heed(shipment, observation)
    _reorder(courier, shipment)
    shipment.snapshot = shipment.timeline.snapshot


def learn(courier: Courier, shipment: Shipment, observation: Observation, old: Observation | None = None) -> None:
    """Take what a record says, in place of what it said before, if it said anything.

    `old` is that, where it was known under another name. Whoever wants to know what this changes marks the timeline
    before.
    """
    if old is None:
        old = shipment.records.get(observation.record_digest)
    elif old.record_digest != observation.record_digest:
        _rename(shipment, old, observation)
    shipment.records[observation.record_digest] = observation
    shipment.weight += _weight(observation)
    if old is not None:
        shipment.weight -= _weight(old)
        _let_go(shipment, old)
    _keep(shipment, observation)
    _prove(shipment, observation, old)
    if observation.decision is not None:
        _heed(shipment, observation)
    if courier.service(shipment.proven, shipment.hinted) is not shipment.service:
        _reorder(courier, shipment)
    else:
        _place(courier, shipment, observation.reading_digest)
        if old is not None and old.reading_digest != observation.reading_digest:
            _place(courier, shipment, old.reading_digest)
        if isinstance(observation.decision, Accept):
            _place_accepted(courier, shipment, observation.decision)
    shipment.snapshot = shipment.timeline.snapshot


def refuse(shipment: Shipment, observation: Observation, anomaly_id: str) -> None:
    """Note which anomaly refused a record."""
    shipment.anomalies[observation.record_digest] = anomaly_id
    if shipment.timeline.holds(observation.reading_digest):
        anomaly = _anomaly_of(shipment, shipment.kept[observation.reading_digest])
        shipment.timeline.refuse(observation.reading_digest, anomaly)


def forget_personal(courier: Courier, shipment: Shipment) -> None:
    """Take the personal data out of everything that is known of a shipment."""
    for name, observation in shipment.records.items():
        shipment.records[name] = forgotten(observation)
    assemble(courier, shipment)


def retire(courier: Courier, shipment: Shipment) -> None:
    """Leave only what the row says, without personal data."""
    snapshot = shipment.snapshot
    assert snapshot is not None
    bare = msgspec.structs.replace(snapshot, details=_impersonal(snapshot.details))
    empty = retired_shipment(courier, shipment.shipment_id, shipment.version, bare)
    for name in Shipment.__struct_fields__:
        setattr(shipment, name, getattr(empty, name))


def forgotten(observation: Observation) -> Observation:
    """Return an observation without personal data. The scan text goes too: couriers write names into it."""
    details = _impersonal(observation.details)
    return observation if details == observation.details else msgspec.structs.replace(observation, details=details)


def counts_before(one: Observation, other: Observation) -> bool:
    """Which of two copies counts: the one received earlier; the rest only makes the choice the same every time."""
    return _copy_order(one) < _copy_order(other)


def which_record(observation: Observation) -> tuple[object, ...]:
    """Return which raw record it is, whatever was read in it."""
    pushed = observation.source is not Source.PULL
    return (observation.received_at, pushed, observation.item, observation.record_digest)


def under_its_former_name(records: Mapping[bytes, Observation], observation: Observation) -> Observation | None:
    """Return what the same record gave when it was identified otherwise."""
    known = records.get(observation.former_digest) if observation.former_digest else None
    if known is None or which_record(known)[:-1] != which_record(observation)[:-1]:
        return None
    return known


def _copy_order(observation: Observation) -> tuple[object, ...]:
    return (*which_record(observation), _encode(observation.details))


def _impersonal(details: Details) -> Details:
    return msgspec.structs.replace(details, driver=None, signed_by=None, tracking_url=None, description=None, proofs=())


def _weight(observation: Observation) -> int:
    return BARE_WEIGHT + len(_encode(observation.details))


def _rename(shipment: Shipment, old: Observation, observation: Observation) -> None:
    """Let go of what a record said under another name; what refused it stays."""
    del shipment.records[old.record_digest]
    anomaly = shipment.anomalies.pop(old.record_digest, None)
    if anomaly is not None:
        shipment.anomalies[observation.record_digest] = anomaly


def _keep(shipment: Shipment, observation: Observation) -> None:
    """Put an observation among those of its reading."""
    copies = shipment.kept.get(observation.reading_digest)
    if copies is None:
        shipment.kept[observation.reading_digest] = [observation]
    else:
        insort(copies, observation, key=_copy_order)


def _let_go(shipment: Shipment, observation: Observation) -> None:
    """Take an observation out from among those of its reading."""
    copies = shipment.kept[observation.reading_digest]
    copies[:] = [each for each in copies if each is not observation]
    if not copies:
        del shipment.kept[observation.reading_digest]


def _heed(shipment: Shipment, observation: Observation) -> None:
    """Remember what an operator decided."""
    decision = observation.decision
    if isinstance(decision, Accept):
        shipment.accepted.add(bytes.fromhex(decision.record))
    elif isinstance(decision, Dismiss):
        shipment.dismissed.add(decision.anomaly_id)
    elif isinstance(decision, Erase):
        shipment.erased = True


def _prove(shipment: Shipment, observation: Observation, old: Observation | None) -> None:
    """Bring what speaks for a service up to date."""
    if old is not None and (old.proves, old.hints) != (observation.proves, observation.hints):
        shipment.proven = NOTHING_PROVEN.union(*(each.proves for each in shipment.records.values()))
        shipment.hinted = NOTHING_PROVEN.union(*(each.hints for each in shipment.records.values()))
    elif observation.proves or observation.hints:
        shipment.proven = shipment.proven.union(observation.proves)
        shipment.hinted = shipment.hinted.union(observation.hints)


def _reorder(courier: Courier, shipment: Shipment) -> None:
    """Put all observations in order anew, for the service that they prove."""
    service = courier.service(shipment.proven, shipment.hinted)
    counting = [copies for copies in shipment.kept.values() if copies[0].takes_part]
    told = [copies for copies in counting if copies[0].decision is None]
    timeline = Timeline(
        courier, service, [_entry(shipment, each, sort_key(courier, service, each[0])) for each in told]
    )
    shipment.statuses_set = sorted((each[0] for each in counting if each[0].decision), key=_copy_order)
    for decision in shipment.statuses_set:
        _put_behind(shipment, timeline, decision)
    timeline.mark_as(shipment.timeline)
    shipment.timeline = timeline


def _place(courier: Courier, shipment: Shipment, reading: bytes) -> None:
    """Bring the entry of a reading up to date with what is known of it."""
    timeline, copies = shipment.timeline, shipment.kept.get(reading, [])
    wanted = copies[0] if copies and copies[0].takes_part else None
    if shipment.statuses_set or (wanted is not None and wanted.decision is not None):
        _place_among_decisions(courier, shipment, reading, wanted)
        return
    entry = None if wanted is None else _entry(shipment, copies, sort_key(courier, timeline.service, wanted))
    if timeline.holds(reading):
        if entry is not None and timeline.has(entry):
            return
        timeline.remove(reading)
    if entry is not None:
        timeline.insert(entry)


def _place_accepted(courier: Courier, shipment: Shipment, decision: Accept) -> None:
    """Bring what a decision accepted up to date. It names a record as the edition did by which it was made."""
    name = bytes.fromhex(decision.record)
    for each in [each for each in shipment.records.values() if name in (each.record_digest, each.former_digest)]:
        _place(courier, shipment, each.reading_digest)


def _place_among_decisions(courier: Courier, shipment: Shipment, reading: bytes, wanted: Observation | None) -> None:
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
        timeline.insert(_entry(shipment, shipment.kept[reading], sort_key(courier, timeline.service, wanted)))
    decisions[:] = [each for each in decisions if each.reading_digest != reading]
    later = [each for each in later if each.reading_digest != reading]
    if wanted is not None and wanted.decision is not None:
        insort(decisions, wanted, key=_copy_order)
        insort(later, wanted, key=_copy_order)
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
    return Entry(key, observation, anomaly=_anomaly_of(shipment, copies), forced=forced)


def _anomaly_of(shipment: Shipment, copies: list[Observation]) -> str | None:
    anomalies = shipment.anomalies
    if not anomalies:
        return None
    return next((anomalies[each.record_digest] for each in copies if each.record_digest in anomalies), None)
