"""A shipment as an operator's decision finds it."""

from datetime import datetime
from typing import Final

import msgspec

from operators.shared.finding import find_shipment
from processor.core.state import Shipment
from processor.storage.store import Store
from runtime.postgres import Connection, Pool
from runtime.queries import load_queries
from schemas.vocabulary import Service, Status

_Q: Final = load_queries("operators.decisions")


class Known(msgspec.Struct, frozen=True):
    """A shipment as an operator's decision finds it. Without a row it has no status."""

    shipment_id: str
    courier: str
    account: str | None
    service: Service | None = None
    status: Status | None = None
    version: int = 0
    updated_at: datetime | None = None
    erased_at: datetime | None = None
    retired_at: datetime | None = None


def account_of(shipment_id: str, courier: str) -> str | None:
    """Return the merchant account that is part of a shipment's id."""
    return shipment_id.partition(":")[0].removeprefix(courier).removeprefix(".") or None


async def known_shipment(connection: Connection, name: str) -> Known:
    """Return the shipment that a name means. One of which only unknown words came has no row.

    Raises:
        OperatorError: there is none.
        SeveralError: there are several.

    """
    shipment_id = await find_shipment(connection, name)
    row = await connection.fetchrow(_Q["shipment_to_decide"], shipment_id)
    if row is not None:
        return msgspec.convert(dict(row), Known)
    courier = shipment_id.partition(":")[0].partition(".")[0]
    return Known(shipment_id, courier, account_of(shipment_id, courier))


async def load(pool: Pool, shipment_id: str) -> Shipment | None:
    """Return a shipment with its observations."""
    return (await Store(pool).load([shipment_id])).get(shipment_id)
