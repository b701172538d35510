"""The spool's file: records in the order they came, in SQLite, until Kafka has them.

Each partition's records are taken out in their order, whatever the other partitions do. An index leads to them; its
name holds the number of partitions it was made for.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec

from ingest.errors import SpoolError
from ingest.spool_db import FILE, locked, opened, read_headers, size_of, transaction
from ingest.spool_lines import Line, WebhookRows, join
from runtime.errors import SetupError
from schemas.records import NewRecord

VACUUM_PAGES: Final = 16 * 1024
"""How many free pages (64 MiB) go back to the file system at once: some ten milliseconds."""

_INSERT: Final = "insert into spooled (key, value, headers, timestamp_ms, hash) values "
_FIRST: Final = """
    select seq, key, value, headers, timestamp_ms from spooled where {where} and seq > ?2 order by seq limit ?3
"""
_DELETE: Final = "delete from spooled where {where} and seq <= ?2"

# Parts of statements, for one number of partitions: where a partition's rows are. Rows of an older version are found by
# a look at each of their keys.
_NEW: Final = "hash % {partitions} = ?1"
_OLD: Final = "hash % {partitions} is null and hash_of(key) % {partitions} = ?1"

_INDEX: Final = "spooled_of_"
_INDICES: Final = f"select name from sqlite_schema where type = 'index' and name like '{_INDEX}%'"  # noqa: S608
_PLACES: Final = """
    select coalesce(hash % {partitions}, hash_of(key) % {partitions}), hash is null, count(*), min(seq)
    from spooled group by 1, 2
"""
_SET_ASIDE: Final = """
    insert into refused (seq, key, value, headers, timestamp_ms, reason)
    select seq, key, value, headers, timestamp_ms, ? from spooled where seq = ?
"""
_BYTES: Final = "select coalesce(sum(length(key) + length(value) + length(headers)), 0) from "
_REFUSED: Final = "select count(*) from refused"

Found = tuple[int, bytes, bytes, bytes, int]
"""Seq, key, value, headers, timestamp in milliseconds."""


class Spooled(msgspec.Struct, frozen=True):
    """A record of the spool. `size` is what counts of it against the spool's limit, in bytes."""

    seq: int
    record: NewRecord
    size: int


