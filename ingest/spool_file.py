"""The spool's file: records in the order they came, in SQLite, until Kafka has them.

Records that Kafka refuses for good lie beside them in the table `refused`. To have one tried again, stop the ingest,
copy its row back into `spooled` with a new `seq`, and delete it from `refused`.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec

from ingest.errors import SpoolError
from ingest.records import Record
from runtime.errors import SetupError

FILE: Final = "spool.sqlite3"
LOCK: Final = "lock"

LAYOUT: Final = 1
"""The tables' version, kept in the file."""

BUSY_SECONDS: Final = 1.0
"""How long a person's look into the file may hold us up; then the couriers get their 503."""

JOURNAL_BYTES: Final = 16 * 1024 * 1024
"""How large the write-ahead log may stay once its content is in the file itself."""

VACUUM_PAGES: Final = 16 * 1024
"""How many free pages (64 MiB) go back to the file system at once: some ten milliseconds."""

ROWS_A_STATEMENT: Final = 50
"""Python's lock is fought for once a statement: beside a busy event loop several rows in one are 3 times faster."""

_PRAGMAS: Final = (
    "auto_vacuum = incremental",
    "journal_mode = wal",
    "synchronous = full",
    "fullfsync = on",  # macOS: to the platter, not only to the drive
    "secure_delete = on",
    "temp_store = memory",
    f"journal_size_limit = {JOURNAL_BYTES}",
)
_TABLES: Final = """
    create table spooled (
        seq integer primary key autoincrement,
        key blob not null,
        value blob not null,
        headers blob not null,
        timestamp_ms integer not null
    ) strict;
    create table refused (
        seq integer primary key,
        key blob not null,
        value blob not null,
        headers blob not null,
        timestamp_ms integer not null,
        reason text not null
    ) strict;
"""
_INSERT: Final = "insert into spooled (key, value, headers, timestamp_ms) values "
_FIRST: Final = "select seq, key, value, headers, timestamp_ms from spooled where seq > ? order by seq limit ?"
_OLDEST: Final = "select timestamp_ms from spooled where seq > ? order by seq limit 1"
_DELETE: Final = "delete from spooled where seq <= ?"
_SET_ASIDE: Final = """
    insert into refused (seq, key, value, headers, timestamp_ms, reason)
    select seq, key, value, headers, timestamp_ms, ? from spooled where seq = ?
"""
_COUNTS: Final = """
    select (select count(*) from spooled), (select count(*) from refused), coalesce(sum(bytes), 0) from (
        select length(key) + length(value) + length(headers) as bytes from spooled
        union all select length(key) + length(value) + length(headers) from refused
    )
"""

_write: Final = msgspec.msgpack.Encoder().encode
_read: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode

Row = tuple[bytes, bytes, bytes, int]


class Spooled(msgspec.Struct, frozen=True):
    """A record of the spool. `size` is what counts of it against the spool's limit, in bytes."""

    seq: int
    record: Record
    size: int


