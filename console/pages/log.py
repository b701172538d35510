"""`/log`: who did what, and who looked at personal data."""

import msgspec

from console.page import ROWS, Asked, Context, Page, read_key, read_numbers
from console.pages.anomalies import read_since
from operators.shared.finding import find_shipment
from operators.views.log import THE_NEWEST, Entry, entries


class LogQuery(msgspec.Struct, frozen=True):
    """Which entries: those made since then, by this operator, about this shipment."""

    since: str | None = None
    operator: str | None = None
    shipment: str | None = None
    behind: str | None = None


class Log(msgspec.Struct, frozen=True):
    """Entries of the operators' log, newest first. `behind` begins the next page."""

    query: LogQuery
    entries: tuple[Entry, ...]
    behind: str | None


async def load(context: Context, query: LogQuery, _asked: Asked) -> Log:
    """Return a page of the log."""
    since = read_since(query.since)
    behind = THE_NEWEST
    if query.behind is not None:
        at, rest = read_key(query.behind)
        (number,) = read_numbers(rest, 1)
        behind = (at, number)
    pool = context.database.pool
    shipment = None if query.shipment is None else await find_shipment(pool, query.shipment, known=False)
    async with pool.acquire() as connection:
        found = await entries(connection, since, query.operator, shipment, ROWS + 1, behind)
    shown = found[:ROWS]
    last = f"{shown[-1].logged_at}~{shown[-1].id}" if len(found) > ROWS else None
    return Log(query, tuple(shown), last)


LOG = Page("log", "/log", "Log", "What operators did, and whose personal data they looked at.", LogQuery, Log, load)
