"""A shipment's id: `<courier>:<reference>`, or `<courier>.<account>:<reference>` where a merchant's accounts differ.

A courier's name and an account have neither a dot nor a colon (`records.ACCOUNT`); a reference may have both.
"""

import msgspec


class ShipmentName(msgspec.Struct, frozen=True, gc=False):
    """The parts of a shipment's id."""

    courier: str
    account: str | None
    reference: str


def shipment_id(courier: str, account: str | None, reference: str) -> str:
    """Return the id of a courier's shipment."""
    return f"{courier}.{account}:{reference}" if account else f"{courier}:{reference}"


def parse_shipment_id(text: str) -> ShipmentName:
    """Return the parts of a shipment's id. A text of another form has an empty reference, or no known courier."""
    owner, _, reference = text.partition(":")
    courier, _, account = owner.partition(".")
    return ShipmentName(courier, account or None, reference)
