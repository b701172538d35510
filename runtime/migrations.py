"""Bringing the database's schema up to date: the files `migrations/NNNN_name.sql`, in order, each once.

A file is one transaction, but for those that build indexes of tables that may be large: a transaction would hold the
tables while it builds. Such a file begins with `-- outside a transaction`, and has nothing but statements `create index
concurrently name …;` and `drop index concurrently if exists name;`. Interrupted, it goes on with the index it was at.

A file that rewrites rows of a large table begins with `-- in batches` and has one statement, which is run again and
again, each time in a transaction of its own: it takes the rows behind the key `$1` and returns the last one's, null
when there were none. Interrupted, it begins anew, so what is rewritten must not be rewritten again.

A file is of one of two phases. Before a roll-out the schema gets what the new version needs, and loses nothing that the
version before could miss, which goes on beside it. What only older versions need goes after the roll-out, by files
whose names begin with `after_` and which stand behind the others of their release.

Nobody waits behind us for a table: a file that does not get its locks at once is tried again.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import pairwise
from time import monotonic
from typing import Final, TypeVar

import asyncpg
import msgspec

from runtime.errors import SetupError, UnreachableError
from runtime.locks import LockNumber
from runtime.postgres import Connection, close, connect
from runtime.settings import Settings

LOCK_SECONDS: Final = 60
"""How long to wait for another process that migrates the same database."""

LOCK_TIMEOUT: Final = "2s"
"""How long a statement waits for a lock: all who come for the same table later wait behind it."""

OUTSIDE: Final = "-- outside a transaction\n"
"""Begins a file of indexes that are built while others write."""

BATCHES: Final = "-- in batches\n"
"""Begins a file of one statement that rewrites rows, some at a time, while others write."""

AFTER: Final = "after_"
"""Begins the name of a file that is applied after the roll-out. The database keeps the name, so an older version, which
does not have the file, knows by it that it cannot run any more."""

_BUILD: Final = re.compile(r"create (?:unique )?index concurrently (\w+) [^;]*", re.IGNORECASE)
_DROP: Final = re.compile(r"drop index concurrently if exists \w+", re.IGNORECASE)
_REMARK: Final = re.compile(r"^--.*$", re.MULTILINE)
_POLL_SECONDS: Final = 0.2

_T = TypeVar("_T")

_FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE schema_migrations IS 'The migrations this database has had.';
COMMENT ON COLUMN schema_migrations.version IS 'The number the file''s name begins with.';
COMMENT ON COLUMN schema_migrations.name IS 'The rest of the file''s name.';
COMMENT ON COLUMN schema_migrations.checksum IS 'SHA-256 of the file as it was applied.';
COMMENT ON COLUMN schema_migrations.applied_at IS 'When it was applied.';
"""


class MigrationError(SetupError):
    """The database's schema and the migrations of this version do not fit together."""


class Migration(msgspec.Struct, frozen=True):
    """One migration file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def after(self) -> bool:
        """Whether it is applied only after the roll-out of its version."""
        return self.name.startswith(AFTER)

    @property
    def steps(self) -> list[tuple[str | None, str]]:
        """The statements of a file that is not a transaction, each with the name of the index it builds, if it does.

        Raises:
            MigrationError: there is something else in it.

        """
        found: list[tuple[str | None, str]] = []
        for statement in filter(None, map(str.strip, _REMARK.sub("", self.sql).split(";"))):
            if match := _BUILD.fullmatch(statement):
                found.append((match[1], statement))
            elif _DROP.fullmatch(statement):
                found.append((None, statement))
            else:
                raise MigrationError(f"migration {self} is not a transaction and may only build indexes concurrently")
        return found

    def __str__(self) -> str:
        """Name it as its file is named."""
        return f"{self.version:04d}_{self.name}"


class Applied(msgspec.Struct, frozen=True):
    """A migration as the database has it."""

    name: str
    checksum: str


def load_migrations(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Read the migration files of this version, in order.

    Raises:
        MigrationError: two files have one number.

    """
    source = resources.files("migrations") if folder is None else folder
    found = sorted(
        (
            Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))
            for file in source.iterdir()
            if (match := _FILE.fullmatch(file.name))
        ),
        key=lambda migration: migration.version,
    )
    for earlier, later in pairwise(found):
        if earlier.version == later.version:
            raise MigrationError(f"the migrations {earlier} and {later} have the same number")
    return tuple(found)


