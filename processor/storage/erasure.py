"""What is stored about shipments and goes: the personal data of erased ones, the history of retired ones."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from processor.core.cursor import Cursor
from processor.core.errors import StoredRowError
from processor.core.outputs import forgotten_event
from processor.core.state import forgotten
from processor.storage.rows import json_text, read_reading
from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.observation import Persons

_Q: Final = load_queries("processor.storage")


async def erase(connection: Connection, shipment_ids: Sequence[str], now: datetime) -> None:
    """Take the personal data out of what is stored about shipments."""
    readings = [
        (row["shipment_id"], row["incarnation"], row["raw_partition"], row["raw_offset"], _forgotten(row))
        for row in await connection.fetch(_Q["readings_of"], shipment_ids)
    ]
    if readings:
        await connection.execute(_Q["rewrite_readings"], *zip(*readings, strict=True))
    events = [_event_forgotten(row) for row in await connection.fetch(_Q["events_of"], shipment_ids)]
    if events:
        await connection.execute(_Q["rewrite_outputs"], *zip(*events, strict=True))
    await connection.execute(_Q["mark_erased"], shipment_ids, now)


async def retire(
    connection: Connection, shipment_ids: Sequence[str], partition: int, held: Cursor, emitted: int, now: datetime
) -> None:
    """Delete what is stored about shipments, but for their rows and what is not known to be published."""
    await connection.execute(_Q["mark_retired"], shipment_ids, now, json_text(Persons()))
    await connection.execute(_Q["retire_observations"], shipment_ids, partition, held.incarnation, held.next_offset)
    await connection.execute(_Q["retire_outputs"], shipment_ids, held.incarnation, emitted)


def _forgotten(row: Any) -> str | None:
    return json_text(forgotten(read_reading(row)))


def _event_forgotten(row: Any) -> tuple[Any, ...]:
    *key, value = row
    try:
        return (*key, forgotten_event(value))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        what = f"the output {row['raw_partition']}:{row['cause_offset']}/{row['ordinal']}"
        raise StoredRowError(what, error) from error
