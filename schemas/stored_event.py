"""The form in which PostgreSQL keeps an event, and the way back to its very bytes, as they were published."""

from datetime import datetime
from typing import Any, Final

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
    EventTypeCode,
    Pair,
    PhaseCode,
    ServiceCode,
    SourceCode,
    StatusCode,
    TimeSourceCode,
    TransitionCode,
    content,
    left_out,
    pack,
    put_back,
    word_of,
)
from schemas.times import format_shared_time

_encode: Final = msgspec.json.Encoder().encode


class _Event(msgspec.Struct, frozen=True, gc=False, array_like=True):
    id: str | None
    """None: it is the shipment's id and the version."""
    type: EventTypeCode
    courier: str
    account: str | None
    service: ServiceCode
    carrier: Pair | None
    courier_ref: int | str
    """Its length, where the shipment's id ends with it."""
    order_id: str | None
    awb: str | None
    status: StatusCode
    previous_status: StatusCode | None
    phase: PhaseCode
    final: bool
    transition: TransitionCode | None
    skipped: list[StatusCode]
    courier_status: str
    failed_count: int
    attempt: int
    occurred_at: str
    occurred_at_source: TimeSourceCode
    received_at: str
    recorded_at: datetime
    reason: str | None
    description: str | None
    charges: Amounts | None
    driver: Pair | None
    signed_by: str | None
    tracking_url: str | None
    proofs: list[tuple[str | None, str, str | None]]
    observed: tuple[StatusCode | None, str, str] | None
    resolves: list[str]
    source: SourceCode
    raw_topic: str
    raw: tuple[int, int] | None
    """None: they are the coordinates of the record that was read."""
    recorded_text: str | None
    """None: it is `recorded_at`, as Waybill writes times."""
    traceparent: str | None = None
    """The header of a traced webhook's event. The others end before it, as all did before there was any: whoever knows
    nothing of it passes over it."""


_read_event: Final = msgspec.msgpack.Decoder(_Event).decode
_read_values: Final = msgspec.msgpack.Decoder(list[Any]).decode
_UNTRACED: Final = FORM + pack([None] * (len(_Event.__struct_fields__) - 1))[:3]
"""How the form begins of an event that is not traced: with how many values there are."""


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
    return Event(  # by position, several times faster
        _id(row) if found.id is None else found.id,
        EVENT_TYPES[found.type],
        row.shipment_id,
        row.version,
        found.courier,
        found.account,
        SERVICES[found.service],
        Carrier(*found.carrier) if found.carrier else None,
        put_back(row.shipment_id, found.courier_ref),
        found.order_id,
        found.awb,
        STATUSES[found.status],
        word_of(STATUSES, found.previous_status),
        PHASES[found.phase],
        found.final,
        word_of(TRANSITIONS, found.transition),
        tuple([STATUSES[status] for status in found.skipped]) if found.skipped else (),
        found.courier_status,
        found.failed_count,
        found.attempt,
        found.occurred_at,
        TIME_SOURCES[found.occurred_at_source],
        found.received_at,
        format_shared_time(found.recorded_at) if found.recorded_text is None else found.recorded_text,
        found.reason,
        found.description,
        Charges(*found.charges) if found.charges else None,
        Personal(
            Driver(*found.driver) if found.driver else None,
            found.signed_by,
            found.tracking_url,
            tuple([ShownProof(*proof) for proof in found.proofs]) if found.proofs else (),
        ),
        _observed(found.observed) if found.observed else None,
        tuple(found.resolves) if found.resolves else (),
        SOURCES[found.source],
        RawCoordinates(found.raw_topic, *(found.raw or (row.partition, row.offset))),
    )


def with_traceparent(packed: bytes, traceparent: str) -> bytes:
    """Return the stored form of an event that is published with this header. `packed` is that of one without."""
    return FORM + pack([*_read_values(content(packed)), traceparent])


def traceparent_of(packed: bytes) -> str | None:
    """Return the header of a stored event, if its webhook was traced.

    Raises:
        UNREADABLE: it is of a form that this version cannot read.

    """
    return None if packed.startswith(_UNTRACED) else _read_event(content(packed)).traceparent


def event_name(packed: bytes, row: EventRow) -> str:
    """Return the id of the event that a row holds, if all of it can be read.

    Raises:
        UNREADABLE: it is of a form that this version cannot read.

    """
    found = _read_event(content(packed))
    return _id(row) if found.id is None else found.id


def event_bytes(event: Event) -> bytes:
    """Return an event as it is published."""
    return _encode(event)


def _observed(found: tuple[int | None, str, str]) -> Observed:
    status, word, occurred_at = found
    return Observed(word_of(STATUSES, status), word, occurred_at)


def _id(row: EventRow) -> str:
    return f"{row.shipment_id}/{row.version}"
