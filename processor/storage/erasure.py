"""What is stored about shipments and goes: the personal data of erased ones, the history of retired ones."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from processor.core.cursor import Cursor
from processor.core.errors import StoredRowError
from processor.core.outputs import forgotten_event, impersonal_event
from processor.core.state import forgotten
from processor.storage.rows import event_row, json_text, read_event, read_reading
from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.observation import Persons
from schemas.stored_event import pack_event
from schemas.stored_observation import pack_observation

_Q: Final = load_queries("processor.storage")


async def erase(connection: Connection, shipment_ids: Sequence[str], now: datetime) -> None:
    """Take the personal data out of what is stored about shipments."""
    observations = [_forgotten(row) for row in await connection.fetch(_Q["observations_of"], shipment_ids)]
    if observations:
        await connection.execute(_Q["rewrite_observations"], *zip(*observations, strict=True))
    outputs = [_output_forgotten(row) for row in await connection.fetch(_Q["events_of"], shipment_ids)]
    if outputs:
        await connection.execute(_Q["rewrite_outputs"], *zip(*outputs, strict=True))
    await connection.execute(_Q["mark_erased"], shipment_ids, now)


async def retire(
    connection: Connection, shipment_ids: Sequence[str], partition: int, held: Cursor, emitted: int, now: datetime
) -> None:
    """Delete what is stored about shipments, but for their rows and what is not known to be published."""
    await connection.execute(_Q["mark_retired"], shipment_ids, now, json_text(Persons()))
    await connection.execute(
        _Q["retire_observations"], shipment_ids, partition, held.incarnation, held.next_offset, emitted
    )
    await connection.execute(_Q["retire_outputs"], shipment_ids, held.incarnation, emitted)


def _forgotten(row: Any) -> tuple[Any, ...]:
    """Return an observation and its event without personal data, for `rewrite_observations`."""
    event = None
    if row["event"] is not None:
        event = pack_event(impersonal_event(read_event(row)), event_row(row), row["recorded_at"])
    said = pack_observation(forgotten(read_reading(row)))
    return row["incarnation"], row["raw_partition"], row["raw_offset"], said, event


def _output_forgotten(row: Any) -> tuple[Any, ...]:
    *key, value = row
    try:
        return (*key, forgotten_event(value))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        what = f"the output {row['raw_partition']}:{row['cause_offset']}/{row['ordinal']}"
        raise StoredRowError(what, error) from error
