"""PostgreSQL connections. Every session's settings stand here, with their reasons."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias

import asyncpg
import structlog

from runtime.errors import DeniedError, SetupError, UnreachableError
from runtime.settings import Settings
from runtime.values import mask_url

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

CONNECT_SECONDS: Final = 10.0
"""How long a connection may take: a server that is there answers in milliseconds, one that starts in seconds."""

COMMAND_SECONDS: Final = 15.0
"""How long the client waits for one statement, and then as long again for its cancellation: a batch takes well under a
second, and behind a network that swallows packets nobody waits longer than this."""

ACQUIRE_SECONDS: Final = 10.0
"""How long one waits for a connection of a pool, opened if need be, and how long giving it back may take. Each is held
for milliseconds; where all of them hang, whoever waits longer is told so and tries again, instead of waiting for ever.
"""

CLOSE_SECONDS: Final = 3.0
"""How long a connection may take to say goodbye; then it is cut."""

POOL_CLOSE_SECONDS: Final = 1.0
"""How long the connections of a pool may take to be given back and to say goodbye; then they are cut. A service that
stops has 8 s for everything."""

OPERATOR: Final = "operator"
"""The process of an operator's command."""

SESSION: Final = {
    # Tables live in `public` whatever schemas the role has.
    "search_path": "public",
    "timezone": "UTC",
    # A worker frozen inside a transaction holds its cursor row: nobody else can claim the partition.
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",
    # A client's machine that is gone without a word holds its locks no longer than this.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}

OPERATOR_SESSION: Final = {**SESSION, "idle_in_transaction_session_timeout": "1min", "transaction_timeout": "2min"}
"""An operator's command folds histories between two pages of an answer, on whatever machine it runs and beside whatever
else. No worker waits for what it holds meanwhile."""

COUNTING: Final = "processor-counts"
"""The connection over which a processor counts what waits for people."""

COUNTING_SESSION: Final = {**SESSION, "statement_timeout": "5s", "default_transaction_read_only": "on"}
"""Beside the batches: each statement takes milliseconds, and one that does not is given up."""

_SESSIONS: Final = {OPERATOR: OPERATOR_SESSION, COUNTING: COUNTING_SESSION}

UNBOUNDED: Final = {"idle_in_transaction_session_timeout": "0", "transaction_timeout": "0"}
"""For migrations: building an index may take long."""

DATABASE_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a statement that is given up leaves its connection in the middle of an answer
    OSError,
    TimeoutError,
)
"""What asyncpg raises when the server is away, or will not do what is asked just now."""

Row: TypeAlias = asyncpg.Record
"""A row of an answer."""

Connection: TypeAlias = "asyncpg.Connection[Row] | PoolConnectionProxy[Row]"
"""A connection of our own, or one of a pool's."""

log = structlog.get_logger(__name__)


