"""Whether the dead letters stored are those on their topic."""

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from operators.audit.facts import UNREADABLE, Difference
from operators.audit.partition_reader import PATIENCE_SECONDS, POLL_SECONDS, PartitionReader
from processor.core.cursor import Cursor
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.records import coordinates, header_texts
from schemas.times import format_time, read_time
from schemas.topics import Topic

_Q: Final = load_queries("operators.audit")

_Letter = tuple[int, str]
"""A dead letter: its raw record's offset, and when it was recorded, which tells those of two logs apart."""


async def compare_dead_letters(
    tail: PartitionReader, pool: Pool, partition: int, cursor: Cursor, emitted: int
) -> tuple[list[Difference], datetime]:
    """Compare a partition's stored dead letters with those on their topic, which keeps them for a time.

    `emitted` is the offset before which everything was published when `tail` begins to be read. Return what differs,
    and since when the topic has all.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    await tail.rewind()
    whole, there = await tail.start() == 0, set[_Letter]()
    await _read_letters(tail, there)
    seen, oldest = set(there), min((at for _, at in there), default="")
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["audit_dead_letters"], partition)
    stored = {(row["cause_offset"], format_time(row["recorded_at"])): row["incarnation"] for row in rows}
    due = {
        letter
        for letter, incarnation in stored.items()
        if incarnation == cursor.incarnation and letter[0] < emitted and (whole or (there and letter[1] >= oldest))
    }
    while due - there and monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        await _read_letters(tail, there)
    missing = due - there
    extra = set[_Letter]() if cursor.recovery else seen - stored.keys()
    where = Topic.DEAD_LETTERS
    found = [Difference(where, "record", f"of {partition}:{offset}", None, partition) for offset, _ in missing]
    found += [Difference(where, "record", None, f"of {partition}:{offset}", partition) for offset, _ in extra]
    if whole:
        return found, datetime.min.replace(tzinfo=UTC)
    since = read_time(oldest, UTC)
    return found, since[0] if since else datetime.max.replace(tzinfo=UTC)


async def _read_letters(tail: PartitionReader, into: set[_Letter]) -> None:
    async for records in tail.up_to(await tail.end()):
        for record in records:
            headers = header_texts(record.headers)
            into.add((_offset(headers.get("dlq-offset", "")), headers.get("dlq-at", "")))


def _offset(text: str) -> int:
    """Read the offset that a dead letter names: in a topic that others write it may be anything."""
    try:
        return coordinates(f"0:{text}")[1]
    except ValueError:
        return UNREADABLE
