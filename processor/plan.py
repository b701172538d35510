"""The batch planner: from raw records to rows and outputs. Pure.

The plan of a batch is the plans of its records one by one, so batch boundaries never show.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import assert_never

import msgspec

from processor.outputs import Origin, Output, anomaly_id, anomaly_output, dead_letter, event_output
from processor.shipment import Applied, Changed, Duplicate, Refused, Shipment, Unchanged, apply, new_shipment
from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.partitioning import partition_of
from schemas.records import RawRecord, UnreadableError, read_provenance
from schemas.vocabulary import AnomalyKind, DeadLetterReason, Outcome, Source

ZoneOf = Callable[[str, Source], tzinfo]
"""The zone of a courier's times without one, by the courier's name and the record's source."""


class Read(msgspec.Struct, frozen=True, gc=False):
    """A raw record and what it says."""

    record: RawRecord
    observation: Observation


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """A raw record that says nothing, and why."""

    record: RawRecord
    error: UnreadableError


Reading = Read | Unreadable


class ObservationRow(msgspec.Struct, frozen=True, gc=False):
    """An observation as it is stored, with its outcome. `kept`: it takes part in the fold or in telling repeats."""

    record: RawRecord
    observation: Observation
    outcome: Outcome
    anomaly_kind: AnomalyKind | None
    version: int | None
    kept: bool


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What a batch comes to.

    `shipments` are those touched, as they are afterwards; `changed` the ids of those with a new version, each with
    the observation that gave it.
    """

    shipments: Mapping[str, Shipment]
    changed: Mapping[str, Observation]
    observations: Sequence[ObservationRow]
    outputs: Sequence[Output]
    dead_letters: Sequence[Unreadable]


def read(record: RawRecord, zone_of: ZoneOf, partitions: int) -> Reading:
    """Read one raw record. `partitions` is the topic's count: a record in another's partition is refused."""
    try:
        provenance = read_provenance(record.headers, record.timestamp_ms)
        courier = COURIERS.get(provenance.courier)
        if courier is None:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "no such courier")
        zone = zone_of(provenance.courier, provenance.source)
        observation = courier.read(record.value, provenance, zone)
        home = partition_of(observation.shipment_id.encode(), partitions)
        if home != record.partition:
            raise UnreadableError(DeadLetterReason.MISROUTED, f"the shipment belongs to partition {home}")
    except UnreadableError as error:
        return Unreadable(record, error)
    return Read(record, observation)


def plan(
    readings: Sequence[Reading],
    shipments: Mapping[str, Shipment],
    raw_topic: str,
    now: datetime,
    incarnation: int = 0,
) -> Plan:
    """Plan a batch, in offset order, from the shipments as they are; those not among them are new.

    `incarnation` tells the records' coordinates from those of another log under the topic's name.
    """
    touched: dict[str, Shipment] = {}
    changed: dict[str, Observation] = {}
    rows: list[ObservationRow] = []
    outputs: list[Output] = []
    dead_letters: list[Unreadable] = []
    for reading in readings:
        origin = Origin(raw_topic, reading.record, now, incarnation)
        if isinstance(reading, Unreadable):
            outputs.append(dead_letter(origin, reading.error))
            dead_letters.append(reading)
            continue
        observation = reading.observation
        name = observation.shipment_id
        before = touched.get(name) or shipments.get(name) or new_shipment(COURIERS[observation.courier], name)
        row, after, published = _plan_one(origin, observation, before)
        touched[name] = after
        if row.version is not None:
            changed[name] = observation
        rows.append(row)
        outputs.extend(published)
    return Plan(touched, changed, rows, outputs, dead_letters)


def _plan_one(
    origin: Origin, observation: Observation, before: Shipment
) -> tuple[ObservationRow, Shipment, list[Output]]:
    courier = COURIERS[observation.courier]
    refusal = anomaly_id(before.shipment_id, origin.record.at, origin.incarnation, AnomalyKind.ILLEGAL_TRANSITION)
    applied = apply(courier, before, observation, refusal)
    after = applied.shipment
    status = after.snapshot.status if after.snapshot else None
    occurred = courier.occurred(observation, after.service)
    published: list[Output] = []
    match applied.effect:
        case Changed() as change:
            assert after.snapshot is not None
            row = _row(origin, observation, applied, Outcome.EVENT, version=after.version)
            published.append(event_output(courier, origin, observation, after.snapshot, change, after.version))
        case Refused(kind):
            row = _row(origin, observation, applied, Outcome.ANOMALY, kind=kind)
            published.append(anomaly_output(origin, observation, occurred, kind, status, ordinal=0))
        case Duplicate():
            row = _row(origin, observation, applied, Outcome.DUPLICATE)
        case Unchanged():
            row = _row(origin, observation, applied, Outcome.UNCHANGED)
        case _:
            assert_never(applied.effect)
    if applied.conflict:
        published.append(
            anomaly_output(origin, observation, occurred, AnomalyKind.SERVICE_CONFLICT, status, len(published))
        )
    return row, after, published


def _row(
    origin: Origin,
    observation: Observation,
    applied: Applied,
    outcome: Outcome,
    *,
    kind: AnomalyKind | None = None,
    version: int | None = None,
) -> ObservationRow:
    return ObservationRow(origin.record, observation, outcome, kind, version, applied.kept)
