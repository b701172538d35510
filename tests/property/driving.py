"""Driving the real code with raw records, without a broker."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec

from processor.core.effects import Arrival, Effect
from processor.core.fold import Snapshot
from processor.core.history import rebuild
from processor.core.outputs import anomaly_id
from processor.core.plan import ObservationRow, Plan, Planner, concerned
from processor.core.reading import Read, Reading, read
from processor.core.roots import Roots, RootShipment, recognised
from processor.core.shipment import apply
from processor.core.state import Shipment, StoredObservation, new_shipment
from schemas.couriers import COURIERS
from schemas.observation import EDITION, Observation
from schemas.records import RawRecord
from schemas.stored_observation import pack_observation
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


class Arrived(msgspec.Struct, frozen=True):
    """What came of an observation, and the shipment's snapshot and version then."""

    effect: Effect
    conflict: bool
    snapshot: Snapshot | None
    version: int


def apply_all(observations: Iterable[Observation]) -> tuple[dict[str, Shipment], list[Arrived]]:
    """Apply in this order; return each shipment and what came of each observation."""
    shipments: dict[str, Shipment] = {}
    arrived = []
    for number, observation in enumerate(observations):
        name, courier = observation.shipment_id, COURIERS[observation.courier]
        shipment = shipments.setdefault(name, new_shipment(courier, name))
        applied = apply(shipment, Arrival(observation, partial(_numbered, number)))
        arrived.append(Arrived(applied.effect, applied.conflict, shipment.snapshot, shipment.version))
    return shipments, arrived


def _numbered(number: int, _kind: AnomalyKind) -> str:
    return f"a{number}"


def snapshots(observations: Iterable[Observation]) -> dict[str, Snapshot | None]:
    return {name: shipment.snapshot for name, shipment in apply_all(observations)[0].items()}


def plan_in_batches(readings: Sequence[Reading], cuts: Iterable[int]) -> list[Plan]:
    """Plan in batches that end before the cuts, each from where the one before it left the shipments."""
    return list(plans_in_turn(readings, cuts))


def plans_in_turn(readings: Sequence[Reading], cuts: Iterable[int]) -> Iterator[Plan]:
    """The same, batch by batch: the next one changes the same shipments."""
    edges = [0, *sorted(cuts), len(readings)]
    shipments: dict[str, Shipment] = {}
    for start, end in pairwise(edges):
        made = Planner(shipments, RAW_TOPIC, NOW).add_all(readings[start:end])
        shipments.update(made.shipments)
        yield made


def seen(shipment: Shipment) -> tuple[object, ...]:
    """All that is known of a shipment now."""
    return (
        *(shipment.service, shipment.snapshot, shipment.version, shipment.entries, dict(shipment.records)),
        *(shipment.proven, dict(shipment.anomalies), frozenset(shipment.dismissed), shipment.erased, shipment.retired),
    )


def refolded(shipment: Shipment, rows: Iterable[ObservationRow]) -> Shipment:
    """The shipment as a restarted processor reads it back from the kept rows."""
    history = [
        StoredObservation(row.observation, _refusal(row), row.root is not None)
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


def roots_of(plans: Iterable[Plan], shipments: Mapping[str, Shipment]) -> Roots:
    """What the database knows of the roots behind plans."""
    found: dict[tuple[int, int], list[RootShipment]] = {}
    for row in (row for made in plans for row in made.observations if row.stored):
        name = row.observation.shipment_id
        refused = row.root is not None and row.anomaly_kind == AnomalyKind.SHIPMENT_CHANGED
        shipment = shipments[name]
        older = any(each.edition < EDITION and each.decision is None for each in shipment.records.values())
        plain = not (shipment.erased or shipment.retired or older)
        said = pack_observation(row.observation) if plain and row.kept and row.root is None else None
        found.setdefault(row.place, []).append(RootShipment(name, refused, said))
    return found


def planned_both_ways(shipments: dict[str, Shipment], roots: Roots, readings: Sequence[Reading]) -> Plan:
    """Plan a batch, and see that what is recognised comes to the same as what is compared."""
    marked = recognised(readings, roots)
    quick = Planner(deepcopy(shipments), RAW_TOPIC, NOW, roots=roots).add_all(marked)
    made = Planner(shipments, RAW_TOPIC, NOW, roots=roots).add_all(readings)
    for field in ("outputs", "commands", "changed", "dead_letters", "erased", "retired"):
        assert getattr(quick, field) == getattr(made, field)
    for one, other in zip(quick.observations, made.observations, strict=True):
        assert one == msgspec.structs.replace(other, observation=one.observation)
        assert one.observation == other.observation or not one.stored
    assert set(quick.shipments) == set(concerned(marked))
    for name, shipment in made.shipments.items():
        assert seen(quick.shipments.get(name, shipment)) == seen(shipment)
    return made
