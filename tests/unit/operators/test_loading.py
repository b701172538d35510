"""Commands that look at many shipments hold a bounded part of their histories at once, and answer as with all."""

from collections.abc import Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from operators.audit import pages as auditing
from operators.audit.pages import Comparing, read_page
from operators.decisions import anomalies
from operators.decisions.anomalies import Wanted
from operators.replay.preview import Preview
from processor.core.anomaly_states import AnomalyState
from processor.core.errors import StoredRowError
from processor.core.reading import Read
from processor.core.state import Shipment, new_shipment
from processor.storage import anomaly_states
from processor.storage.shipments import LOADED_BYTES
from schemas.couriers import COURIERS
from tests.hot_parcels import START
from tests.property.driving import RAW_TOPIC
from tests.unit.operators.test_anomalies import REFUSED, applied
from tests.unit.processor.test_pieces import CURSOR, StoredShipments, parcels

HEAVY = LOADED_BYTES * 2 // 5
"""What a shipment weighs of which three make enough."""

PLACE = {"recorded_at": START, "incarnation": 0, "raw_partition": 0, "cause_offset": 2, "ordinal": 0}


async def test_a_plan_loads_as_much_as_a_piece_of_a_batch() -> None:
    store, readings = StoredShipments(each=HEAVY), parcels(8)
    preview = Preview(store, RAW_TOPIC, {}, START, 5_000)  # type: ignore[arg-type]
    await preview.apply(readings)
    assert [len(names) for names in store.asked] == [8, 5, 2]
    named = [each.observation.shipment_id for each in readings if isinstance(each, Read)]
    assert [each.shipment_id for each in preview.changes()] == sorted(named)
    assert len(preview.events) == len(preview.shipments) == 8


async def test_anomalies_are_judged_with_as_much_as_a_piece_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    shipment, (anomaly,) = applied(REFUSED)
    asked: list[list[str]] = []

    class Store:
        def __init__(self, *_: Any) -> None: ...

        async def load_some(self, names: Sequence[str], most: int) -> tuple[dict[str, Shipment], int]:
            asked.append(list(names))
            seen = names[: most // HEAVY + 1]
            return {name: shipment for name in seen if name != "dash:5"}, len(seen)

    monkeypatch.setattr(anomaly_states, "Store", Store)
    rows = [
        {"value": msgspec.json.encode(msgspec.structs.replace(anomaly, shipment_id=f"dash:{number}", id=f"a{number}"))}
        for number in range(8)
    ]
    named = anomaly.id
    shipment.anomalies = {record: "a3" if name == named else name for record, name in shipment.anomalies.items()}
    found = await anomalies._standing(
        None,  # type: ignore[arg-type]
        [each | PLACE for each in rows],
        Wanted(),
    )
    assert [len(names) for names in asked] == [8, 5, 2]
    assert [each.anomaly.id for each in found] == [f"a{number}" for number in range(8)]
    assert (found[3].state, found[3].record is not None) == (AnomalyState.OPEN, True)
    assert found[5].state is AnomalyState.OPEN


class Stored:
    """A connection of which ids come one by one, and nothing is stored about them."""

    async def fetch(self, _statement: str, _names: Sequence[str]) -> list[Any]:
        return []

    async def cursor(self, _statement: str, names: Sequence[str]) -> Any:
        left = iter(names)

        async def fetch(_most: int) -> list[Any]:
            return [{"shipment_id": name, "raw_offset": None} for name in islice(left, 1)]

        return SimpleNamespace(fetch=fetch)


async def test_an_audit_s_page_is_as_much_as_a_piece_of_a_batch_and_passes_over_what_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rebuilt(name: str, _history: object, _row: object) -> Shipment:
        if name == "dash:4":
            raise StoredRowError("the row", ValueError("odd"))
        shipment = new_shipment(COURIERS["dash"], name)
        shipment.weight = HEAVY
        return shipment

    monkeypatch.setattr(auditing, "rebuilt", rebuilt)
    states: Any = SimpleNamespace(newest={})
    comparing = Comparing(0, CURSOR, 0, states, 0.0)
    left, pages, connection = [f"dash:{number}" for number in range(8)], list[list[str]](), Stored()
    while left:
        page = await read_page(connection, comparing, left, 9)  # type: ignore[arg-type]
        pages.append([facts.shipment_id for facts in page.facts])
        left = left[len(page.facts) :]
    assert pages == [["dash:0", "dash:1", "dash:2"], ["dash:3", "dash:4", "dash:5", "dash:6"], ["dash:7"]]
