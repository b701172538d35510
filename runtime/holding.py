"""Work that only one may do at a time, by PostgreSQL's advisory lock: it ends when the lock is lost.

The lock belongs to a session. A session that is cut, by a failover, a restart or an operator, has lost it without a
word, and another process may hold it already.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from runtime.postgres import DATABASE_ERRORS, Connection

LOOK_SECONDS: Final = 2.0
"""How often it is looked whether the lock is held still: so long two may be at work after it is lost."""

ANSWER_SECONDS: Final = 5.0
"""How long the look may take until the lock counts as lost: behind a failover nobody answers."""

_TAKE: Final = "select pg_try_advisory_lock($1)"
_IS_HELD: Final = """
select exists (
    select from pg_locks
    where locktype = 'advisory' and pid = pg_backend_pid() and granted
    and (classid::bigint << 32 | objid::bigint) = $1 and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
)
"""
_RELEASE: Final = "select pg_advisory_unlock($1)"


@asynccontextmanager
async def held(connection: Connection, number: int, taken: Exception, lost: Exception) -> AsyncIterator[None]:
    """Hold the advisory lock of a `number` over a connection that nobody else uses meanwhile.

    Raises `taken` if another session has it, and `lost`, instead of what is being done, when it is lost.
    """
    if not await connection.fetchval(_TAKE, number):
        raise taken
    error: BaseException | None = None
    try:
        async with watched(lambda: _is_held(connection, number), lost):
            yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        if error is not lost:
            with suppress(*DATABASE_ERRORS):  # the session's end releases it too
                await connection.execute(_RELEASE, number)


@asynccontextmanager
async def watched(is_held: Callable[[], Awaitable[bool]], lost: Exception) -> AsyncIterator[None]:
    """Look again and again whether a lock is held. Raises `lost`, instead of what is being done, once it is not."""
    work = asyncio.current_task()
    assert work is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not await is_held():
                gone = True
                work.cancel()
                return

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if gone and work.uncancel() == 0:
            raise lost from None
        raise
    finally:
        watching.cancel()
        await asyncio.wait((watching,))


async def _is_held(connection: Connection, number: int) -> bool:
    try:
        found: bool = await connection.fetchval(_IS_HELD, number, timeout=ANSWER_SECONDS)
    except DATABASE_ERRORS:
        return False
    return found
