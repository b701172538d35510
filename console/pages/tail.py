"""`/tail`: what comes in and what is published, as it happens. Without JavaScript: the newest, when it is loaded."""

from typing import Final

import msgspec

from console.page import Asked, Context, Page
from console.pages.shipment import require_personal
from console.tail import KINDS, TailRow, without_personal
from operators.shared.operator_log import note

SHOWN: Final = 50
"""Rows of the page. A browser that follows keeps some hundred more."""


class TailQuery(msgspec.Struct, frozen=True):
    """`personal` shows personal data to those who may see it, and notes the look."""

    personal: bool = False


class TailPage(msgspec.Struct, frozen=True):
    """The newest records that came in or were published, newest first: raw records, dead letters, events, anomalies.

    `number` counts all that passed since the console started to read; `trouble` says why there may be none.
    """

    shows_personal: bool
    may_show_personal: bool
    number: int
    rows: tuple[TailRow, ...]
    trouble: str | None


async def load(context: Context, query: TailQuery, asked: Asked) -> TailPage:
    """Return the newest rows.

    Raises:
        ForbiddenError: personal data is asked for by somebody who may not see it.

    """
    await permit(context, asked, personal=query.personal)
    found = await context.tail.newest(SHOWN)
    rows = found.rows[::-1]
    shown = rows if query.personal else tuple(map(without_personal, rows))
    return TailPage(query.personal, asked.who.sees_personal, found.number, shown, found.trouble)


async def permit(context: Context, asked: Asked, *, personal: bool) -> None:
    """Note a look at personal data, if it is one.

    Raises:
        ForbiddenError: whoever asks may not see it.

    """
    if personal:
        require_personal(asked)
        async with context.database.pool.acquire() as connection:
            await note(connection, asked.who.name, "console tail, personal", {"topics": list(KINDS)})


TAIL: Final = Page(
    "tail",
    "/tail",
    "Tail",
    "What comes in and what is published: the newest of it. A browser follows it at `/tail/stream`.",
    TailQuery,
    TailPage,
    load,
)
