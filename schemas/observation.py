"""What one raw record says about one shipment."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from schemas.vocabulary import Service, Source, Status, TimeSource


class Stamp(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A moment (UTC) and where it comes from."""

    at: datetime
    source: TimeSource


class Driver(msgspec.Struct, frozen=True, gc=False):
    """Who carries the parcel."""

    name: str | None = None
    phone: str | None = None


class Carrier(msgspec.Struct, frozen=True, gc=False):
    """Which company carries for an aggregator, and under which of its products."""

    code: str | None = None
    service: str | None = None


class Charges(msgspec.Struct, frozen=True, gc=False):
    """What the delivery costs, in whole units of the currency; null where unknown."""

    currency: str = "IDR"
    shipping: int | None = None
    cod: int | None = None
    insurance: int | None = None


class Proof(msgspec.Struct, frozen=True, gc=False):
    """A picture the driver took."""

    type: str | None
    url: str
    occurred_at: datetime | None = None


class Details(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a courier tells beside the status. None, or no proofs, says nothing."""

    order_id: str | None = None
    awb: str | None = None
    carrier: Carrier | None = None
    charges: Charges | None = None
    driver: Driver | None = None
    signed_by: str | None = None
    tracking_url: str | None = None
    reason: str | None = None
    description: str | None = None
    proofs: tuple[Proof, ...] = ()


NO_DETAILS: Final = Details()


class Persons(msgspec.Struct, frozen=True, gc=False):
    """The details about persons, as the column `personal` of `shipments` holds them."""

    driver: Driver | None = None
    signed_by: str | None = None
    tracking_url: str | None = None
    proofs: tuple[Proof, ...] = ()


PERSONAL: Final = (*Persons.__struct_fields__, "description")
"""The details that may tell of persons: they go when a shipment is erased or retired, and are hidden where they are
shown. Couriers write names into scan texts. Declared here, and nowhere else."""


NOTHING_PERSONAL: Final[Mapping[str, Any]] = MappingProxyType({name: getattr(NO_DETAILS, name) for name in PERSONAL})
"""What these details become when they go."""


def persons_of(details: Details) -> Persons:
    """Return the details about persons that the column `personal` holds."""
    return Persons(details.driver, details.signed_by, details.tracking_url, details.proofs)


def impersonal(details: Details) -> Details:
    """Return details without personal data."""
    return msgspec.structs.replace(details, **NOTHING_PERSONAL)


EDITION: Final = 3
"""The edition of the rules by which records are read today."""

SAME_WORDS_SINCE: Final = 2
"""The edition since which couriers' words mean what they mean today."""

SAME_NAMES_SINCE: Final = 3
"""The edition since which a record is named as today: by its bytes. Before, it was by its canonical JSON."""

KEPT_OBSERVATIONS: Final = 5_000
"""Observations of its couriers that a shipment keeps, unless WAYBILL_SHIPMENT_MAX_OBSERVATIONS says otherwise: a
hundred times the longest life seen, and few enough to be read and folded in a twentieth of a second."""


class _Decided(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="command"):
    """Which shipment it is about, who decided it, and why.

    Stored with its observation for good, so nothing is checked here that yesterday's code did not check: what may be
    decided is `schemas.decisions`' affair.
    """

    shipment_id: str
    by: str
    reason: str


class SetStatus(_Decided, frozen=True, gc=False, kw_only=True, tag="set_status"):
    """The shipment has this status: behind everything received before the decision, whatever the table says."""

    status: Status


class Accept(_Decided, frozen=True, gc=False, kw_only=True, tag="accept"):
    """A refused observation counts at its position, whatever the table says."""

    anomaly_id: str
    record: str
    """The record digest of the observation, in hexadecimal."""


class Dismiss(_Decided, frozen=True, gc=False, kw_only=True, tag="dismiss"):
    """An anomaly needs nothing done."""

    anomaly_id: str


class Erase(_Decided, frozen=True, gc=False, kw_only=True, tag="erase"):
    """The shipment's personal data goes, and none is taken in any more."""


class Retire(_Decided, frozen=True, gc=False, kw_only=True, tag="retire"):
    """The shipment's history goes, if it is silent, and final or `unfinished` too; its row stays."""

    silent_since: datetime
    """It is silent if its newest event was recorded before."""
    unfinished: bool = False
    """It goes although no final status ever came."""


Decision = SetStatus | Accept | Dismiss | Erase | Retire


class Observation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One raw record's reading: the courier's word and everything the fold needs to place it.

    A pure function of the record. `known` is false for a word missing from the courier's mapping;
    a known word without `status` gives details only.
    """

    shipment_id: str
    courier: str
    account: str | None
    reference: str
    word: str
    status: Status | None
    known: bool
    received_at: datetime
    source: Source
    record_digest: bytes
    """The record's name: of its bytes; of a pulled entry, of its canonical JSON. Never changes with our code."""
    reading_digest: bytes
    """Of what the record says, without the time received and the source."""
    item: int = 1
    """Its place in the webhook's body, from 1."""
    count: int = 0
    """How many failures the courier has counted; 0 where it sends no count."""
    times: dict[str, Stamp] = {}
    """The believed times under the courier's own field names."""
    updated_at: datetime | None = None
    """The body's `updatedAt`, if believed. It breaks ties."""
    proves: tuple[Service, ...] = ()
    hints: tuple[Service, ...] = ()
    """What it speaks for where nothing is proven: the courier's `service` weighs hints."""
    jumps_through: Status | None = None
    """The one status, otherwise closed to jumps, that a jump to this one passes last (703: LOST, 704: DAMAGED)."""
    details: Details = NO_DETAILS
    former_digest: bytes | None = None
    """The record digest that an older edition of the rules gave the same record, where the shipment may know it so."""
    decision: Decision | None = None
    """Of an operator's record: what was decided."""
    edition: int = 1
    """Of the rules by which its record was read. The first did not store its number."""

    @property
    def takes_part(self) -> bool:
        """Whether the fold looks at it: unknown words and decisions that are not a status stand beside it."""
        return self.known and (self.decision is None or self.status is not None)

    @property
    def received(self) -> Stamp:
        """The time received, as the last fallback of `occurred_at`."""
        return Stamp(self.received_at, TimeSource.RECEIVED)
