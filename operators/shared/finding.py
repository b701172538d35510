"""Which shipment an operator means: by its id, the courier's reference, its order, or any AWB it ever had."""

from typing import Final

from operators.shared.errors import Match, OperatorError, SeveralError
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.shipment_ids import parse_shipment_id
from schemas.times import format_time

MOST: Final = 20
"""Shipments that are told where a name means several."""

_Q: Final = load_queries("operators.shared")


async def find_shipment(pool: Pool, name: str, *, known: bool = True) -> str:
    """Return the id of the shipment that a name means. White space around it is none of it.

    Unless it must be `known`, what has the form of an id is taken for one without a look.

    Raises:
        OperatorError: there is none.
        SeveralError: there are several, and none has the name as its id.

    """
    if not known and is_id(name):
        return name
    sought = name.strip()
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["find_shipment"], sought, MOST)
    found = [
        Match(
            row["shipment_id"],
            row["status"],
            row["order_id"],
            row["awb"],
            row["updated_at"] and format_time(row["updated_at"]),
        )
        for row in rows
    ]
    if any(match.shipment_id == sought for match in found):
        return sought
    if not found:
        raise OperatorError(f"no shipment has the id, reference, order or AWB {sought!r}")
    if len(found) > 1:
        raise SeveralError(sought, found)
    return found[0].shipment_id


def is_id(name: str) -> bool:
    """Whether a name has the form of a shipment's id."""
    parts = parse_shipment_id(name)
    return bool(parts.reference) and parts.courier in COURIERS
