"""What the tables know of the commands and the roots that a batch names."""

from collections.abc import Collection
from typing import Any, Final

import msgspec

from processor.core.roots import Roots, RootShipment
from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.decisions import decision_digest
from schemas.observation import Decision

_Q: Final = load_queries("processor.storage")
_read_decision: Final = msgspec.json.Decoder(Decision).decode


async def applied_before(connection: Connection, commands: Collection[str]) -> frozenset[str]:
    """Return which of these command ids were applied."""
    return frozenset(row["command_id"] for row in await connection.fetch(_Q["known_commands"], list(commands)))


async def load_roots(connection: Connection, roots: Collection[tuple[int, int]]) -> Roots:
    """Return what is known of these roots. `roots` are their partitions and offsets."""
    if not roots:
        return {}
    found: dict[tuple[int, int], list[RootShipment]] = {}
    rows = await connection.fetch(_Q["roots"], *map(list, zip(*roots, strict=True)))
    names = list({row["shipment_id"] for row in rows})
    plain = {row["shipment_id"] for row in await connection.fetch(_Q["plain_shipments"], names)}
    for partition, offset, shipment_id, refused, said in rows:
        about = RootShipment(shipment_id, refused, said if shipment_id in plain else None)
        found.setdefault((partition, offset), []).append(about)
    return found


async def written_decisions(connection: Connection, commands: Collection[str]) -> frozenset[tuple[str, bytes]]:
    """Return command ids and digests of the decisions that the operators' log has under these ids."""
    rows = await connection.fetch(_Q["written_decisions"], list(commands))
    return frozenset((row["command_id"], decision_digest(decision)) for row in rows if (decision := _decided(row)))


def _decided(row: Any) -> Decision | None:
    """Read what the log says of a command; None: that is not a decision."""
    try:
        found: Decision = _read_decision(row["detail"])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found