class SpoolFile:
    """One directory's spool. Belongs to one thread; its figures may be read from any."""

    def __init__(self, directory: Path) -> None:
        """Take the directory, made if it is missing, for this process alone, and open its file.

        Raises:
            SetupError: another process has it, it cannot be written, or the file is damaged.

        """
        self.directory = directory
        self.partitions = 1
        """By how many partitions the lines are kept. One line holds all while Kafka has not told."""
        self.lines: dict[int, Line] = {}
        """What waits for Kafka, by partition; none are empty."""
        self.records = 0
        """How many wait for Kafka."""
        self.refused = 0
        """How many were set aside."""
        self._bytes = self._refused_bytes = 0
        self._done: dict[int, int] = {}
        """By partition: up to this seq all is in Kafka or set aside, though deleting it failed."""
        self._seen = 0
        """Another process has changed nothing since."""
        self._lock = locked(directory)
        try:
            self._db = opened(directory / FILE)
            for (name,) in self._db.execute(_INDICES):
                self.partitions = int(name.removeprefix(_INDEX))
            self._count()
        except (sqlite3.Error, SpoolError, OSError) as error:
            os.close(self._lock)
            raise SetupError(f"the spool in {directory} cannot be opened: {error}") from error
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def bytes(self) -> int:
        """What those that wait and the refused ones take."""
        return self._bytes + self._refused_bytes

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest that waits was received, in milliseconds since the epoch."""
        return min((line.oldest_ms for line in list(self.lines.values())), default=None)

    def append(self, webhooks: Iterable[Iterable[NewRecord]], max_bytes: int) -> list[bool]:
        """Append each webhook's records, all or none, and say of each whether there was room. All is synced to disk.

        The spool, with what was refused, never takes more than `max_bytes`.

        Raises:
            SpoolError: the disk is full or broken: nothing is appended.

        """
        kept: list[bool] = []
        lines: dict[int, Line] = {}
        taken = 0
        with transaction(self._db):
            for records in webhooks:
                self._db.execute("savepoint webhook")
                rows = WebhookRows(records, self.partitions, max_bytes - self.bytes - taken)
                for batch in rows:
                    values = ",".join(["(?, ?, ?, ?, ?)"] * len(batch))
                    self._db.execute(_INSERT + values, list(chain.from_iterable(batch)))
                kept.append(rows.fits)
                if not rows.fits:
                    self._db.execute("rollback to webhook")
                self._db.execute("release webhook")
                if rows.fits:
                    taken += rows.bytes
                    join(lines, rows.lines)
        self._bytes += taken
        self.records += sum(line.records for line in lines.values())
        join(self.lines, lines)
        return kept

    def place(self, partitions: int) -> None:
        """Keep the lines by so many partitions from now on.

        Raises:
            SpoolError: the file cannot be read. They are kept as before.

        """
        with suppress(SpoolError), transaction(self._db):  # what cannot be deleted comes again
            self._delete()
        self._done.clear()
        before, self.partitions = self.partitions, partitions
        try:
            self._count()
        except SpoolError:
            self.partitions = before
            raise
        if partitions > 1:
            self._index()

    def first(self, partition: int, records: int, size: int) -> list[Spooled]:
        """Return the first that wait for a partition: at most so many, and no more bytes than `size` but for one.

        Raises:
            SpoolError: the file cannot be read.

        """
        found: list[Spooled] = []
        try:
            for seq, key, value, headers, timestamp_ms in islice(self._rows(partition, records), records):
                record = NewRecord(key, value, read_headers(headers), timestamp_ms)
                spooled = Spooled(seq, record, size_of(key, value, headers))
                size -= spooled.size
                if found and size < 0:
                    break
                found.append(spooled)
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error
        return found

    def discard(self, partition: int, batch: Sequence[Spooled]) -> None:
        """Delete the first that wait for a partition, `batch` as `first` gave it: Kafka has them.

        Raises:
            SpoolError: the disk is full or broken. They are deleted with the next ones, or come again after a restart.

        """
        self._pass(partition, batch)
        with transaction(self._db):
            self._delete_of(partition)
        self._done.pop(partition, None)

    def set_aside(self, partition: int, spooled: Spooled, reason: str) -> None:
        """Move the first that waits for a partition to the refused ones.

        Raises:
            SpoolError: the disk is full or broken. It waits still.

        """
        with transaction(self._db):
            self._db.execute(_SET_ASIDE, (reason, spooled.seq))
            self._db.execute("delete from spooled where seq = ?", (spooled.seq,))
        self.refused += 1
        self._refused_bytes += spooled.size
        self._pass(partition, [spooled])

    def look(self) -> None:
        """Count the refused ones anew if another process, an operator's command, has changed them.

        Raises:
            SpoolError: the file cannot be read.

        """
        try:
            version = self._version()
            if version != self._seen:
                self._count_refused()
                self._seen = version
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error

    def tidy(self) -> bool:
        """Leave nothing of what is gone on the disk, and give some of its room back. Say whether there is more.

        On a full disk deleting fails, too, for want of room. A file of which nothing is needed is then made anew.

        Raises:
            SpoolError: the disk is full or broken. Tidy again later.

        """
        try:
            return self._tidy()
        except SpoolError:
            if self.records or self.refused:
                raise
            self._begin_anew()
            return False

    def _tidy(self) -> bool:
        if self._done:
            with transaction(self._db):
                self._delete()
            self._done.clear()
        try:
            self._db.executescript(f"pragma incremental_vacuum({VACUUM_PAGES})")  # execute would free one page
            self._db.execute("pragma wal_checkpoint(truncate)").fetchall()
            free: int = self._db.execute("pragma freelist_count").fetchone()[0]
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error
        return free > 0

    def _begin_anew(self) -> None:
        try:
            self._db.close()
            for name in (f"{FILE}-wal", f"{FILE}-shm", FILE):  # a log must never outlive its file
                (self.directory / name).unlink(missing_ok=True)
            self._db = opened(self.directory / FILE)
            self._seen = self._version()
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(str(error)) from error
        self._done.clear()
        self._bytes = 0
        if self.partitions > 1:
            self._index()

    def close(self) -> None:
        """Close the file and let the directory go."""
        self._db.close()
        os.close(self._lock)

    def _rows(self, partition: int, limit: int) -> Iterator[Found]:
        """Find a partition's rows. Those that an older version left are older than all others."""
        line = self.lines.get(partition)
        wheres = () if line is None else (_OLD, _NEW) if line.old else (_NEW,)
        for where in wheres:
            sql = _FIRST.format(where=where.format(partitions=self.partitions))
            yield from self._db.execute(sql, (partition, self._done.get(partition, 0), limit))

    def _delete(self) -> None:
        for partition in self._done:
            self._delete_of(partition)

    def _delete_of(self, partition: int) -> None:
        for where in (_NEW, _OLD):
            sql = _DELETE.format(where=where.format(partitions=self.partitions))
            self._db.execute(sql, (partition, self._done[partition]))

    def _pass(self, partition: int, batch: Sequence[Spooled]) -> None:
        """Count a partition's first ones out."""
        line = self.lines[partition]
        self._done[partition] = batch[-1].seq
        self._bytes -= sum(spooled.size for spooled in batch)
        self.records -= len(batch)
        line.records -= len(batch)
        line.old = max(0, line.old - len(batch))
        if not line.records:
            del self.lines[partition]
        elif following := self.first(partition, 1, 0):
            line.oldest_ms = following[0].record.timestamp_ms

    def _count(self) -> None:
        try:
            self._bytes = self._db.execute(f"{_BYTES} spooled").fetchone()[0]
            lines: dict[int, Line] = {}
            places = self._db.execute(_PLACES.format(partitions=self.partitions)).fetchall()
            for partition, is_old, count, seq in sorted(places, key=lambda place: place[3]):
                oldest = self._db.execute("select timestamp_ms from spooled where seq = ?", (seq,)).fetchone()[0]
                join(lines, {partition: Line(count, oldest, count if is_old else 0)})
            self._count_refused()
            self._seen = self._version()
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error
        self.lines = lines
        self.records = sum(line.records for line in lines.values())

    def _count_refused(self) -> None:
        self.refused = self._db.execute(_REFUSED).fetchone()[0]
        self._refused_bytes = self._db.execute(f"{_BYTES} refused").fetchone()[0]

    def _version(self) -> int:
        version: int = self._db.execute("pragma data_version").fetchone()[0]
        return version

    def _index(self) -> None:
        """Make the index for the number of partitions. On a full disk it must go without: it is only faster."""
        name = f"{_INDEX}{self.partitions}"
        try:
            found = [row[0] for row in self._db.execute(_INDICES)]
            if found == [name]:
                return
            with transaction(self._db):
                for each in found:
                    self._db.execute(f"drop index {each}")
                self._db.execute(f"create index {name} on spooled (hash % {self.partitions})")
        except (sqlite3.Error, SpoolError):
            return
