"""What a shipment shows of itself: one struct, by the names that the table's columns and the topics' fields have. Pure.

Its fields are columns of `shipments`, in the order of `upsert_shipments`, and are shown by events and states under
the same names: there a moment is a text, and so are the moments of proofs.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec

from processor.core.fold import Snapshot
from schemas.couriers import COURIERS
from schemas.events import Event, Personal, ShownProof, State
from schemas.observation import NO_DETAILS, NOTHING_PERSONAL, Carrier, Charges, Details, Persons, Proof, persons_of
from schemas.times import format_time
from schemas.vocabulary import PHASES, Phase, Service, Status, TimeSource


class View(msgspec.Struct, frozen=True, gc=False):
    """What a shipment shows: whose it is, and its snapshot."""

    courier: str
    account: str | None
    courier_ref: str
    status: Status
    phase: Phase
    final: bool
    courier_status: str
    service: Service
    failed_count: int
    occurred_at: datetime
    occurred_at_source: TimeSource
    order_id: str | None
    awb: str | None
    carrier: Carrier | None
    charges: Charges | None
    reason: str | None
    description: str | None
    personal: Persons

    @classmethod
    def of(cls, snapshot: Snapshot, courier: str, account: str | None, courier_ref: str) -> Self:
        """Return the view of a shipment with this snapshot."""
        return cls.showing(
            snapshot,
            courier,
            account,
            courier_ref,
            PHASES[snapshot.status],
            final=COURIERS[courier].lifecycles[snapshot.service].is_final(snapshot.status),
        )

    @classmethod
    def showing(
        cls, snapshot: Snapshot, courier: str, account: str | None, courier_ref: str, phase: Phase, *, final: bool
    ) -> Self:
        """Return the view with these values for what follows from a snapshot. A row may hold others."""
        details, occurred = snapshot.details, snapshot.occurred
        return cls(  # by position, several times faster: one is made for every row
            courier,
            account,
            courier_ref,
            snapshot.status,
            phase,
            final,
            snapshot.courier_status,
            snapshot.service,
            snapshot.failed_count,
            occurred.at,
            occurred.source,
            details.order_id,
            details.awb,
            details.carrier,
            details.charges,
            details.reason,
            details.description,
            persons_of(details),
        )

    def fields(self) -> dict[str, Any]:
        """Return the view as plain values, each part of the personal data by itself."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        persons: dict[str, Any] = values.pop("personal")
        return values | {"occurred_at": format_time(self.occurred_at)} | persons


shown_values: Final[Callable[[Event | State], tuple[Any, ...]]] = attrgetter(*View.__struct_fields__)
"""Returns the values that an event or a state shows, in the order of the fields of `View`."""

IDENTITY: Final = ("courier", "account", "courier_ref")
"""The fields of a view that say whose shipment it is. They follow from its id, and never change."""


_NOBODY: Final = Personal(None, None, None, ())


def published_persons(persons: Details | Persons) -> Personal:
    """Return personal data as events and states show it."""
    if persons.driver is None and persons.signed_by is persons.tracking_url is None and not persons.proofs:
        return _NOBODY
    return Personal(
        persons.driver,
        persons.signed_by,
        persons.tracking_url,
        tuple([_published(proof) for proof in persons.proofs]) if persons.proofs else (),
    )


def _published(proof: Proof) -> ShownProof:
    return ShownProof(proof.type, proof.url, format_time(proof.occurred_at) if proof.occurred_at else None)


NOTHING_PERSONAL_SHOWN: Final[Mapping[str, Any]] = MappingProxyType(
    {"personal": published_persons(NO_DETAILS)}
    | {name: value for name, value in NOTHING_PERSONAL.items() if name in Event.__struct_fields__}
)
"""What the fields of an event that may tell of persons become when the personal data goes."""
