"""What every account of a shipment says, field by field: its row, the fold, an event, the published state. Pure."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from processor.core.state import Shipment
from processor.core.view import View, published_persons, shown_values
from schemas.events import Event, Personal, State
from schemas.observation import Carrier, Charges
from schemas.times import format_time
from schemas.vocabulary import Phase, Service, Status, TimeSource

_encode: Final = msgspec.json.Encoder().encode


class Account(msgspec.Struct, frozen=True, gc=False):
    """The values that one place shows of a shipment: the fields of `View`, as events and states write them."""

    courier: str
    account: str | None
    courier_ref: str
    status: Status
    phase: Phase
    final: bool
    courier_status: str
    service: Service
    failed_count: int
    occurred_at: str
    occurred_at_source: TimeSource
    order_id: str | None
    awb: str | None
    carrier: Carrier | None
    charges: Charges | None
    reason: str | None
    description: str | None
    personal: Personal

    def fields(self) -> dict[str, Any]:
        """Return the values by name, each part of the personal data by itself."""
        return _flat(self)


assert Account.__struct_fields__ == View.__struct_fields__

_OCCURRED_AT: Final = View.__struct_fields__.index("occurred_at")
_PERSONAL: Final = View.__struct_fields__.index("personal")


def shown_by(view: View) -> Account:
    """Return the account that a view gives: that of a row, or of a fold."""
    values = list(msgspec.structs.astuple(view))
    values[_OCCURRED_AT] = format_time(view.occurred_at)
    values[_PERSONAL] = published_persons(view.personal)
    return Account(*values)


def told_by(told: Event | State) -> Account:
    """Return the account that an event or a state gives."""
    return Account(*shown_values(told))


def content_of(shipment: Shipment) -> Account | None:
    """Return the account that a folded shipment comes to; None without a status, or without an observation."""
    if shipment.snapshot is None or not shipment.records:
        return None
    said = next(iter(shipment.records.values()))
    return shown_by(View.of(shipment.snapshot, said.courier, said.account, said.reference))


def state_fields(state: State) -> dict[str, Any]:
    """Return all fields of a state, each part of the personal data by itself."""
    return _flat(state)


def digest(said: Account | State) -> bytes:
    """Return twelve bytes that two accounts, or two states, share only if they say the same."""
    return blake2b(_encode(said), digest_size=12).digest()


def _flat(said: Account | State) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(said)
    persons: dict[str, Any] = values.pop("personal")
    return values | persons
