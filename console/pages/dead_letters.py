"""`/dead-letters`: what came to nothing, in groups and row by row; and one of them."""

from typing import Final

import msgspec

from console.page import ROWS, Asked, Context, Page
from console.pages.anomalies import read_since
from console.pages.shipment import require_personal
from operators.dead_letters.letters import Body, LetterSelection
from operators.dead_letters.newest import NewestLetters, newest_letters
from operators.dead_letters.shown import ShownLetter, Today, shown, today
from operators.dead_letters.stored_letters import bodies, find
from operators.shared.errors import OperatorError
from operators.shared.operator_log import note
from operators.shared.rereading import reread
from runtime.settings import Settings
from schemas.vocabulary import DeadLetterReason

MAX_BODY_CHARS: Final = 100_000
"""Of a body that is shown: some screens. `waybill dlq show --show-personal` prints all of it."""


class DeadLettersQuery(msgspec.Struct, frozen=True):
    """Which dead letters: the open ones, or `all`. `start` is the number of the first row."""

    reason: tuple[DeadLetterReason, ...] = ()
    courier: tuple[str, ...] = ()
    since: str | None = None
    all: bool = False
    start: int = 0


class DeadLetterList(msgspec.Struct, frozen=True):
    """The newest dead letters. `start` begins the next page."""

    query: DeadLettersQuery
    newest: NewestLetters
    start: int | None


class DeadLetterQuery(msgspec.Struct, frozen=True):
    """`personal` shows the body to those who may see it, and notes the look."""

    personal: bool = False


class DeadLetterPage(msgspec.Struct, frozen=True):
    """A dead letter, the headers of its record as it came, and what today's code reads in it.

    `body` is null unless it was asked for, or where there is none; it is cut behind many characters.
    """

    letter: ShownLetter
    headers: dict[str, str | None]
    today: Today
    has_body: bool
    body: str | None
    may_show_personal: bool


async def load_list(context: Context, query: DeadLettersQuery, _asked: Asked) -> DeadLetterList:
    """Return a page of dead letters."""
    selection = LetterSelection((), tuple(query.reason), query.courier, read_since(query.since))
    start = max(0, query.start)
    found = await newest_letters(context.database.pool, selection, start, ROWS, all_states=query.all)
    return DeadLetterList(query, found, start + ROWS if found.rows > start + ROWS else None)


async def load_one(context: Context, query: DeadLetterQuery, asked: Asked) -> DeadLetterPage:
    """Return a dead letter.

    Raises:
        OperatorError: there is none of this name.
        ForbiddenError: its body is asked for by somebody who may not see it.

    """
    if query.personal:
        require_personal(asked)
    pool = context.database.pool
    letter = await find(pool, asked.name)
    body = next(iter(await bodies(pool, [letter])), None)
    if body is None:
        raise OperatorError(f"the dead letter {letter.at} is not stored any more")
    if query.personal:
        async with pool.acquire() as connection:
            await note(connection, asked.who.name, "console dead letter, personal", {"letter": letter.at})
    return page_of(body, context.settings, show_body=query.personal, sees_personal=asked.who.sees_personal)


def page_of(found: Body, settings: Settings, *, show_body: bool, sees_personal: bool) -> DeadLetterPage:
    """Return a dead letter as it is shown."""
    headers = {
        name: None if value is None else str(value, "utf-8", "replace")
        for name, value in found.record.headers
        if not name.startswith("dlq-")
    }
    held = found.record.value
    body = None
    if show_body and held is not None:
        body = str(held[: 4 * MAX_BODY_CHARS], "utf-8", "replace")[:MAX_BODY_CHARS]
    read = today(reread(found.record, "", settings.assumed_zone, partitions=1))
    return DeadLetterPage(shown(found.letter), headers, read, held is not None, body, sees_personal)


DEAD_LETTERS = Page(
    "dead-letters",
    "/dead-letters",
    "Dead letters",
    "What came to nothing: groups by reason and courier, then the newest ones.",
    DeadLettersQuery,
    DeadLetterList,
    load_list,
)

DEAD_LETTER = Page(
    "dead-letter",
    "/dead-letters/{name}",
    "Dead letter",
    "One dead letter, named P:O by its raw record: headers, size, and what today's code reads in it.",
    DeadLetterQuery,
    DeadLetterPage,
    load_one,
)
