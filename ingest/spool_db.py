"""The spool's database: its tables in SQLite, how its directory is locked and its file is opened.

`spooled` holds what waits for Kafka, in the order it came; `refused` what Kafka refuses for good.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from ingest.errors import SpoolError
from runtime.errors import SetupError
from schemas.partitioning import hash_of
from schemas.records import Headers

FILE: Final = "spool.sqlite3"
LOCK: Final = "lock"

LAYOUT: Final = 2
"""The tables' version, kept in the file. In 1 `spooled` had no `hash`; rows of that time have none still."""

BUSY_SECONDS: Final = 1.0
"""How long another process in the file may hold us up; then the couriers get their 503."""

JOURNAL_BYTES: Final = 16 * 1024 * 1024
"""How large the write-ahead log may stay once its content is in the file itself."""

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
        timestamp_ms integer not null,
        hash integer
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
_UPGRADES: Final = {0: _TABLES, 1: "alter table spooled add column hash integer;"}
"""What leads from a layout to the next; from an empty file to the newest."""

write_headers: Final = msgspec.msgpack.Encoder().encode
_read_headers: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode


def read_headers(packed: bytes) -> Headers:
    """Read a row's headers.

    Raises:
        SpoolError: they are damaged.

    """
    try:
        return _read_headers(packed)
    except msgspec.MsgspecError as error:
        raise SpoolError(f"a record's headers are damaged: {error}") from error


def size_of(key: bytes, value: bytes, headers: bytes) -> int:
    """Return what counts of a row against the spool's limit, in bytes."""
    return len(key) + len(value) + len(headers)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
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


def locked(directory: Path) -> int:
    """Make the directory and lock it; return the lock's descriptor. The lock goes with the process, however it ends.

    Raises:
        SetupError: another process has it, or it cannot be used.

    """
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


def opened(path: Path) -> sqlite3.Connection:
    """Open the file, made if it is missing, with tables of the newest layout.

    Raises:
        SetupError: it is of a newer version of Waybill.
        sqlite3.Error: it is damaged, or the disk is full.

    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    db = connected(path)
    try:
        for pragma in _PRAGMAS:
            db.execute(f"pragma {pragma}").fetchall()
        layout = _layout(db, path)
        if layout != LAYOUT:
            db.executescript(f"begin; {_UPGRADES[layout]} pragma user_version = {LAYOUT}; commit;")
        _sync(path.parent)
    except BaseException:
        db.close()
        raise
    return db


def connected(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Connect to the file as it is. Its owner may be at work on it."""
    mode = "ro" if read_only else "rw"
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    db.create_function("hash_of", 1, hash_of, deterministic=True)
    return db


def visited(directory: Path, *, read_only: bool = False) -> sqlite3.Connection | None:
    """Connect to a directory's file beside the ingest that owns it, which may run. None: there is no spool.

    Raises:
        SetupError: the file is damaged, of another version of Waybill, or may not be read.

    """
    path = directory / FILE
    try:
        if not path.exists():
            return None
        db = connected(path, read_only=read_only)
        try:
            _layout(db, path)
            db.execute("pragma secure_delete = on").fetchall()
            db.execute("select 1 from refused limit 1").fetchall()
        except BaseException:
            db.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise SetupError(f"the spool in {directory} cannot be opened: {error}") from error
    return db


def _layout(db: sqlite3.Connection, path: Path) -> int:
    layout: int = db.execute("pragma user_version").fetchone()[0]
    if layout not in (*_UPGRADES, LAYOUT):
        raise SetupError(f"the spool in {path.parent} is of another version of Waybill (layout {layout})")
    return layout


def _sync(directory: Path) -> None:
    """Make the directory's entries durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
