"""What an operator accepts counts, whichever edition of the rules named the record that was refused."""

from datetime import timedelta

import msgspec
import pytest

from processor.core.effects import Arrival, Changed, Rejected
from processor.core.history import rebuild
from processor.core.reading import Read
from processor.core.shipment import apply
from processor.core.state import Shipment, StoredObservation, new_shipment
from schemas.couriers import COURIERS
from schemas.decisions import read_decision
from schemas.observation import Accept, Observation
from schemas.records import Provenance, RawRecord, read_provenance
from schemas.vocabulary import AnomalyKind, EventType, Status
from tests.integration.system import START, dash
from tests.property.driving import readings_of
from tests.property.test_decisions import WHO, decided

DASH = COURIERS["dash"]
NAME = "dash:DE-1"
FORMER = bytes(16)
ANOMALY = f"{NAME}/anomaly/0:9/illegal_transition"


def said(word: str, minute: int) -> Observation:
    headers = tuple(Provenance(courier="dash", received_at=START + timedelta(minutes=minute)).headers())
    body = dash("DE-1", word, minute, failedCount=0)
    (reading,) = readings_of([RawRecord(0, minute, NAME.encode(), body, headers, 0)])
    assert isinstance(reading, Read)
    return reading.observation


def accepted(record: bytes) -> Observation:
    decision = Accept(shipment_id=NAME, anomaly_id=ANOMALY, record=record.hex(), **WHO)
    appended = decided(decision, START + timedelta(days=1), "c1")
    assert appended.value is not None
    return read_decision(appended.value, read_provenance(appended.headers, 0))


@pytest.mark.parametrize("again", [False, True], ids=["it came under today's name", "it was read again since"])
def test_a_refused_record_is_accepted_by_its_former_name(*, again: bool) -> None:
    history: list[StoredObservation] = []
    shipment = new_shipment(DASH, NAME)

    def take(observation: Observation, *, again: bool = False) -> object:
        effect = apply(shipment, Arrival(observation, lambda _: ANOMALY, again)).effect
        history.append(StoredObservation(observation, ANOMALY if isinstance(effect, Rejected) else None, again))
        return effect

    for minute, word in enumerate(("PREPARING", "VERIFIED", "PENDING_DELIVERY", "IN_DELIVERY", "COMPLETED")):
        take(said(word, minute))
    late = said("FAILED", 9)
    today = msgspec.structs.replace(late, former_digest=FORMER)
    first = msgspec.structs.replace(late, record_digest=FORMER) if again else today
    assert take(first) == Rejected(AnomalyKind.ILLEGAL_TRANSITION)
    if again:
        take(today, again=True)
    effect = take(accepted(FORMER))
    assert isinstance(effect, Changed)
    assert (effect.type, effect.resolves) == (EventType.CORRECTED, (ANOMALY,))
    assert shipment.snapshot is not None
    assert shipment.snapshot.status is Status.FAILED
    assert _seen(rebuild(DASH, NAME, shipment.version, history)) == _seen(shipment)


def _seen(shipment: Shipment) -> object:
    return shipment.snapshot, shipment.entries, shipment.records, shipment.anomalies
