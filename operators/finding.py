"""Which shipment an operator means."""

from typing import Final

from operators.errors import OperatorError
from runtime.postgres import Connection
from runtime.queries import load_queries

_Q: Final = load_queries("operators")


async def find_shipment(connection: Connection, name: str) -> str:
    """Return the id of the shipment with this id, order number or AWB.

    Raises:
        OperatorError: there is none, or there are several.

    """
    found = [row["shipment_id"] for row in await connection.fetch(_Q["find_shipment"], name)]
    if name in found:
        return name
    if not found:
        raise OperatorError(f"no shipment has the id, order or AWB {name!r}")
    if len(found) > 1:
        raise OperatorError(f"{name!r} may be any of {', '.join(found)}: name one by its id")
    return str(found[0])
