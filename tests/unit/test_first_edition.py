"""What the first edition of the domain stored still decodes and folds, and reads as the second once it is read again.

`tests/field/first_edition.json` holds what the code before the second edition made of the cases from the field: each
raw record with its reading as the database has it.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from operators.shared.rereading import reread
from processor.core.history import rebuild
from processor.core.outputs import anomaly_id
from processor.core.plan import Plan, Planner
from processor.core.reading import Read
from processor.core.roots import RootShipment
from processor.core.state import Shipment, StoredObservation
from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.records import RawRecord
from schemas.times import format_time
from schemas.vocabulary import AnomalyKind
from tests.field import BEGAN, CASES, Json, load_cases, zone_of

STORED: dict[str, list[Json]] = json.loads((CASES.parent / "first_edition.json").read_bytes())
EXPECTED = {name: case["expect"] for name, case in load_cases().items()}
SPLIT_OTHERWISE = "44-ka_item_and_package_of_other_spelling"
"""Item and package became two raw records then: one by AWB, one by order. A record is read as it lies there."""
NAMED_OTHERWISE = "31-order_id_with_blanks"
"""The reference had its blank then: another shipment, and a reading never moves a record to another shipment."""


def record_of(row: Json, offset: int) -> RawRecord:
    headers = tuple((name, value.encode()) for name, value in row["headers"].items())
    return RawRecord(0, offset, None, row["value"].encode(), headers, 0)


def reading_of(row: Json) -> Observation:
    return msgspec.json.decode(json.dumps(row["reading"]), type=Observation)


def stored(rows: Sequence[Json]) -> dict[str, Shipment]:
    """The shipments as today's processor reads them back."""
    histories: dict[str, list[StoredObservation]] = {}
    for offset, row in enumerate(rows):
        if row.get("kept"):
            one = reading_of(row)
            kind = row["anomaly"]
            refusal = anomaly_id(one.shipment_id, (0, offset), 0, AnomalyKind(kind)) if kind else None
            histories.setdefault(one.shipment_id, []).append(StoredObservation(one, refusal))
    return {name: rebuild(COURIERS[name.partition(":")[0]], name, 1, history) for name, history in histories.items()}


def replayed(rows: Sequence[Json]) -> tuple[dict[str, Shipment], Plan]:
    """Everything read again, as `waybill replay run --all` does."""
    shipments = stored(rows)
    roots = {(0, at): [RootShipment(row["reading"]["shipment_id"])] for at, row in enumerate(rows) if "reading" in row}
    readings = [reread(record_of(row, at), f"job/{at}", zone_of, 1) for at, row in enumerate(rows)]
    readable = [reading for reading in readings if isinstance(reading, Read)]
    made = Planner(shipments, "courier.webhooks.raw", BEGAN, roots=roots).add_all(readable)
    return {**shipments, **made.shipments}, made


@pytest.mark.parametrize("name", STORED)
def test_what_was_stored_decodes_and_folds(name: str) -> None:
    for row in STORED[name]:
        if "reading" in row:
            one = reading_of(row)
            assert (one.hints, one.former_digest) == ((), None)
    for shipment in stored(STORED[name]).values():
        assert shipment.snapshot is not None or not any(each.known for each in shipment.records.values())


@pytest.mark.parametrize("name", [name for name in STORED if name not in {SPLIT_OTHERWISE, NAMED_OTHERWISE}])
def test_reading_it_all_again_brings_it_to_the_second_edition(name: str) -> None:
    shipments, _ = replayed(STORED[name])
    found = {each: row_of(shipment) for each, shipment in shipments.items() if shipment.snapshot}
    assert found.keys() == EXPECTED[name]["shipments"].keys()
    for each, row in EXPECTED[name]["shipments"].items():
        assert found[each] == {key: row[key] for key in found[each]}


def test_a_reference_that_had_a_blank_is_refused_as_another_shipment() -> None:
    _, made = replayed(STORED[NAMED_OTHERWISE])
    (kind,) = {row.anomaly_kind for row in made.observations if row.anomaly_kind}
    assert kind is AnomalyKind.SHIPMENT_CHANGED


def row_of(shipment: Shipment) -> dict[str, Any]:
    snapshot = shipment.snapshot
    assert snapshot is not None
    given = snapshot.occurred.source != "received"
    return {
        "status": snapshot.status,
        "final": COURIERS[shipment.shipment_id.partition(":")[0]]
        .lifecycles[snapshot.service]
        .is_final(snapshot.status),
        "service": snapshot.service,
        "courier_status": snapshot.courier_status,
        "failed_count": snapshot.failed_count,
        "occurred_at": format_time(snapshot.occurred.at).replace(".000000Z", "Z") if given else "received",
        "order_id": snapshot.details.order_id,
        "awb": snapshot.details.awb,
        "reason": snapshot.details.reason,
    }
