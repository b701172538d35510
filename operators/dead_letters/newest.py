"""The newest dead letters, in groups and row by row: what fits on a page."""

from contextlib import aclosing
from typing import Final

import msgspec

from operators.dead_letters.letters import LetterSelection
from operators.dead_letters.shown import LetterGroup, ShownLetter, grouped, shown
from operators.dead_letters.stored_letters import PAGE, judged_pages
from runtime.postgres import Pool

MOST_LOOKED_AT: Final = 2_000
"""Stored dead letters that are looked at for a page: a fraction of a second. `waybill dlq list` looks at all."""


class NewestLetters(msgspec.Struct, frozen=True):
    """The newest dead letters of a selection: groups of those that need something, and some rows.

    `rows` are how many there would be in all, `there_are_more` that `MOST_LOOKED_AT` were looked at.
    """

    groups: tuple[LetterGroup, ...]
    letters: tuple[ShownLetter, ...]
    rows: int
    there_are_more: bool


async def newest_letters(
    pool: Pool, selection: LetterSelection, start: int, limit: int, *, all_states: bool
) -> NewestLetters:
    """Return the newest letters of a selection, from the row of number `start` on.

    Unless of `all_states`, those that are mended or dropped are no rows.
    """
    async with aclosing(judged_pages(pool, selection, MOST_LOOKED_AT)) as pages:
        lists = [page async for page in pages]
    found = [letter for page in lists for letter in page]
    rows = [each for each in found if all_states or each.needs_something]
    return NewestLetters(
        grouped(found),
        tuple(map(shown, rows[start : start + limit])),
        len(rows),
        len(lists) * PAGE >= MOST_LOOKED_AT,
    )
