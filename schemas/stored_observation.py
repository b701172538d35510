"""The form in which PostgreSQL keeps what a record said, and the way back."""

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from schemas.observation import NO_DETAILS, Carrier, Charges, Decision, Details, Driver, Observation, Proof, Stamp
from schemas.stored_form import (
    FORM,
    SERVICE_CODES,
    SERVICES,
    SOURCE_CODES,
    SOURCES,
    STATUS_CODES,
    STATUSES,
    UNREADABLE,
    Amounts,
    Pair,
    ServiceCode,
    SourceCode,
    StatusCode,
    content,
    left_out,
    pack,
    put_back,
    word_of,
)

_read_json: Final = msgspec.json.Decoder(Observation).decode


class _Details(msgspec.Struct, frozen=True, gc=False, array_like=True):
    order_id: str | None
    awb: str | None
    carrier: Pair | None
    charges: Amounts | None
    driver: Pair | None
    signed_by: str | None
    tracking_url: str | None
    reason: str | None
    description: str | None
    proofs: list[tuple[str | None, str, datetime | None]]


class _Said(msgspec.Struct, frozen=True, gc=False, array_like=True):
    courier: str
    account: str | None
    reference: int | str
    """Its length, where the shipment's id ends with it."""
    word: str
    status: StatusCode | None
    known: bool
    received_at: datetime
    source: SourceCode
    record_digest: bytes
    reading_digest: bytes
    item: int
    count: int
    times: dict[str, Stamp]
    updated_at: datetime | None
    proves: list[ServiceCode]
    hints: list[ServiceCode]
    jumps_through: StatusCode | None
    details: _Details | None
    former_digest: bytes | None
    decision: Decision | None
    edition: int


_read_said: Final = msgspec.msgpack.Decoder(_Said).decode


def pack_observation(said: Observation) -> bytes:
    """Return the stored form of an observation."""
    details = said.details
    return FORM + pack(
        (
            said.courier,
            said.account,
            left_out(said.shipment_id, said.reference),
            said.word,
            STATUS_CODES[said.status],
            said.known,
            said.received_at,
            SOURCE_CODES[said.source],
            said.record_digest,
            said.reading_digest,
            said.item,
            said.count,
            said.times,
            said.updated_at,
            [SERVICE_CODES[service] for service in said.proves] if said.proves else (),
            [SERVICE_CODES[service] for service in said.hints] if said.hints else (),
            STATUS_CODES[said.jumps_through],
            None if details is NO_DETAILS else _packed_details(details),
            said.former_digest,
            said.decision,
            said.edition,
        )
    )


def _packed_details(details: Details) -> tuple[Any, ...]:
    order_id, awb, carrier, charges, driver, signed_by, url, reason, description, proofs = astuple(details)
    return (
        order_id,
        awb,
        carrier and astuple(carrier),
        charges and astuple(charges),
        driver and astuple(driver),
        signed_by,
        url,
        reason,
        description,
        proofs and [astuple(proof) for proof in proofs],
    )


def read_observation(shipment_id: str, reading: str | None, said: bytes | None) -> Observation:
    """Return a stored observation: of a row with what it `said`, or, of an older version, with a `reading`.

    Raises:
        UNREADABLE: it is of a form that this version cannot read.

    """
    if said is None:
        if reading is None:
            raise ValueError("there is nothing")
        older: Observation = _read_json(reading)
        return older
    found = _read_said(content(said))
    return Observation(  # by position, twice as fast: histories are loaded by it
        shipment_id,
        found.courier,
        found.account,
        put_back(shipment_id, found.reference),
        found.word,
        word_of(STATUSES, found.status),
        found.known,
        found.received_at,
        SOURCES[found.source],
        found.record_digest,
        found.reading_digest,
        found.item,
        found.count,
        found.times,
        found.updated_at,
        tuple([SERVICES[service] for service in found.proves]) if found.proves else (),
        tuple([SERVICES[service] for service in found.hints]) if found.hints else (),
        word_of(STATUSES, found.jumps_through),
        _details(found.details) if found.details else NO_DETAILS,
        found.former_digest,
        found.decision,
        found.edition,
    )


def _details(found: _Details) -> Details:
    return Details(
        found.order_id,
        found.awb,
        Carrier(*found.carrier) if found.carrier else None,
        Charges(*found.charges) if found.charges else None,
        Driver(*found.driver) if found.driver else None,
        found.signed_by,
        found.tracking_url,
        found.reason,
        found.description,
        tuple([Proof(*proof) for proof in found.proofs]) if found.proofs else (),
    )


def readable(shipment_id: str, reading: str | None, said: bytes | None) -> Observation | None:
    """Read a stored observation; None: it is of a form that this version cannot read."""
    try:
        return read_observation(shipment_id, reading, said)
    except UNREADABLE:
        return None
