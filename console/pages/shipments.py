"""`/shipments`: shipments as `waybill shipment list` gives them, page by page; and the search for one."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from console.page import ROWS, Asked, Context, ElsewhereError, Page, WrongQueryError, read_key
from operators.shared.errors import Match, OperatorError, SeveralError
from operators.shared.finding import find_shipment
from operators.views.shipments import THE_NEWEST, THE_OLDEST, Behind, Listed, newest, stale
from runtime.moments import length
from schemas.couriers import COURIERS
from schemas.tolerant_json import unstorable
from schemas.vocabulary import Status


class ShipmentsQuery(msgspec.Struct, frozen=True):
    """`q` is sought as id, courier's reference, order or AWB; the rest narrows the list. `stale_for` is a duration."""

    q: str | None = None
    status: tuple[Status, ...] = ()
    courier: str | None = None
    stale_for: str | None = None
    behind: str | None = None


class ShipmentList(msgspec.Struct, frozen=True):
    """Shipments: those that changed last first; with `stale_for` those silent longest first.

    `matches` are the shipments that `q` may mean, where it means several. `behind` begins the next page.
    """

    query: ShipmentsQuery
    matches: tuple[Match, ...]
    not_found: str | None
    shipments: tuple[Listed, ...]
    behind: str | None


async def load(context: Context, query: ShipmentsQuery, _asked: Asked) -> ShipmentList:
    """Return the list, or lead to the one shipment that is sought."""
    if query.courier is not None and query.courier not in COURIERS:
        raise WrongQueryError(f"courier is none of {', '.join(COURIERS)}")
    silent = _length(query.stale_for)
    matches, not_found = await _sought(context, query.q) if query.q is not None else ((), None)
    first = THE_NEWEST if silent is None else THE_OLDEST
    behind: Behind = first if query.behind is None else read_key(query.behind)
    async with context.database.pool.acquire() as connection:
        which = (query.status or None, query.courier, ROWS + 1)
        if silent is None:
            found = (await newest(connection, *which, behind=behind))[::-1]
        else:
            found = await stale(connection, *which, _ago(silent), behind=behind)
    more = len(found) > ROWS
    shown = found[:ROWS]
    return ShipmentList(query, matches, not_found, tuple(shown), _key(shown[-1]) if more else None)


async def _sought(context: Context, name: str) -> tuple[tuple[Match, ...], str | None]:
    if unstorable(name):
        return (), "what cannot be stored is no shipment's name"
    try:
        found = await find_shipment(context.database.pool, name)
    except SeveralError as error:
        return error.matches, None
    except OperatorError as error:
        return (), str(error)
    raise ElsewhereError(f"/shipments/{quote(found, safe='')}")


def _length(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return length(text)
    except ValueError as error:
        raise WrongQueryError(str(error)) from error


def _ago(silent: timedelta) -> datetime:
    try:
        return datetime.now(UTC) - silent
    except OverflowError as error:
        raise WrongQueryError("stale_for is too long") from error


def _key(last: Listed) -> str:
    return f"{last.updated_at}~{last.shipment_id}"


SHIPMENTS = Page(
    "shipments",
    "/shipments",
    "Shipments",
    "Shipments, those that changed last first, or those silent longest; and the search for one.",
    ShipmentsQuery,
    ShipmentList,
    load,
)
