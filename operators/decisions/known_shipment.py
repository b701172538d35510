"""A shipment as an operator's decision finds it."""

from datetime import datetime
from typing import Final

import msgspec

from operators.shared.errors import OperatorError
from operators.shared.finding import find_shipment
from processor.core.fold import Snapshot
from processor.core.state import Shipment
from processor.storage.store import Store
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.shipment_ids import parse_shipment_id
from schemas.times import format_time
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


async def load_movable(pool: Pool, known: KnownShipment) -> tuple[Shipment, Snapshot]:
    """Return a shipment with its observations, and its snapshot, from which an operator may move its status.

    Raises:
        OperatorError: it was retired, or has no status yet.

    """
    shipment = await load(pool, known.shipment_id)
    if known.retired_at is not None:
        raise OperatorError(f"{known.shipment_id} was retired at {format_time(known.retired_at)}: it stays as it is")
    if shipment is None or shipment.snapshot is None:
        raise OperatorError(f"{known.shipment_id} has no status yet: no word of its courier is understood")
    return shipment, shipment.snapshot
