"""What every account of a shipment says, field by field: its row, the fold, an event, the published state. Pure."""

from hashlib import blake2b
from typing import Any, Final

import msgspec

from processor.core.state import Shipment
from processor.core.view import View, published_persons, shown_values
from schemas.events import Event, State

Account = dict[str, Any]
"""The values that one place shows of a shipment, by the names of `View`'s fields and as events and states write them;
each part of the personal data stands by itself."""

_encode: Final = msgspec.json.Encoder().encode


def shown_by(view: View) -> Account:
    """Return the account that a view gives: that of a row, or of a fold."""
    persons: Account = msgspec.to_builtins(published_persons(view.personal))
    return view.fields() | persons


def told_by(told: Event | State) -> Account:
    """Return the account that an event or a state gives."""
    return _flat(dict(zip(View.__struct_fields__, shown_values(told), strict=True)))


def content_of(shipment: Shipment) -> Account | None:
    """Return the account that a folded shipment comes to; None without a status, or without an observation."""
    if shipment.snapshot is None or not shipment.entries:
        return None
    said = shipment.entries[0].observation
    return shown_by(View.of(shipment.snapshot, said.courier, said.account, said.reference))


def state_fields(state: State) -> dict[str, Any]:
    """Return all fields of a state, each part of the personal data by itself."""
    return _flat(state)


def digest(said: Account | State) -> bytes:
    """Return twelve bytes that two accounts, or two states, share only if they say the same."""
    return blake2b(_encode(said), digest_size=12).digest()


def _flat(said: dict[str, Any] | State) -> dict[str, Any]:
    values: dict[str, Any] = msgspec.to_builtins(said)
    persons: dict[str, Any] = values.pop("personal")
    return values | persons
