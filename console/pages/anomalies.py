"""`/anomalies`: what could not simply be applied, and what can be done about each."""

from datetime import UTC, datetime

import msgspec

from console.page import ROWS, Asked, Context, Page, WrongQueryError, read_key, read_numbers
from operators.decisions.anomalies import (
    THE_NEWEST,
    AnomalyPlace,
    Standing,
    Wanted,
    page_of,
    remedy,
)
from operators.shared.finding import find_shipment
from runtime.moments import moment
from schemas.events import Anomaly
from schemas.times import format_time
from schemas.vocabulary import AnomalyKind


class AnomaliesQuery(msgspec.Struct, frozen=True):
    """Which anomalies: the open ones, or `all`. `since` is a time or a duration ago, `word` the courier's word."""

    kind: tuple[AnomalyKind, ...] = ()
    courier: tuple[str, ...] = ()
    word: tuple[str, ...] = ()
    shipment: str | None = None
    since: str | None = None
    all: bool = False
    behind: str | None = None


class AnomalyRow(msgspec.Struct, frozen=True):
    """An anomaly, how it stands, and what can be done about it."""

    anomaly: Anomaly
    state: str
    remedy: str | None


class AnomalyList(msgspec.Struct, frozen=True):
    """Anomalies, newest first. `behind` begins the next page; a page may be short, or empty, and not be the last."""

    query: AnomaliesQuery
    anomalies: tuple[AnomalyRow, ...]
    behind: str | None


async def load(context: Context, query: AnomaliesQuery, _asked: Asked) -> AnomalyList:
    """Return a page of anomalies."""
    since = read_since(query.since)
    behind = THE_NEWEST if query.behind is None else _place(query.behind)
    pool = context.database.pool
    shipment = None if query.shipment is None else await find_shipment(pool, query.shipment)
    wanted = Wanted(tuple(query.kind), query.courier, query.word, since, shipment)
    found = await page_of(pool, wanted, behind, ROWS, only_open=not query.all)
    return AnomalyList(query, tuple(map(row, found.standing)), None if found.behind is None else _key(found.behind))


def row(standing: Standing) -> AnomalyRow:
    """Return an anomaly as it is shown."""
    return AnomalyRow(standing.anomaly, standing.state, remedy(standing))


def read_since(text: str | None) -> datetime | None:
    """Read a moment.

    Raises:
        WrongQueryError: it is none.

    """
    try:
        return None if text is None else moment(text, datetime.now(UTC))
    except ValueError as error:
        raise WrongQueryError(str(error)) from error


def _place(text: str) -> AnomalyPlace:
    at, rest = read_key(text)
    incarnation, partition, offset, ordinal = read_numbers(rest, 4)
    return at, incarnation, partition, offset, ordinal


def _key(place: AnomalyPlace) -> str:
    at, *numbers = place
    return f"{format_time(at)}~{'.'.join(map(str, numbers))}"


ANOMALIES = Page(
    "anomalies",
    "/anomalies",
    "Anomalies",
    "What could not simply be applied, newest first, and what can be done about each.",
    AnomaliesQuery,
    AnomalyList,
    load,
)
