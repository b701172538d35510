"""Who did what: the entries of `operator_log`."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.times import format_time

THE_NEWEST: Final = (datetime.max.replace(tzinfo=UTC), 0)

_Q: Final = load_queries("operators.views")


class Entry(msgspec.Struct, frozen=True):
    """What an operator did, and what the command was told. `detail` holds no personal data."""

    id: int
    logged_at: str
    operator: str
    command: str
    detail: Any


async def entries(
    connection: Connection,
    since: datetime | None,
    operator: str | None,
    shipment_id: str | None,
    limit: int,
    behind: tuple[datetime, int] = THE_NEWEST,
) -> list[Entry]:
    """Return the newest entries, newest first: those made since then, by this operator, about this shipment.

    `behind` names the entry before the first by when it was made and its number.
    """
    which = (since, operator, limit, *behind)
    if shipment_id is None:
        rows = await connection.fetch(_Q["page_of_log"], *which)
    else:
        rows = await connection.fetch(_Q["page_of_log_of_shipment"], *which, shipment_id)
    return [
        Entry(**{**row, "logged_at": format_time(row["logged_at"]), "detail": msgspec.json.decode(row["detail"])})
        for row in rows
    ]
