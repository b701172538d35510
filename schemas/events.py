"""The values of the output topics, schema version 1, and their CloudEvents headers.

Fields stand in the order subscribers see. Moments are RFC 3339 texts in UTC with microseconds.
"""

from operator import attrgetter
from typing import Final

import msgspec

from schemas.observation import Carrier, Charges, Driver
from schemas.records import Headers
from schemas.topics import Topic
from schemas.vocabulary import (
    AnomalyKind,
    EventType,
    Phase,
    Service,
    Source,
    Status,
    TimeSource,
    Transition,
)

SCHEMA_VERSION: Final = 1

STATE_TYPE: Final = b"shipment.state"
ANOMALY_TYPE: Final = b"shipment.anomaly"
"""The `ce_type` of every state and of every anomaly; an event's is its type."""

CONSTANT_HEADERS: Final = {
    topic: (
        ("ce_specversion", b"1.0"),
        ("ce_source", f"/waybill/{topic}".encode()),
        ("ce_dataschema", f"urn:waybill:schema:{topic}:{SCHEMA_VERSION}".encode()),
        ("content-type", b"application/json"),
    )
    for topic in (Topic.EVENTS, Topic.STATE, Topic.ANOMALIES)
}
"""What the headers of an output say whatever its value is, by topic."""


class RawCoordinates(msgspec.Struct, frozen=True, gc=False):
    """The raw record an output comes from."""

    topic: str
    partition: int
    offset: int


class ShownProof(msgspec.Struct, frozen=True, gc=False):
    """A picture the driver took."""

    type: str | None
    url: str
    occurred_at: str | None


class Personal(msgspec.Struct, frozen=True, gc=False):
    """Everything about persons that leaves the raw topic."""

    driver: Driver | None
    signed_by: str | None
    tracking_url: str | None
    proofs: tuple[ShownProof, ...]


class Observed(msgspec.Struct, frozen=True, gc=False):
    """What a late or refused webhook itself said."""

    status: Status | None
    courier_status: str
    occurred_at: str


class State(msgspec.Struct, frozen=True, gc=False):
    """The newest snapshot of a shipment, on `shipment.state`."""

    shipment_id: str
    version: int
    courier: str
    account: str | None
    service: Service
    carrier: Carrier | None
    courier_ref: str
    order_id: str | None
    awb: str | None
    status: Status
    phase: Phase
    final: bool
    courier_status: str
    failed_count: int
    attempt: int
    occurred_at: str
    occurred_at_source: TimeSource
    received_at: str
    recorded_at: str
    reason: str | None
    description: str | None
    charges: Charges | None
    personal: Personal
    source: Source
    raw: RawCoordinates


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened to a shipment, on `shipment.events`. Details are the snapshot's after it."""

    id: str
    type: EventType
    shipment_id: str
    version: int
    courier: str
    account: str | None
    service: Service
    carrier: Carrier | None
    courier_ref: str
    order_id: str | None
    awb: str | None
    status: Status
    previous_status: Status | None
    phase: Phase
    final: bool
    transition: Transition | None
    skipped: tuple[Status, ...]
    courier_status: str
    failed_count: int
    attempt: int
    occurred_at: str
    occurred_at_source: TimeSource
    received_at: str
    recorded_at: str
    reason: str | None
    description: str | None
    charges: Charges | None
    personal: Personal
    observed: Observed | None
    resolves: tuple[str, ...]
    source: Source
    raw: RawCoordinates


class Anomaly(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An observation that could not simply be applied, on `shipment.anomalies`."""

    id: str
    kind: AnomalyKind
    shipment_id: str
    courier: str
    courier_status: str
    status: Status | None
    """The shipment's, unchanged; null if there is none."""
    observed: Observed
    received_at: str
    recorded_at: str
    source: Source
    raw: RawCoordinates


_state_fields: Final = attrgetter(*State.__struct_fields__)


def state_after(event: Event) -> State:
    """Return the snapshot that an event leaves behind."""
    return State(*_state_fields(event))


def cloud_event_headers(topic: Topic, id_: bytes, type_: bytes, subject: bytes, time: bytes) -> Headers:
    """Return the CloudEvents 1.0 binary headers of an output."""
    return [
        *CONSTANT_HEADERS[topic],
        ("ce_id", id_),
        ("ce_type", type_),
        ("ce_subject", subject),
        ("ce_time", time),
    ]
