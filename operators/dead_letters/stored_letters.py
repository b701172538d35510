"""The stored dead letters: looked up with how each stands, marked, and fetched with their bodies."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from operators.dead_letters.letters import DEAD, Body, Letter, LetterSelection, Place, place_of, state_of
from operators.shared.errors import OperatorError
from operators.shared.operator_log import note
from processor.storage.open_letters import count_open_letters
from runtime.postgres import Connection, Pool
from runtime.queries import load_queries
from schemas.records import AnyHeaders, RawRecord, coordinates, header_texts
from schemas.times import EARLIEST, LATEST, milliseconds, read_time

PAGE: Final = 1_000
"""Letters asked for at once, without their bodies."""

COUNTED: Final = 10_000
"""Letters that are looked at to count the open ones: some tenths of a second, and more than anybody decides about
singly."""

_Q: Final = load_queries("operators.dead_letters")
_unpack_headers: Final = msgspec.msgpack.Decoder(AnyHeaders).decode
_END: Final = datetime.max.replace(tzinfo=UTC)


class _Again(msgspec.Struct, frozen=True, gc=False):
    """What came of a root's re-readings: the last one that was not a dead letter, and where dead ones stand."""

    mended_at: datetime | None = None
    dead: tuple[tuple[int, int], ...] = ()


async def letters(pool: Pool, selection: LetterSelection) -> AsyncGenerator[Letter, None]:
    """Return the selected letters, newest first, one for each root.

    Raises:
        OperatorError: there is none of a given name.

    """
    if selection.names:
        found = {letter.root: letter for name in selection.names for letter in [await find(pool, name)]}
        for letter in found.values():
            if selection.holds(letter):
                yield letter
        return
    async with aclosing(judged_pages(pool, selection)) as all_:
        async for page in all_:
            for letter in page:
                yield letter


async def judged_pages(
    pool: Pool, selection: LetterSelection, most: int | None = None
) -> AsyncGenerator[list[Letter], None]:
    """Return the selected letters, their names aside, as `letters` does, a list for each page of stored ones.

    Pages may be empty. `most` stored letters are looked at, or a page more; None: all.
    """
    looked_at = 0
    # What an older version stored beside this one has its reason and courier in the headers alone.
    reasons, couriers = ([*each, ""] if each else [] for each in (selection.reasons, selection.couriers))
    async with aclosing(_pages(pool, "page_of_selected_letters", reasons, couriers, selection.since)) as all_:
        async for page in all_:
            async with pool.acquire() as connection:
                judged = await _judged(connection, [each for each in page if selection.holds(each)])
            yield judged
            looked_at += len(page)
            if most is not None and looked_at >= most:
                return


def pages(pool: Pool) -> AsyncGenerator[list[Letter], None]:
    """Return all stored letters, newest first, page by page; their state is not looked at."""
    return _pages(pool, "page_of_dead_letters")


async def _pages(pool: Pool, statement: str, *wanted: Any) -> AsyncGenerator[list[Letter], None]:
    before: tuple[Any, ...] = (_END, 0, 0, 0)
    while True:
        async with pool.acquire() as connection:
            current = await _incarnations(connection)
            rows = await connection.fetch(_Q[statement], *before, PAGE, *wanted)
        yield [_letter(row, current) for row in rows]
        if len(rows) < PAGE:
            return
        last = rows[-1]
        before = (last["recorded_at"], last["incarnation"], last["raw_partition"], last["cause_offset"])


async def count_open(pool: Pool) -> dict[tuple[str, str], int]:
    """Return how many letters are open, one for each root, by reason and courier; `""` where the record names none.

    The newest are looked at, at most `COUNTED`.
    """
    return await count_open_letters(pool, COUNTED)


async def find(pool: Pool, name: str) -> Letter:
    """Return the newest letter of the raw record at `P:O`, which may itself be a re-reading.

    Raises:
        OperatorError: there is none.

    """
    try:
        incarnation, partition, offset = place_of(name)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    async with pool.acquire() as connection:
        current = await _incarnations(connection)
        newest = current.get(partition, 0) if incarnation is None else incarnation
        logs = list(range(newest + 1)) if incarnation is None else [incarnation]
        rows = await connection.fetch(_Q["dead_letters_at"], logs, [partition], [offset])
        found = [_letter(row, current) for row in rows]
        root = max(found, key=lambda each: each.place).root if found else (newest, partition, offset)
        if root[0] == current.get(root[1], 0):
            again = (await _read_again(connection, [root])).get(root, _Again())
            partitions, offsets = [each for each, _ in again.dead], [each for _, each in again.dead]
            rows = await connection.fetch(_Q["dead_letters_at"], [root[0]], partitions, offsets)
            found += [_letter(row, current) for row in rows]
        found = [each for each in found if each.root == root]
        if not found:
            raise OperatorError(f"no dead letter came of {name}: `waybill dlq list` shows which did")
        (letter,) = await _judged(connection, [max(found, key=lambda each: each.recorded_at)])
    return letter


