"""What a door's spool holds, and another try for what a broker refused. Works beside the door, running or not."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from ingest.errors import SpoolError
from ingest.spool_db import read_headers, size_of, transaction, visited
from operators.shared.errors import OperatorError
from runtime.appending import open_appender
from runtime.errors import UnreachableError
from runtime.settings import Settings
from schemas.records import NewRecord, header_texts

_WAITING: Final = """
    select count(*), coalesce(sum(length(key) + length(value) + length(headers)), 0), min(timestamp_ms) from spooled
"""
_REFUSED: Final = "select seq, key, headers, timestamp_ms, reason, length(value) from refused order by seq"

LOOK_SECONDS: Final = 0.5
"""How often is looked whether the door has drained its spool: looking counts its rows."""


class Waiting(msgspec.Struct, frozen=True):
    """What waits for Kafka: how many records, their bytes, when the oldest was received."""

    records: int
    bytes: int
    oldest_received_at: datetime | None


class RefusedRecord(msgspec.Struct, frozen=True):
    """A record that a broker refused, and why."""

    seq: int
    key: str
    courier: str | None
    webhook_id: str | None
    item: str | None
    received_at: datetime
    bytes: int
    reason: str


class Spool(msgspec.Struct, frozen=True):
    """What a spool holds."""

    waiting: Waiting
    refused: tuple[RefusedRecord, ...]


class SpoolSelection(msgspec.Struct, frozen=True):
    """Which of the refused are meant. What is empty narrows nothing."""

    seqs: tuple[int, ...] = ()
    couriers: tuple[str, ...] = ()
    since: datetime | None = None
    limit: int | None = None


class Retried(msgspec.Struct, frozen=True):
    """What came of one more try: where the record stands in the raw topic now (`<partition>:<offset>`), or why not."""

    seq: int
    at: str | None
    failure: str | None


def select(refused: Iterable[RefusedRecord], selection: SpoolSelection) -> tuple[RefusedRecord, ...]:
    """Choose those that are meant, oldest first.

    Raises:
        OperatorError: one that is named is not there.

    """
    found = {each.seq: each for each in refused}
    if missing := [str(seq) for seq in selection.seqs if seq not in found]:
        raise OperatorError(f"not among the refused: {', '.join(missing)}; `waybill spool list` shows them")
    chosen = [
        each
        for each in found.values()
        if (not selection.seqs or each.seq in selection.seqs)
        and (not selection.couriers or each.courier in selection.couriers)
        and (selection.since is None or each.received_at >= selection.since)
    ]
    return tuple(chosen[: selection.limit])


def look(directory: Path) -> Spool:
    """Look at a directory's spool. Without a file nothing is in it.

    Raises:
        SetupError: the file is damaged, of another version of Waybill, or may not be read.

    """
    with _visiting(directory, read_only=True) as db:
        if db is None:
            return Spool(Waiting(0, 0, None), ())
        return Spool(_waiting(db), tuple(_refused(db)))


async def until_drained(directory: Path, seconds: float) -> Waiting:
    """Wait until nothing waits for Kafka, at most so long, and return what waits then. The door does the work.

    Raises:
        SetupError: as `look` does.

    """
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        with _visiting(directory, read_only=True) as db:
            waiting = Waiting(0, 0, None) if db is None else _waiting(db)
        left = deadline - asyncio.get_running_loop().time()
        if not waiting.records or left <= 0:
            return waiting
        await asyncio.sleep(min(LOOK_SECONDS, left))


def drop(directory: Path, seqs: Iterable[int]) -> int:
    """Delete refused records. Return how many there were.

    Raises:
        SetupError: as `look` does.
        OperatorError: the disk is full or broken.

    """
    with _visiting(directory) as db:
        if db is None:
            return 0
        with transaction(db):
            return sum(_delete(db, seq) for seq in seqs)


async def retry(settings: Settings, directory: Path, seqs: Iterable[int]) -> AsyncIterator[Retried]:
    """Append refused records to the raw topic one by one, in order. What Kafka takes is deleted here.

    One that is sent and cannot be deleted, or is cut off in between, is sent again next time: the processor finds out.

    Raises:
        SetupError: as `look` does; Kafka cannot be reached, or the raw topic is missing.
        OperatorError: the disk is full or broken.

    """
    with _visiting(directory) as db:
        if db is None:
            return
        for seq in sorted(seqs):
            record = _record(db, seq)
            if record is None:  # somebody else was faster
                continue
            # A producer of its own for each: one that was refused is of no more use.
            async with open_appender(settings) as appender:
                try:
                    ((partition, offset),) = await appender.append([record])
                except UnreachableError as error:
                    yield Retried(seq, None, str(error))
                    continue
            with transaction(db):
                _delete(db, seq)
            yield Retried(seq, f"{partition}:{offset}", None)


@contextmanager
def _visiting(directory: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection | None]:
    db = visited(directory, read_only=read_only)
    if db is None:
        yield None
        return
    with closing(db):
        try:
            yield db
        except (sqlite3.Error, SpoolError) as error:
            raise OperatorError(f"the spool in {directory}: {error}") from error


def _waiting(db: sqlite3.Connection) -> Waiting:
    count, size, oldest = db.execute(_WAITING).fetchone()
    return Waiting(count, size, None if oldest is None else _moment(oldest))


def _refused(db: sqlite3.Connection) -> Iterator[RefusedRecord]:
    for seq, key, packed, timestamp_ms, reason, length in db.execute(_REFUSED):
        headers = header_texts(read_headers(packed))
        yield RefusedRecord(
            seq,
            str(key, "utf-8", "replace"),
            headers.get("courier"),
            headers.get("webhook-id"),
            headers.get("item"),
            _moment(timestamp_ms),
            length + size_of(key, b"", packed),
            reason,
        )


def _record(db: sqlite3.Connection, seq: int) -> NewRecord | None:
    row = db.execute("select key, value, headers, timestamp_ms from refused where seq = ?", (seq,)).fetchone()
    return None if row is None else NewRecord(row[0], row[1], read_headers(row[2]), row[3])


def _delete(db: sqlite3.Connection, seq: int) -> int:
    return db.execute("delete from refused where seq = ?", (seq,)).rowcount


def _moment(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
