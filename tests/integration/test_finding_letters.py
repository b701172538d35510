"""Dead letters are found by reason and courier, and counted while they are open, on the database alone."""

from collections import Counter
from datetime import timedelta
from typing import Final

from operators.dead_letters.letters import Letter, LetterSelection, LetterState
from operators.dead_letters.stored_letters import count_open, decide, drop, letters
from processor.core.reading import Unreadable
from runtime.postgres import Pool
from schemas.records import RawRecord, reread_headers
from schemas.vocabulary import DeadLetterReason
from tests.integration.system import START, Raw, dash, raw_records
from tests.integration.test_stored_rows import Rows, rows  # noqa: F401 - a fixture

BROKEN: Final = b'{"deliveryID": "DE-'
SHAPELESS: Final = b"[1]"
NAMELESS: Final = b"{}"
JOB: Final = "job"

SELECTIONS: Final = (
    *(LetterSelection(reasons=(reason,)) for reason in DeadLetterReason),
    *(LetterSelection(couriers=(courier,)) for courier in ("dash", "kiriminaja")),
    LetterSelection(reasons=("invalid_json", "no_shipment"), couriers=("dash",)),
    LetterSelection(reasons=("unknown_shape",), couriers=("dash", "kiriminaja"), since=START),
)


def record(body: bytes, courier: str = "dash", **headers: str) -> Raw:
    (found,) = raw_records("dash", body, START)
    given = {"courier": courier, **{name.replace("_", "-"): value for name, value in headers.items()}}
    kept = [(name, value) for name, value in found.headers if name not in given]
    return Raw(found.key, found.value, [*((name, value.encode()) for name, value in given.items()), *kept], 0)


def again(place: int, root: Raw, body: bytes) -> Raw:
    """Return a record by which the one at a place of the log is read again, with a body as another decoder sees it."""
    read = RawRecord(0, place, root.key, root.value, tuple(root.headers), root.timestamp_ms)
    return Raw(root.key, body, reread_headers(read, f"{JOB}/0:{place}"), 0)


ROOTS: Final = (
    record(BROKEN),
    record(SHAPELESS),
    record(NAMELESS),
    record(BROKEN),
    record(SHAPELESS),
    record(NAMELESS),
    record(BROKEN, "kiriminaja"),
    record(BROKEN, "nobody's"),
    record(BROKEN, "x" * 5_000),
    record(SHAPELESS, replay_of="odd"),
)


async def all_letters(pool: Pool, selection: LetterSelection = LetterSelection()) -> list[Letter]:  # noqa: B008
    return [letter async for letter in letters(pool, selection)]


async def decided_all_ways(rows: Rows) -> None:  # noqa: F811
    """Store roots that nobody has decided about, that came back otherwise, were mended, dropped, redriven in vain."""
    readings = await rows.apply(ROOTS)
    assert all(isinstance(each, Unreadable) for each in readings)
    await rows.query(
        "insert into replay_jobs (job, mode, selection, status, operator, created_at, updated_at) "
        "values ($1, 'reprocess', '{}', 'done', 'ani', now(), now())",
        JOB,
    )
    await rows.apply([again(0, ROOTS[0], SHAPELESS), again(1, ROOTS[1], dash("DE-1", "PREPARING", 1))])
    stored = {letter.root[2]: letter for letter in await all_letters(rows.pool)}
    await drop(rows.pool, [stored[2]], "ani", None, {})
    async with rows.pool.acquire() as connection:
        await decide(connection, [stored[each].root for each in (3, 4)], "redriven", ["x/0:3", "x/0:4"], "ani", None)
        await connection.execute(
            "insert into applied_commands values ('x/0:3', 0, 99, 'dead_letter', now() - interval '1 hour')"
        )


async def test_a_list_of_some_and_a_count_tell_the_same_as_all(rows: Rows) -> None:  # noqa: F811
    await decided_all_ways(rows)
    found = await all_letters(rows.pool)
    assert [letter.root[2] for letter in found] == [0, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    states = {letter.root[2]: letter.state for letter in found}
    assert (states[0], states[3], states[9]) == (LetterState.OPEN,) * 3
    assert (states[1], states[2], states[4]) == (LetterState.MENDED, LetterState.DROPPED, LetterState.WAITING)
    assert [letter.reason for letter in found if letter.root[2] == 0] == ["unknown_shape"], "as it came back"
    known = Counter((each.reason, each.courier) for each in found if each.state is LetterState.OPEN)
    odd = [known.pop(("unknown_shape", courier)) for courier in ("nobody's", "x" * 5_000)]
    assert odd == [1, 1]
    assert await count_open(rows.pool) == {**known, ("unknown_shape", ""): 2}
    for selection in SELECTIONS:
        assert await all_letters(rows.pool, selection) == [each for each in found if selection.holds(each)]


async def test_what_a_version_before_stores_meanwhile_is_found_too(rows: Rows) -> None:  # noqa: F811
    await rows.apply(ROOTS)
    await rows.query("update outputs set reason = '', courier = '' where cause_offset % 2 = 0")
    found = await all_letters(rows.pool)
    assert len(found) == len(ROOTS)
    for selection in SELECTIONS:
        assert await all_letters(rows.pool, selection) == [each for each in found if selection.holds(each)]
    late = LetterSelection(since=found[0].recorded_at + timedelta(microseconds=1))
    assert await all_letters(rows.pool, late) == []