def pending(known: Iterable[Migration], applied: Mapping[int, Applied]) -> tuple[Migration, ...]:
    """Return the migrations a database still needs. `applied` holds those it has, by version.

    What a newer version has applied before its roll-out is none of our business: we go on beside it.

    Raises:
        MigrationError: an applied file was changed since, or a newer version's roll-out is over.

    """
    by_version = {migration.version: migration for migration in known}
    for version, had in sorted(applied.items()):
        migration = by_version.get(version)
        if migration is None:
            if version > max(by_version, default=0) and not had.name.startswith(AFTER):
                continue
            raise MigrationError(
                f"the database has migration {version:04d}_{had.name}, which this version of Waybill does not know: "
                "it was migrated by a newer one"
            )
        if migration.checksum != had.checksum:
            raise MigrationError(
                f"migration {migration} was changed after this database had it: restore the file and put the "
                "change into a new one"
            )
    newest = max(applied, default=0)
    waiting = tuple(migration for version, migration in sorted(by_version.items()) if version not in applied)
    if waiting and waiting[0].version < newest:
        raise MigrationError(f"migration {waiting[0]} comes before {newest:04d}, which the database has already")
    return waiting


def before_the_roll_out(waiting: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """Return what is applied before the roll-out: all but the files at the end that are for after it.

    One of the second phase with others behind it belongs to a roll-out that is over: one goes from each version to the
    next.
    """
    return waiting[: next((place for place in range(len(waiting), 0, -1) if not waiting[place - 1].after), 0)]


async def migrate(
    settings: Settings, known: tuple[Migration, ...] | None = None, *, after: bool = False
) -> tuple[Migration, ...]:
    """Apply what the database still needs, one file after the other. Return what was applied.

    What is for `after` the roll-out is left out unless the database is new: then no older version runs.
    Two processes may do so at once: the second waits and finds nothing to do.

    Raises:
        MigrationError: a file fails, or files and database do not fit together.
        UnreachableError: the database cannot be reached, or another process holds the lock too long.

    """
    migrations = load_migrations() if known is None else known
    connection = await connect(settings, "migrate", unbounded=True)
    try:
        await _wait_for_others(connection)
        await connection.execute(_TABLE)
        applied = await _applied(connection)
        waiting = pending(migrations, applied)
        if applied and not after:
            waiting = before_the_roll_out(waiting)
        for migration in waiting:
            await _apply(connection, migration)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise UnreachableError(f"migrating was interrupted: {error}") from error
    finally:
        await close(connection)
    return waiting


async def require_current_schema(
    connection: Connection, known: tuple[Migration, ...] | None = None
) -> tuple[Migration, ...]:
    """Make sure that the database has every migration that this version needs. Return those for after its roll-out.

    Raises:
        MigrationError: it has not, or does not fit.

    """
    waiting = pending(load_migrations() if known is None else known, await _applied(connection))
    if needed := before_the_roll_out(waiting):
        raise MigrationError(f"the database lacks migration {needed[0]}: run `waybill migrate`")
    return waiting


async def _applied(connection: Connection) -> dict[int, Applied]:
    if await connection.fetchval("SELECT to_regclass('public.schema_migrations')") is None:
        return {}
    rows = await connection.fetch("SELECT version, name, checksum FROM schema_migrations")
    return {row["version"]: Applied(row["name"], row["checksum"]) for row in rows}


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        if migration.sql.startswith(OUTSIDE):
            for index, statement in migration.steps:
                await _step(connection, index, statement)
            await _note(connection, migration)
        elif migration.sql.startswith(BATCHES):
            last: str | None = ""
            while last is not None:
                last = await _locking(partial(_rewrite, connection, migration.sql, last))
            await _note(connection, migration)
        else:
            await _locking(partial(_transact, connection, migration))
    except asyncpg.PostgresError as error:
        raise MigrationError(f"migration {migration} fails: {error}") from error


async def _transact(connection: Connection, migration: Migration) -> None:
    """Apply a file that is one transaction."""
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute(migration.sql)
        await _note(connection, migration)


async def _rewrite(connection: Connection, statement: str, last: str) -> str | None:
    """Rewrite the rows behind a key, as many as the statement takes at once. Return the last one's key."""
    async with connection.transaction():
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        key: str | None = await connection.fetchval(statement, last)
    return key


async def _locking(transaction: Callable[[], Awaitable[_T]]) -> _T:
    """Try a transaction that takes locks until it gets them, for a minute."""
    give_up = monotonic() + LOCK_SECONDS
    while True:
        try:
            return await transaction()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if monotonic() > give_up:
                raise
        await asyncio.sleep(_POLL_SECONDS)


async def _step(connection: Connection, index: str | None, statement: str) -> None:
    """Build an index, unless that is done, or drop one. One whose building was interrupted is there and of no use."""
    usable = await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", index)
    if usable is False:
        await connection.execute(f"DROP INDEX CONCURRENTLY {index}")
    if not usable:
        await connection.execute(statement)


async def _note(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.checksum,
    )


async def _wait_for_others(connection: Connection) -> None:
    """Take the advisory lock. It belongs to the session, so closing the connection, or a crash, frees it.

    It is asked for again and again: a statement that waits would hold up the building of indexes, which waits for all
    statements under way.
    """
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            while True:
                if await connection.fetchval("SELECT pg_try_advisory_lock($1)", LockNumber.MIGRATION):
                    return
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise UnreachableError(f"another process has been migrating for {LOCK_SECONDS} s") from error
