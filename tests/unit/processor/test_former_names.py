"""What was stored under the name that an older edition gave its record is known again under today's."""

from datetime import timedelta

import msgspec
import pytest

from processor.core.history import rebuild
from processor.core.plan import ObservationRow, Planner
from processor.core.reading import Read
from processor.core.roots import RootShipment
from processor.core.state import Shipment, StoredObservation
from schemas.couriers import COURIERS
from schemas.observation import Accept, Details, Observation
from schemas.records import Headers, Provenance, RawRecord, reread_headers
from schemas.vocabulary import AnomalyKind, Outcome, Status
from tests.integration.system import START, dash
from tests.property.driving import NOW, RAW_TOPIC, readings_of
from tests.property.test_decisions import WHO, decided

BODIES = {
    "dash": dash("DE-1", "FAILED", 1, failedCount=1),
    "kiriminaja": b'{"method":"shipped_packages","data":[{"order_id":"O-1","shipped_at":"2025-03-01 10:00:00"}]}',
}


def record_of(courier: str, body: bytes, offset: int = 0, headers: Headers | None = None) -> RawRecord:
    ours = headers or Provenance(courier=courier, received_at=START + timedelta(minutes=offset)).headers()
    return RawRecord(0, offset, None, body, tuple(ours), 0)


def read_now(record: RawRecord) -> Read:
    (reading,) = readings_of([record])
    assert isinstance(reading, Read)
    return reading


def as_named_before(record: RawRecord) -> Observation:
    """Return what the second edition stored of a record."""
    observation = read_now(record).observation
    name = COURIERS[observation.courier].former_digest(record.value or b"")
    assert name is not None
    assert name != observation.record_digest
    return msgspec.structs.replace(observation, record_digest=name, edition=2)


def stored(observation: Observation) -> Shipment:
    courier = COURIERS[observation.courier]
    return rebuild(courier, observation.shipment_id, 1, [StoredObservation(observation)])


def planned(shipment: Shipment, record: RawRecord) -> ObservationRow:
    name = shipment.shipment_id
    made = Planner({name: shipment}, RAW_TOPIC, NOW, roots={(0, 0): [RootShipment(name)]}).add_all([read_now(record)])
    (row,) = made.observations
    return row


@pytest.mark.parametrize("courier", BODIES)
def test_a_repeat_is_a_duplicate(courier: str) -> None:
    shipment = stored(as_named_before(record_of(courier, BODIES[courier])))
    row = planned(shipment, record_of(courier, BODIES[courier], 5))
    assert row.outcome is Outcome.DUPLICATE
    assert shipment.version == 1


@pytest.mark.parametrize("courier", BODIES)
def test_a_repeat_is_a_duplicate_though_an_older_edition_read_something_else(courier: str) -> None:
    older = as_named_before(record_of(courier, BODIES[courier]))
    other = msgspec.structs.replace(older, reading_digest=bytes(16), details=Details(awb="A-1"))
    shipment = stored(other)
    row = planned(shipment, record_of(courier, BODIES[courier], 5))
    assert (row.outcome, row.kept) == (Outcome.DUPLICATE, False)
    assert len(shipment.entries) == 1


@pytest.mark.parametrize("courier", BODIES)
def test_a_record_that_is_read_again_takes_the_place_of_what_it_gave(courier: str) -> None:
    record = record_of(courier, BODIES[courier])
    older = as_named_before(record)
    shipment = stored(older)
    again = record_of(courier, BODIES[courier], 7, reread_headers(record, "job/1"))
    row = planned(shipment, again)
    assert (row.outcome, row.stored) == (Outcome.UNCHANGED, True)
    assert list(shipment.records) == [read_now(record).observation.record_digest]
    assert (shipment.held, len(shipment.entries), shipment.version) == (1, 1, 1)
    history = [StoredObservation(older), StoredObservation(row.observation, again=True)]
    back = rebuild(shipment.courier, shipment.shipment_id, 1, history)
    assert (back.records, back.entries, back.held) == (shipment.records, shipment.entries, shipment.held)
    for known in (shipment, back):
        assert not planned(known, again).stored


def test_a_decision_of_before_counts_when_all_is_read_anew() -> None:
    """The raw topic is read again from its start: the decision names the refused record as it was named then."""
    bodies = [dash("DE-1", "COMPLETED", 4), dash("DE-1", "FAILED", 9)]
    refused = record_of("dash", bodies[1], 1)
    anomaly = f"dash:DE-1/anomaly/0:1/{AnomalyKind.ILLEGAL_TRANSITION}"
    name = as_named_before(refused).record_digest
    accept = Accept(shipment_id="dash:DE-1", anomaly_id=anomaly, record=name.hex(), **WHO)
    shipment = stored(read_now(record_of("dash", bodies[0])).observation)
    assert planned(shipment, refused).anomaly_kind is AnomalyKind.ILLEGAL_TRANSITION
    assert planned(shipment, decided(accept, START + timedelta(days=1), "c1")).outcome is Outcome.EVENT
    assert shipment.snapshot is not None
    assert shipment.snapshot.status is Status.FAILED
