"""What every account of a shipment says, field by field: its row, the fold, an event, the published state. Pure."""

from hashlib import blake2b
from typing import Any, Final, Self

import msgspec

from processor.core.fold import Snapshot
from processor.core.state import Shipment
from schemas.couriers import COURIERS
from schemas.events import Event, Personal, ShownProof, State
from schemas.observation import Carrier, Charges, Details, Observation
from schemas.times import format_time
from schemas.vocabulary import PHASES, Phase, Service, Status, TimeSource

_encode: Final = msgspec.json.Encoder().encode


class Content(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every account of a shipment says: its row, the fold, an event, the published state."""

    courier: str
    account: str | None
    service: Service
    courier_ref: str
    order_id: str | None
    awb: str | None
    status: Status
    phase: Phase
    final: bool
    courier_status: str
    failed_count: int
    carrier: Carrier | None
    charges: Charges | None
    reason: str | None
    description: str | None
    personal: Personal
    occurred_at: str
    occurred_at_source: TimeSource

    @classmethod
    def told(cls, told: Event | State) -> Self:
        """Return what an event or a state says."""
        return cls(**{name: getattr(told, name) for name in cls.__struct_fields__})

    @classmethod
    def folded(cls, said: Observation, snapshot: Snapshot) -> Self:
        """Return what a fold comes to. `said` is any observation of the shipment."""
        return cls.showing(
            snapshot,
            courier=said.courier,
            account=said.account,
            courier_ref=said.reference,
            phase=PHASES[snapshot.status],
            final=COURIERS[said.courier].lifecycles[snapshot.service].is_final(snapshot.status),
        )

    @classmethod
    def showing(
        cls, snapshot: Snapshot, *, courier: str, account: str | None, courier_ref: str, phase: Phase, final: bool
    ) -> Self:
        """Return an account that shows a snapshot, with what no snapshot holds."""
        details = snapshot.details
        return cls(
            courier=courier,
            account=account,
            service=snapshot.service,
            courier_ref=courier_ref,
            order_id=details.order_id,
            awb=details.awb,
            status=snapshot.status,
            phase=phase,
            final=final,
            courier_status=snapshot.courier_status,
            failed_count=snapshot.failed_count,
            carrier=details.carrier,
            charges=details.charges,
            reason=details.reason,
            description=details.description,
            personal=personal_of(details),
            occurred_at=format_time(snapshot.occurred.at),
            occurred_at_source=snapshot.occurred.source,
        )


def personal_of(details: Details) -> Personal:
    """Return personal data as it is published."""
    proofs = (
        ShownProof(proof.type, proof.url, format_time(proof.occurred_at) if proof.occurred_at else None)
        for proof in details.proofs
    )
    return Personal(details.driver, details.signed_by, details.tracking_url, tuple(proofs))


def fields(account: Content | State) -> dict[str, Any]:
    """Return an account field by field, each part of the personal data by itself."""
    values: dict[str, Any] = msgspec.to_builtins(account)
    persons: dict[str, Any] = values.pop("personal")
    return values | persons


def digest(account: Content | State) -> bytes:
    """Return twelve bytes that two accounts share only if they say the same."""
    return blake2b(_encode(account), digest_size=12).digest()


def content_of(shipment: Shipment) -> Content | None:
    """Return the account that a folded shipment comes to; None without a status, or without an observation."""
    if shipment.snapshot is None or not shipment.entries:
        return None
    return Content.folded(shipment.entries[0].observation, shipment.snapshot)
