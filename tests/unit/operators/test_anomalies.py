"""How an anomaly stands follows from its shipment; what a status change is called follows from the table."""

from collections.abc import Sequence
from datetime import UTC, timedelta

import msgspec
import pytest

from operators.decisions.anomalies import shipment_of
from operators.decisions.decide import observation_of, write
from operators.decisions.known_shipment import KnownShipment
from operators.decisions.set_status import in_words, verdict_on
from operators.shared.errors import OperatorError
from processor.core.anomaly_states import AnomalyState, state_of
from processor.core.plan import Plan, Planner
from processor.core.reading import read
from processor.core.state import Shipment
from schemas.events import Anomaly
from schemas.observation import Accept, Decision, Dismiss, SetStatus
from schemas.records import RawRecord
from schemas.topics import Topic
from schemas.vocabulary import Status
from tests.integration.system import START, Raw, dash, raw_records

NAME = "dash:X"
KNOWN = KnownShipment(NAME, "dash", None)


def told(*words: str) -> list[Raw]:
    return [
        record
        for minute, word in enumerate(words)
        for record in raw_records("dash", dash("X", word, minute), START + timedelta(minutes=minute))
    ]


def applied(records: Sequence[Raw]) -> tuple[Shipment, list[Anomaly]]:
    """Apply records one by one; return the shipment and its anomalies."""
    shipments: dict[str, Shipment] = {}
    found: list[Anomaly] = []
    for offset, each in enumerate(records):
        record = RawRecord(0, offset, each.key, each.value, tuple(each.headers), each.timestamp_ms)
        planned: Plan = Planner(shipments, "raw", START).add_all([read(record, lambda *_: UTC, 1)])
        shipments.update(planned.shipments)
        found += [
            msgspec.json.decode(output.value or b"", type=Anomaly)
            for output in planned.outputs
            if output.topic is Topic.ANOMALIES
        ]
    return shipments[NAME], found


def decided(decision: Decision) -> Raw:
    _, record = write(KNOWN, decision)
    return Raw(record.key or b"", record.value, record.headers, record.timestamp_ms)


REFUSED = told("PREPARING", "COMPLETED", "FAILED")


def test_refused_then_accepted_or_dismissed() -> None:
    shipment, (anomaly,) = applied(REFUSED)
    state, record = state_of(anomaly, shipment)
    assert state is AnomalyState.OPEN
    assert record is not None
    accept = Accept(shipment_id=NAME, by="x", reason="y", anomaly_id=anomaly.id, record=record.hex())
    dismiss = Dismiss(shipment_id=NAME, by="x", reason="y", anomaly_id=anomaly.id)
    assert state_of(anomaly, applied([*REFUSED, decided(accept)])[0])[0] is AnomalyState.ACCEPTED
    assert state_of(anomaly, applied([*REFUSED, decided(dismiss)])[0])[0] is AnomalyState.DISMISSED
    assert state_of(anomaly, applied([*REFUSED, decided(dismiss), decided(accept)])[0])[0] is AnomalyState.ACCEPTED


def test_settled_by_a_late_webhook() -> None:
    """Out for delivery it could not be cancelled, so the new driver's PICKING_UP is right."""
    queueing, late, cancelled, picking_up = told("QUEUEING", "IN_DELIVERY", "CANCELLED", "PICKING_UP")
    shipment, (anomaly,) = applied([queueing, cancelled, picking_up])
    assert state_of(anomaly, shipment)[0] is AnomalyState.OPEN
    settled, (same,) = applied([queueing, cancelled, picking_up, late])
    assert (same.id, state_of(same, settled)[0]) == (anomaly.id, AnomalyState.SETTLED)


def test_an_unknown_word_stays_open_until_it_is_known_or_dismissed() -> None:
    records = told("PREPARING", "MELTED")
    shipment, (anomaly,) = applied(records)
    state, record = state_of(anomaly, shipment)
    assert state is AnomalyState.OPEN
    assert record is not None
    known = msgspec.structs.replace(shipment.records[record], known=True)
    understood = msgspec.structs.replace(shipment, records={**shipment.records, record: known})
    assert state_of(anomaly, understood)[0] is AnomalyState.SETTLED
    dismiss = Dismiss(shipment_id=NAME, by="x", reason="y", anomaly_id=anomaly.id)
    assert state_of(anomaly, applied([*records, decided(dismiss)])[0])[0] is AnomalyState.DISMISSED


def test_two_services_stay_open_until_dismissed() -> None:
    shipment, (anomaly,) = applied(told("PREPARING", "ALLOCATING"))
    assert anomaly.kind == "service_conflict"
    assert state_of(anomaly, shipment) == (AnomalyState.OPEN, None)
    assert state_of(anomaly, None) == (AnomalyState.OPEN, None)


@pytest.mark.parametrize("name", ["", "dash:X", "dash:X/anomaly/0:1", "dash:X/anomaly/0:1/odd"])
def test_what_is_no_anomaly(name: str) -> None:
    with pytest.raises(OperatorError, match="not an anomaly's id"):
        shipment_of(name)


def test_the_shipment_of_an_anomaly() -> None:
    assert shipment_of("dash:X/anomaly/0:1/unknown_status") == NAME
    assert shipment_of("dash.a:b/anomaly/c/anomaly/2/0:1/illegal_transition") == "dash.a:b/anomaly/c"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.PENDING_DELIVERY, "legal by the table"),
        (Status.DELIVERED, "legal by the table, past PENDING_DELIVERY, IN_DELIVERY"),
        (Status.VERIFIED, "it is VERIFIED already"),
        (Status.LOST, "not in the table of logistic"),
        (Status.CREATED, "not in the table of logistic"),
    ],
)
def test_what_the_table_says(status: Status, words: str) -> None:
    shipment, _ = applied(told("PREPARING", "VERIFIED"))
    assert shipment.snapshot is not None
    _, record = write(KNOWN, SetStatus(shipment_id=NAME, by="x", reason="y", status=status))
    said = in_words(shipment.snapshot, status, verdict_on(shipment, "dash", observation_of(record)))
    assert words in said
