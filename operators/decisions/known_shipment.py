"""A shipment as an operator's decision finds it."""

from datetime import datetime
from typing import Final

import msgspec

from operators.shared.finding import find_shipment
from processor.core.state import Shipment
from processor.storage.store import Store
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.shipment_ids import parse_shipment_id
from schemas.vocabulary import Service, Status

_Q: Final = load_queries("operators.decisions")


class KnownShipment(msgspec.Struct, frozen=True):
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


async def known_shipment(pool: Pool, name: str) -> KnownShipment:
    """Return the shipment that a name means. One of which only unknown words came has no row.

    Raises:
        OperatorError: there is none.
        SeveralError: there are several.

    """
    shipment_id = await find_shipment(pool, name)
    async with pool.acquire() as connection:
        row = await connection.fetchrow(_Q["shipment_to_decide"], shipment_id)
    if row is not None:
        return msgspec.convert(dict(row), KnownShipment)
    parts = parse_shipment_id(shipment_id)
    return KnownShipment(shipment_id, parts.courier, parts.account)


async def load(pool: Pool, shipment_id: str) -> Shipment | None:
    """Return a shipment with its observations."""
    return (await Store(pool).load([shipment_id])).get(shipment_id)
