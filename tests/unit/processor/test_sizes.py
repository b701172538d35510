"""What is stored can be published: the largest event, state and anomaly fit into a message of any topic."""

import msgspec
import pytest

from processor.core.effects import Changed
from processor.core.messages import Message, messages
from processor.core.outputs import MAX_RESOLVED_BYTES, Origin, Output, anomaly_id, anomaly_output, event_output
from processor.core.plan import Planner
from processor.core.reading import Read
from runtime.settings import LEAST_MESSAGE_BYTES, MESSAGE_OVERHEAD_BYTES, load_settings
from runtime.topics import wanted_topics
from schemas.couriers import COURIERS
from schemas.couriers.base import MAX_REFERENCE_BYTES
from schemas.couriers.reading import MAX_PROOFS, MAX_TEXT, MAX_URL
from schemas.events import Event
from schemas.records import Provenance, RawRecord
from schemas.vocabulary import AnomalyKind, EventType, Status
from tests.integration.system import START
from tests.property.driving import RAW_TOPIC, readings_of

WIDE = "\x01"
"""The character that takes most in JSON: six bytes, of one that is counted."""

REFERENCE = WIDE * MAX_REFERENCE_BYTES
TEXT = WIDE * MAX_TEXT
URL = WIDE * MAX_URL
BODY = {
    "deliveryID": REFERENCE,
    "providerOrderID": WIDE * MAX_REFERENCE_BYTES,
    "status": "FAILED",
    "failedCount": 2**31 - 1,
    "failedReason": TEXT,
    "trackingURL": URL,
    "courier": {"name": TEXT, "phone": TEXT},
    "recipient": {"actualRecipientName": TEXT},
    "media": [{"type": TEXT, "url": URL} for _ in range(MAX_PROOFS)],
    "updatedAt": "2026-11-01T09:00:00Z",
}
NAME = f"dash:{REFERENCE}"


def largest(resolves: tuple[str, ...]) -> tuple[Output, Output]:
    """The event and the anomaly of a webhook whose every text is as long as it may be."""
    headers = tuple(Provenance(courier="dash", received_at=START).headers())
    record = RawRecord(0, 2**63 - 1, None, msgspec.json.encode(BODY), headers, 0)
    (reading,) = readings_of([record])
    assert isinstance(reading, Read)
    observation = reading.observation
    shipment = Planner({}, RAW_TOPIC, START).add_all([reading]).shipments[NAME]
    assert shipment.snapshot is not None
    origin = Origin(RAW_TOPIC, record, START, incarnation=2**31 - 1)
    change = Changed(EventType.CORRECTED, Status.DELIVERED, late=True, resolves=resolves)
    courier = COURIERS["dash"]
    stamp = courier.occurred(observation, shipment.service)
    return (
        event_output(courier, origin, observation, shipment.snapshot, change, 2**31 - 1),
        anomaly_output(origin, observation, stamp, AnomalyKind.ILLEGAL_TRANSITION, Status.FAILED, 0),
    )


def ids(count: int) -> tuple[str, ...]:
    return tuple(
        anomaly_id(NAME, (2**31 - 1, offset), 2**31 - 1, AnomalyKind.ILLEGAL_TRANSITION) for offset in range(count)
    )


def size_of(message: Message) -> int:
    headers = sum(len(name) + len(value or b"") + 10 for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers


def test_the_largest_values_fit_into_a_message() -> None:
    resolves = ids(5_000)
    event, anomaly = largest(resolves)
    found = [message for output in (event, anomaly) for message in messages(output)]
    assert len(found) == 3
    assert max(map(size_of, found)) < LEAST_MESSAGE_BYTES - MESSAGE_OVERHEAD_BYTES
    told = msgspec.json.decode(event.value or b"", type=Event).resolves
    assert told == resolves[: len(told)]
    assert len(msgspec.json.encode(told)) <= MAX_RESOLVED_BYTES < len(msgspec.json.encode(resolves[: len(told) + 1]))


@pytest.mark.parametrize("count", [0, 1, 200])
def test_an_event_names_all_that_it_settles_where_they_are_not_thousands(count: int) -> None:
    event, _ = largest(ids(count))
    assert event.event is not None
    assert event.event.resolves == ids(count)


@pytest.mark.parametrize("limit", ["1024", "1048576"])
def test_topics_take_what_producers_send(limit: str) -> None:
    settings = load_settings({"WAYBILL_INGEST_MAX_BODY_BYTES": limit})
    assert {topic.configs["max.message.bytes"] for topic in wanted_topics(settings)} == {
        str(settings.max_message_bytes)
    }
    assert settings.max_message_bytes >= LEAST_MESSAGE_BYTES