class Connections(Protocol):
    """Gives connections to the database."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """Give one until the end of the block."""


class Pool:
    """The database connections that the tasks of a process share.

    Whoever holds one must not ask for a second: as many tasks as there are connections would wait for each other.
    """

    def __init__(self, pool: Any) -> None:
        """Keep asyncpg's pool, which would wait for ever."""
        self._pool = pool

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """Give a connection until the end of the block.

        Raises:
            TimeoutError: none has become free, or could be opened, within `ACQUIRE_SECONDS`.

        """
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"no database connection was to be had within {ACQUIRE_SECONDS:g} s") from error
        try:
            yield connection
        except BaseException:
            # What went wrong tells more than that it cannot be given back: asyncpg cuts it then.
            with suppress(*DATABASE_ERRORS):
                await self._pool.release(connection, timeout=ACQUIRE_SECONDS)
            raise
        await self._pool.release(connection, timeout=ACQUIRE_SECONDS)

    async def expire_connections(self) -> None:
        """Make all connections anew, each when it is next asked for."""
        await self._pool.expire_connections()

    async def close(self) -> None:
        """Close the connections; cut those that are not given back in time, or on which the server does not answer."""
        try:
            async with asyncio.timeout(POOL_CLOSE_SECONDS):
                await self._pool.close()
        except DATABASE_ERRORS as error:
            log.warning("database connections cut", error=repr(error))
            self._pool.terminate()

    async def __aenter__(self) -> Self:
        """Begin a block that ends with `close`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()


async def connect(settings: Settings, process: str, *, unbounded: bool = False) -> Connection:
    """Open one connection. `process` is shown to PostgreSQL's operators as `waybill-<process>`.

    Raises:
        UnreachableError: the server does not answer in time, or cannot be used.
        DeniedError: it does not let us in.
        SetupError: its commits are not durable, or it is too old.

    """
    try:
        connection: Connection = await asyncpg.connect(**_options(settings, process, unbounded=unbounded))
    except _REFUSALS as error:
        raise _explained(settings, error) from error
    try:
        await _require_durable_commits(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def close(connection: Connection, within: float = CLOSE_SECONDS) -> None:
    """Say goodbye to the server; cut the connection where that takes longer than `within` seconds, or fails."""
    try:
        await connection.close(timeout=within)
    except DATABASE_ERRORS:
        connection.terminate()


async def fetch_one(connection: Connection, statement: str, *values: object, timeout: float | None = None) -> Row:
    """Return the row of a statement that has one whatever is stored."""
    row = await connection.fetchrow(statement, *values, timeout=timeout)
    assert row is not None
    return row


async def open_pool(settings: Settings, process: str, size: int) -> Pool:
    """Open a pool of at most `size` connections; the first one is made at once, all others when they are asked for.

    Raises:
        UnreachableError: the server does not answer in time, or cannot be used.
        DeniedError: it does not let us in.
        SetupError: its commits are not durable, or it is too old.

    """
    try:
        pool = await asyncpg.create_pool(
            **_options(settings, process), init_size=1, min_size=0, max_size=size, init=_require_durable_commits
        )
    except _REFUSALS as error:
        raise _explained(settings, error) from error
    return Pool(pool)


def _options(settings: Settings, process: str, *, unbounded: bool = False) -> dict[str, Any]:
    return {
        "dsn": settings.database_url,
        "timeout": CONNECT_SECONDS,
        "command_timeout": None if unbounded else COMMAND_SECONDS,
        "server_settings": {
            **_SESSIONS.get(process, SESSION),
            **(UNBOUNDED if unbounded else {}),
            "application_name": f"waybill-{process}",
        },
    }


_REFUSALS: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)


DENIALS: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,  # log-in, pg_hba.conf
    asyncpg.InsufficientPrivilegeError,
    ssl.SSLCertVerificationError,
)
"""By these the server does not let us in, or do what we ask. Trying again helps only when an operator has mended it."""


def _explained(settings: Settings, error: Exception) -> SetupError:
    where = f"PostgreSQL at {mask_url(settings.database_url)}"
    if isinstance(error, asyncpg.UndefinedObjectError):
        return SetupError(f"{where} is too old: version 17 or newer is needed")
    if isinstance(error, TimeoutError):
        return UnreachableError(f"{where} does not answer within {CONNECT_SECONDS:.0f} s")
    reason = (str(error) or repr(error)).splitlines()[0]
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in reason:
        return SetupError(f"{where} is a pooler ({reason}), which is not supported: name PostgreSQL itself")
    if isinstance(error, DENIALS):
        return DeniedError(f"{where} does not let us in: {reason}")
    return UnreachableError(f"{where} cannot be used: {reason}")


async def _require_durable_commits(connection: Connection) -> None:
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        raise SetupError(
            "PostgreSQL has synchronous_commit = off: it may forget what it has committed, and shipments would "
            "fall behind the events already published. Set it to on for this role and database"
        )
