"""Driving the real code with raw records, without a broker."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec

from processor.fold import Snapshot
from processor.outputs import anomaly_id
from processor.plan import ObservationRow, Plan, Read, Reading, plan, read
from processor.shipment import Applied, Past, Shipment, apply, new_shipment, rebuild
from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.records import RawRecord
from schemas.vocabulary import AnomalyKind, Source

RAW_TOPIC = "courier.webhooks.raw"
NOW = datetime(2025, 3, 4, tzinfo=UTC)
JAKARTA = timezone(timedelta(hours=7))


def zone_of(courier: str, source: Source) -> tzinfo:
    return JAKARTA if courier == "kiriminaja" else UTC


def readings_of(records: Iterable[RawRecord]) -> list[Reading]:
    return [read(record, zone_of, partitions=1) for record in records]


def observations_of(records: Iterable[RawRecord]) -> list[Observation]:
    return [reading.observation for reading in readings_of(records) if isinstance(reading, Read)]


def apply_all(observations: Iterable[Observation]) -> tuple[dict[str, Shipment], list[Applied]]:
    """Apply in this order; return each shipment and what came of each observation."""
    shipments: dict[str, Shipment] = {}
    applied = []
    for number, observation in enumerate(observations):
        name, courier = observation.shipment_id, COURIERS[observation.courier]
        before = shipments.get(name) or new_shipment(courier, name)
        applied.append(apply(courier, before, observation, partial(_numbered, number)))
        shipments[name] = applied[-1].shipment
    return shipments, applied


def _numbered(number: int, _kind: AnomalyKind) -> str:
    return f"a{number}"


def snapshots(observations: Iterable[Observation]) -> dict[str, Snapshot | None]:
    return {name: shipment.snapshot for name, shipment in apply_all(observations)[0].items()}


def plan_in_batches(readings: Sequence[Reading], cuts: Iterable[int]) -> list[Plan]:
    """Plan in batches that end before the cuts, each from where the one before it left the shipments."""
    edges = [0, *sorted(cuts), len(readings)]
    shipments: dict[str, Shipment] = {}
    plans = []
    for start, end in pairwise(edges):
        plans.append(plan(readings[start:end], shipments, RAW_TOPIC, NOW))
        shipments.update(plans[-1].shipments)
    return plans


def refolded(shipment: Shipment, rows: Iterable[ObservationRow]) -> Shipment:
    """The shipment as a restarted processor reads it back from the kept rows."""
    history = [
        Past(row.observation, _refusal(row), row.root is not None)
        for row in rows
        if row.kept and row.observation.shipment_id == shipment.shipment_id
    ]
    courier = COURIERS[shipment.shipment_id.partition(":")[0]]
    return rebuild(courier, shipment.shipment_id, shipment.version, history)


def _refusal(row: ObservationRow) -> str | None:
    if row.anomaly_kind is None:
        return None
    at = row.root or (row.record.partition, row.record.offset)
    return anomaly_id(row.observation.shipment_id, at, 0, row.anomaly_kind)


def decoded(value: bytes | None) -> dict[str, Any]:
    assert value is not None
    return msgspec.json.decode(value, type=dict[str, Any])