class SpoolFile:
    """One directory's spool. Belongs to one thread; its figures may be read from any."""

    def __init__(self, directory: Path) -> None:
        """Take the directory, made if it is missing, for this process alone, and open its file.

        Raises:
            SetupError: another process has it, it cannot be written, or the file is damaged.

        """
        self.directory = directory
        self.records = 0
        """How many wait for Kafka."""
        self.bytes = 0
        """What they and the refused ones take."""
        self.oldest_ms: int | None = None
        """When the first that waits was received, in milliseconds since the epoch."""
        self.refused = 0
        """How many were set aside."""
        self._done = 0
        """Up to this seq all is in Kafka or set aside, even where deleting it failed."""
        self._lock = _locked(directory)
        try:
            self._db = _opened(directory / FILE)
            self._count()
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise SetupError(f"the spool in {directory} cannot be opened: {error}") from error
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, webhooks: Iterable[Iterable[Record]]) -> None:
        """Append the records of all webhooks, synced to disk, or none.

        Raises:
            SpoolError: the disk is full or broken.

        """
        rows = _Rows(record for records in webhooks for record in records)
        with _transaction(self._db):
            for batch in rows:
                values = ",".join(["(?, ?, ?, ?)"] * len(batch))
                self._db.execute(_INSERT + values, list(chain.from_iterable(batch)))
        if self.oldest_ms is None:
            self.oldest_ms = rows.first_ms
        self.records += rows.count
        self.bytes += rows.bytes

    def first(self, records: int, size: int) -> list[Spooled]:
        """Return the first that wait: at most so many, and no more bytes than `size` but for the first one.

        Raises:
            SpoolError: the file cannot be read.

        """
        found: list[Spooled] = []
        try:
            for seq, key, value, headers, timestamp_ms in self._db.execute(_FIRST, (self._done, records)):
                row = (key, value, headers, timestamp_ms)
                spooled = Spooled(seq, Record(key, value, _read(headers), timestamp_ms), _size(row))
                size -= spooled.size
                if found and size < 0:
                    break
                found.append(spooled)
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error
        return found

    def discard(self, batch: Sequence[Spooled]) -> None:
        """Delete the first that wait, `batch` as `first` gave it: Kafka has them. They do not come again.

        Raises:
            SpoolError: the disk is full or broken. They are deleted with the next ones, or come again after a restart.

        """
        self._pass(batch)
        self.bytes -= sum(spooled.size for spooled in batch)
        with _transaction(self._db):
            self._delete()
        self._look_at_oldest()

    def set_aside(self, spooled: Spooled, reason: str) -> None:
        """Move the first that waits to the refused ones.

        Raises:
            SpoolError: the disk is full or broken. It waits still.

        """
        with _transaction(self._db):
            self._db.execute(_SET_ASIDE, (reason, spooled.seq))
            self._db.execute(_DELETE, (spooled.seq,))
        self._pass([spooled])
        self.refused += 1
        self._look_at_oldest()

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
        with _transaction(self._db):
            self._delete()
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
            self._db = _opened(self.directory / FILE)
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(str(error)) from error
        self._done = self.bytes = 0

    def close(self) -> None:
        """Close the file and let the directory go."""
        self._db.close()
        os.close(self._lock)

    def _delete(self) -> None:
        self._db.execute(_DELETE, (self._done,))

    def _pass(self, batch: Sequence[Spooled]) -> None:
        self._done = batch[-1].seq
        self.records -= len(batch)

    def _look_at_oldest(self) -> None:
        try:
            self.oldest_ms = self._oldest()
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error

    def _oldest(self) -> int | None:
        row = self._db.execute(_OLDEST, (self._done,)).fetchone()
        return row[0] if row else None

    def _count(self) -> None:
        self.records, self.refused, self.bytes = self._db.execute(_COUNTS).fetchone()
        self.oldest_ms = self._oldest()


class _Rows:
    """Records as rows, some at a time, and what they came to."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.count = 0
        self.bytes = 0
        self.first_ms: int | None = None

    def __iter__(self) -> Iterator[list[Row]]:
        rows = ((record.key, record.value, _write(record.headers), record.timestamp_ms) for record in self._records)
        while batch := list(islice(rows, ROWS_A_STATEMENT)):
            if self.first_ms is None:
                self.first_ms = batch[0][3]
            self.count += len(batch)
            self.bytes += sum(map(_size, batch))
            yield batch


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. SQLite's errors come out as SpoolError."""
    try:
        _roll_back(db)
        db.execute("begin immediate")
        try:
            yield
            db.execute("commit")
        except BaseException:
            _roll_back(db)
            raise
    except sqlite3.Error as error:
        raise SpoolError(str(error)) from error


def _roll_back(db: sqlite3.Connection) -> None:
    """End a transaction that failed; one whose end failed, too. A full disk may have ended it."""
    if db.in_transaction:
        db.execute("rollback")


def _locked(directory: Path) -> int:
    """Make the directory and lock it. The lock goes with the process, however it ends."""
    try:
        _make(directory)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"the spool directory {directory} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise SetupError(
            f"the spool directory {directory.resolve()} is in use by another ingest (process {holder or 'unknown'}):"
            " give each its own WAYBILL_INGEST_SPOOL_DIR"
        ) from error
    os.truncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _make(directory: Path) -> None:
    """Make the directory for us alone. One that is there is closed to others only if nothing else is in it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if all(path.name == LOCK or path.name.startswith(FILE) for path in directory.iterdir()):
        directory.chmod(0o700)
    _sync(directory.parent)


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            db.execute(f"pragma {pragma}").fetchall()
        layout = db.execute("pragma user_version").fetchone()[0]
        if layout not in (0, LAYOUT):
            raise SetupError(f"the spool in {path.parent} is of another version of Waybill (layout {layout})")
        if layout == 0:
            db.executescript(f"begin; {_TABLES} pragma user_version = {LAYOUT}; commit;")
        _sync(path.parent)
    except BaseException:
        db.close()
        raise
    return db


def _sync(directory: Path) -> None:
    """Make the directory's entries durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(row: Row) -> int:
    return len(row[0]) + len(row[1]) + len(row[2])
