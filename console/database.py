"""The console's database connections: opened when PostgreSQL is there, and looked after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from runtime.errors import SetupError, UnreachableError
from runtime.migrations import require_current_schema
from runtime.postgres import DATABASE_ERRORS, Pool, open_pool
from runtime.settings import Settings

CONNECTIONS: Final = 4
"""Pages that ask PostgreSQL at once; others wait for their turn. Few, so that a processor never notices."""

LOOK_SECONDS: Final = 5.0
"""How often it is looked whether PostgreSQL answers."""

log = structlog.get_logger(__name__)


class Database:
    """PostgreSQL as the pages need it. `up` says whether it answered last."""

    def __init__(self, settings: Settings) -> None:
        """Use `opened_database`."""
        self.up = False
        self._settings = settings
        self._pool: Pool | None = None
        self._why = "PostgreSQL was not asked yet"

    @property
    def pool(self) -> Pool:
        """The connections.

        Raises:
            UnreachableError: PostgreSQL did not answer when it was last looked.

        """
        if self._pool is None or not self.up:
            raise UnreachableError(self._why)
        return self._pool

    async def look(self) -> None:
        """Look whether PostgreSQL answers with the schema we know, and open connections the first time."""
        try:
            if self._pool is None:
                self._pool = await open_pool(self._settings, "console", CONNECTIONS)
            async with self._pool.acquire() as connection:
                await require_current_schema(connection)
        except (SetupError, *DATABASE_ERRORS) as error:
            why = (str(error) or repr(error)).splitlines()[0]
            if self.up or why != self._why:
                log.warning("store away", store="postgres", why=why)
            self.up, self._why = False, why
        else:
            if not self.up:
                log.info("store back", store="postgres")
            self.up = True

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[Database]:
    """Give the database until the end of the block."""
    database = Database(settings)
    watching = asyncio.create_task(database.watch())
    try:
        yield database
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await database.close()
