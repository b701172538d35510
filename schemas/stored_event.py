"""The form in which PostgreSQL keeps an event, and the way back to its very bytes, as they were published."""

from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import astuple

from schemas.events import Event, Observed, Personal, RawCoordinates, ShownProof
from schemas.observation import Carrier, Charges, Driver
from schemas.stored_form import (
    EVENT_TYPE_CODES,
    EVENT_TYPES,
    FORM,
    PHASE_CODES,
    PHASES,
    SERVICE_CODES,
    SERVICES,
    SOURCE_CODES,
    SOURCES,
    STATUS_CODES,
    STATUSES,
    TIME_SOURCE_CODES,
    TIME_SOURCES,
    TRANSITION_CODES,
    TRANSITIONS,
    Amounts,
    Code,
    Pair,
    content,
    left_out,
    pack,
    put_back,
    word_of,
)
from schemas.times import format_shared_time, format_time

_encode: Final = msgspec.json.Encoder().encode


class _Event(msgspec.Struct, frozen=True, gc=False, array_like=True):
    id: str | None
    """None: it is the shipment's id and the version."""
    type: Code
    courier: str
    account: str | None
    service: Code
    carrier: Pair | None
    courier_ref: int | str
    """Its length, where the shipment's id ends with it."""
    order_id: str | None
    awb: str | None
    status: Code
    previous_status: Code | None
    phase: Code
    final: bool
    transition: Code | None
    skipped: list[Code]
    courier_status: str
    failed_count: int
    attempt: int
    occurred_at: str
    occurred_at_source: Code
    received_at: str
    recorded_at: datetime
    reason: str | None
    description: str | None
    charges: Amounts | None
    driver: Pair | None
    signed_by: str | None
    tracking_url: str | None
    proofs: list[tuple[str | None, str, str | None]]
    observed: tuple[Code | None, str, str] | None
    resolves: list[str]
    source: Code
    raw_topic: str
    raw: tuple[int, int] | None
    """None: they are the coordinates of the record that was read."""
    recorded_text: str | None
    """None: it is `recorded_at`, as Waybill writes times."""


_read_event: Final = msgspec.msgpack.Decoder(_Event).decode


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """What the row of an event says in columns of its own: `partition` and `offset` are those of the record read."""

    shipment_id: str
    version: int
    partition: int
    offset: int


def pack_event(event: Event, row: EventRow, recorded_at: datetime) -> bytes:
    """Return the stored form of an event that stands in this row; `recorded_at`: when, as far as is known."""
    personal, observed, raw = event.personal, event.observed, event.raw
    return FORM + pack(
        (
            None if event.id == _id(row) else event.id,
            EVENT_TYPE_CODES[event.type],
            event.courier,
            event.account,
            SERVICE_CODES[event.service],
            event.carrier and astuple(event.carrier),
            left_out(row.shipment_id, event.courier_ref),
            event.order_id,
            event.awb,
            STATUS_CODES[event.status],
            STATUS_CODES[event.previous_status],
            PHASE_CODES[event.phase],
            event.final,
            TRANSITION_CODES[event.transition],
            event.skipped and [STATUS_CODES[status] for status in event.skipped],
            event.courier_status,
            event.failed_count,
            event.attempt,
            event.occurred_at,
            TIME_SOURCE_CODES[event.occurred_at_source],
            event.received_at,
            recorded_at,
            event.reason,
            event.description,
            event.charges and astuple(event.charges),
            personal.driver and astuple(personal.driver),
            personal.signed_by,
            personal.tracking_url,
            personal.proofs and [astuple(proof) for proof in personal.proofs],
            observed and (STATUS_CODES[observed.status], observed.courier_status, observed.occurred_at),
            event.resolves,
            SOURCE_CODES[event.source],
            raw.topic,
            None if raw.offset == row.offset and raw.partition == row.partition else (raw.partition, raw.offset),
            None if event.recorded_at == format_shared_time(recorded_at) else event.recorded_at,
        )
    )


def read_event(packed: bytes, row: EventRow) -> Event:
    """Return the event that a row holds.

    Raises:
        UNREADABLE: it is of a form that this version cannot read.

    """
    found = _read_event(content(packed))
    return Event(
        id=_id(row) if found.id is None else found.id,
        type=EVENT_TYPES[found.type],
        shipment_id=row.shipment_id,
        version=row.version,
        courier=found.courier,
        account=found.account,
        service=SERVICES[found.service],
        carrier=Carrier(*found.carrier) if found.carrier else None,
        courier_ref=put_back(row.shipment_id, found.courier_ref),
        order_id=found.order_id,
        awb=found.awb,
        status=STATUSES[found.status],
        previous_status=word_of(STATUSES, found.previous_status),
        phase=PHASES[found.phase],
        final=found.final,
        transition=word_of(TRANSITIONS, found.transition),
        skipped=tuple([STATUSES[status] for status in found.skipped]),
        courier_status=found.courier_status,
        failed_count=found.failed_count,
        attempt=found.attempt,
        occurred_at=found.occurred_at,
        occurred_at_source=TIME_SOURCES[found.occurred_at_source],
        received_at=found.received_at,
        recorded_at=found.recorded_text if found.recorded_text is not None else format_time(found.recorded_at),
        reason=found.reason,
        description=found.description,
        charges=Charges(*found.charges) if found.charges else None,
        personal=Personal(
            Driver(*found.driver) if found.driver else None,
            found.signed_by,
            found.tracking_url,
            tuple([ShownProof(*proof) for proof in found.proofs]),
        ),
        observed=_observed(found.observed) if found.observed else None,
        resolves=tuple(found.resolves),
        source=SOURCES[found.source],
        raw=RawCoordinates(found.raw_topic, *(found.raw or (row.partition, row.offset))),
    )


def event_bytes(event: Event) -> bytes:
    """Return an event as it is published."""
    return _encode(event)


def _observed(found: tuple[int | None, str, str]) -> Observed:
    status, word, occurred_at = found
    return Observed(word_of(STATUSES, status), word, occurred_at)


def _id(row: EventRow) -> str:
    return f"{row.shipment_id}/{row.version}"
