"""What may go wrong in an operator's command."""

from collections.abc import Sequence

import msgspec


class OperatorError(Exception):
    """The command cannot be done as it was told. The text says why, and what may be done instead."""


class Match(msgspec.Struct, frozen=True):
    """A shipment that a name may mean. One of which no word has a status yet has its id only."""

    shipment_id: str
    status: str | None = None
    order_id: str | None = None
    awb: str | None = None
    updated_at: str | None = None


class SeveralError(OperatorError):
    """A name may mean several shipments. `matches` are at most `finding.MOST` of them, in the order of their ids."""

    def __init__(self, name: str, matches: Sequence[Match]) -> None:
        """Say which shipments they are."""
        super().__init__(f"{name!r} may be any of these: name one by its id")
        self.matches = tuple(matches)
