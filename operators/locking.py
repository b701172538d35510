"""One at a time: some commands must not run twice side by side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from operators.errors import OperatorError
from runtime.postgres import Pool


@asynccontextmanager
async def alone(pool: Pool, number: int, what: str) -> AsyncIterator[None]:
    """Be the only one that does this, by PostgreSQL's advisory lock of a `number`.

    The lock goes with the connection, so a killed process leaves none.

    Raises:
        OperatorError: another one is at work.

    """
    async with pool.acquire() as connection:
        if not await connection.fetchval("select pg_try_advisory_lock($1)", number):
            raise OperatorError(f"another {what} is at work")
        try:
            yield
        finally:
            if not connection.is_closed():
                await connection.execute("select pg_advisory_unlock($1)", number)
