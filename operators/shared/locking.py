"""One at a time: some commands must not run twice side by side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from operators.shared.errors import OperatorError
from runtime.holding import held
from runtime.postgres import Pool


@asynccontextmanager
async def alone(pool: Pool, number: int, what: str) -> AsyncIterator[None]:
    """Be the only one that does this, by PostgreSQL's advisory lock of a `number`.

    The lock goes with the connection, so a killed process leaves none. Where it is lost, what is being done ends.

    Raises:
        OperatorError: another one is at work, or may be since.

    """
    taken = OperatorError(f"another {what} is at work")
    lost = OperatorError(
        f"stopped: the connection that kept a second {what} away was lost, so one may be at work; run this again"
    )
    async with pool.acquire() as connection, held(connection, number, taken, lost):
        yield