async def bodies(pool: Pool, wanted: Sequence[Letter]) -> list[Body]:
    """Return letters with their bodies. Those that retention deletes just now are missing."""
    places = [letter.place for letter in wanted]
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["bodies_of_dead_letters"], *_columns(places))
    found = {(row["incarnation"], row["raw_partition"], row["cause_offset"]): row for row in rows}
    return [Body(letter, _raw_record(letter, found[letter.place])) for letter in wanted if letter.place in found]


async def drop(pool: Pool, wanted: Sequence[Letter], operator: str, why: str | None, detail: Mapping[str, Any]) -> None:
    """Mark letters as dropped, and note it."""
    async with pool.acquire() as connection, connection.transaction():
        await decide(connection, [each.root for each in wanted], "dropped", [None] * len(wanted), operator, why)
        await note(connection, operator, "dlq drop", detail)


async def decide(
    connection: Connection,
    roots: Sequence[Place],
    decision: str,
    command_ids: Sequence[str | None],
    operator: str,
    why: str | None,
) -> None:
    """Remember what an operator did with the letters of these roots."""
    await connection.execute(
        _Q["decide_dead_letters"], *_columns(roots), decision, list(command_ids), operator, why, datetime.now(UTC)
    )


async def _judged(connection: Connection, found: Sequence[Letter]) -> list[Letter]:
    """Return letters with their state."""
    roots = [each.root for each in found]
    decided = {
        (row["incarnation"], row["raw_partition"], row["raw_offset"]): row
        for row in await connection.fetch(_Q["decisions_on_dead_letters"], *_columns(roots))
    }
    again = await _read_again(connection, [each.root for each in found if each.of_this_log])
    return [_with_state(each, decided.get(each.root), again.get(each.root, _Again()).mended_at) for each in found]


def _with_state(letter: Letter, row: Any, mended_at: datetime | None) -> Letter:
    if row is None:
        return msgspec.structs.replace(letter, state=state_of(letter, None, None, mended_at))
    return msgspec.structs.replace(
        letter,
        state=state_of(letter, row["decision"], row["outcome"], mended_at),
        decided_by=row["operator"],
        why=row["reason"],
        command_id=row["command_id"],
    )


async def _read_again(connection: Connection, roots: Sequence[Place]) -> dict[Place, _Again]:
    """Return what came of every re-reading of these roots, by whichever job. They are of the newest incarnations."""
    by_name = {f"{partition}:{offset}": (incarnation, partition, offset) for incarnation, partition, offset in roots}
    found: dict[Place, _Again] = {}
    for row in await connection.fetch(_Q["rereadings"], list(by_name)):
        root = by_name[row["root"]]
        known = found.get(root, _Again())
        if row["outcome"] == DEAD:
            found[root] = _Again(known.mended_at, (*known.dead, (row["raw_partition"], row["raw_offset"])))
        else:
            newest = max(filter(None, (known.mended_at, row["applied_at"])))
            found[root] = _Again(newest, known.dead)
    return found


async def _incarnations(connection: Connection) -> dict[int, int]:
    return {row["raw_partition"]: row["incarnation"] for row in await connection.fetch(_Q["incarnations"])}


def _letter(row: Any, current: Mapping[int, int]) -> Letter:
    headers = header_texts(_unpack_headers(row["headers"]) if row["headers"] else [])
    place = row["incarnation"], row["raw_partition"], row["cause_offset"]
    received = read_time(headers.get("received-at"), UTC)
    if received and not EARLIEST <= received[0] < LATEST:
        received = None
    return Letter(
        root=_root(place, headers),
        place=place,
        reason=headers.get("dlq-reason", ""),
        detail=headers.get("dlq-detail", ""),
        courier=headers.get("courier"),
        source=headers.get("root-source", headers.get("source")),
        key=None if row["key"] is None else str(row["key"], "utf-8", "replace"),
        size=row["size"],
        received_at=received[0] if received else None,
        recorded_at=row["recorded_at"],
        of_this_log=row["incarnation"] == current.get(row["raw_partition"], 0),
    )


def _root(place: Place, headers: Mapping[str, str]) -> Place:
    if "replay-of" not in headers:
        return place
    try:
        return place[0], *coordinates(headers["replay-of"])
    except ValueError:
        return place


def _raw_record(letter: Letter, row: Any) -> RawRecord:
    """Return the record as it came, before it was marked as a dead letter."""
    headers = [(name, value) for name, value in _unpack_headers(row["headers"]) if not name.startswith("dlq-")]
    _, partition, offset = letter.root
    stamped = letter.received_at or letter.recorded_at
    return RawRecord(
        partition,
        offset,
        row["key"],
        row["value"],
        tuple(headers),
        timestamp_ms=max(0, milliseconds(stamped)),
    )


def _columns(places: Iterable[Place]) -> tuple[list[int], list[int], list[int]]:
    listed = list(places)
    return [each[0] for each in listed], [each[1] for each in listed], [each[2] for each in listed]
