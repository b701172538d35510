"""Shipments, as their rows and their stored observations have them."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from processor.core.errors import StoredRowError
from processor.core.history import rebuild
from processor.core.outputs import anomaly_id
from processor.core.state import Shipment, StoredObservation, is_outdated, retired_shipment
from processor.storage.rows import read_reading, read_snapshot, record_name
from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.vocabulary import AnomalyKind

LOADED_ROWS: Final = 1_000
"""Observations fetched at once: some milliseconds to decode, and the loop is free in between."""

LOADED_BYTES: Final = 64 * 1024 * 1024
"""How much of histories is loaded for a piece; that of one shipment is in any case."""

_Q: Final = load_queries("processor.storage")

_Past = TypeVar("_Past")


async def load_shipments(
    connection: Connection, shipment_ids: Sequence[str], most: int | None
) -> tuple[dict[str, Shipment], int]:
    """Load shipments in this order until they weigh more than `most` bytes, over a connection in a transaction.

    Return those that anything is known of, and for how many of the ids that speaks.

    Raises:
        StoredRowError: something stored about one of them cannot be read.

    """
    found: dict[str, Shipment] = {}
    weight = seen = 0
    known = {row["shipment_id"]: row for row in await connection.fetch(_Q["load_rows"], shipment_ids)}
    bare = {name: retired(row) for name, row in known.items() if row["retired"]}
    cursor = await connection.cursor(_Q["load_histories"], shipment_ids)
    async for name, history in histories(cursor, read_past):
        shipment = bare.get(name) or rebuilt(name, history, known.get(name))
        if shipment is not None:
            found[name] = shipment
            weight += shipment.weight
        seen += 1
        if most is not None and weight > most:
            break
    return found, seen


def read_past(row: Any) -> StoredObservation:
    """Read a row of `load_histories`.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    observation, kind = read_reading(row), row["anomaly_kind"]
    try:
        at = row["root_partition"], row["root_offset"]
        refusal = kind and anomaly_id(observation.shipment_id, at, row["incarnation"], AnomalyKind(kind))
    except ValueError as error:
        raise StoredRowError(record_name(row), error) from error
    return StoredObservation(observation, refusal, row["again"])


async def histories(cursor: Any, read: Callable[[Any], _Past]) -> AsyncIterator[tuple[str, list[_Past]]]:
    """Give rows in the order of their shipments, as they are read, shipment by shipment.

    One of which nothing is known has a single empty row.
    """
    name, history = None, list[_Past]()
    while rows := await cursor.fetch(LOADED_ROWS):
        for row in rows:
            if row["shipment_id"] != name:
                if name is not None:
                    yield name, history
                name, history = row["shipment_id"], []
            if row["raw_offset"] is not None:
                history.append(read(row))
    if name is not None:
        yield name, history


def rebuilt(name: str, history: Sequence[StoredObservation], row: Any) -> Shipment | None:
    """Return a shipment folded from what is stored. `row` is that of `load_rows`; None: it has none.

    Raises:
        StoredRowError: its row cannot be read, or its history cannot be folded.

    """
    if row is None and not history:
        return None
    courier = history[-1].observation.courier if history else row["courier"]
    try:
        shipment = rebuild(COURIERS[courier], name, row["version"] if row else 0, history)
        if is_outdated(shipment):
            shipment.shown = read_snapshot(row) if row else None
    except MemoryError:
        raise
    except Exception as error:
        raise StoredRowError(f"the history of shipment {name}", error) from error
    return shipment


def retired(row: Any) -> Shipment:
    """Return a shipment of which only the row is left.

    Raises:
        StoredRowError: it cannot be read.

    """
    try:
        return retired_shipment(COURIERS[row["courier"]], row["shipment_id"], row["version"], read_snapshot(row))
    except (msgspec.DecodeError, UnicodeError, ValueError, LookupError) as error:
        raise StoredRowError(f"the row of shipment {row['shipment_id']}", error) from error
