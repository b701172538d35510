"""The console's background: it works off replays and redrives, whatever becomes of the tab that asked for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from console.database import Database
from operators import background
from operators.doctor.finding import FAILURES
from runtime.errors import UnreachableError
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings

LOOK_SECONDS: Final = 1.0
"""How often it is looked for work: the table of jobs is small."""

CONNECTIONS: Final = 3
"""Of a job: one keeps other redrives away, the others read and write."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def working(settings: Settings, database: Database) -> AsyncIterator[None]:
    """Work off jobs until the end of the block, where the console acts at all."""
    if not settings.console_writes:
        yield
        return
    task = asyncio.create_task(_work(settings, database))
    try:
        yield
    finally:
        task.cancel()  # a job under way stays running, and is taken up again
        await asyncio.gather(task, return_exceptions=True)


async def _work(settings: Settings, database: Database) -> None:
    while True:
        try:
            for name in await background.waiting(database.pool):
                await _work_on(settings, name)
        except UnreachableError:
            pass  # the database says so itself, once
        except FAILURES as error:
            log.warning("jobs not looked at", why=_line(error))
        except Exception:
            log.exception("jobs failed")
        await asyncio.sleep(LOOK_SECONDS)


async def _work_on(settings: Settings, name: str) -> None:
    try:
        async with await open_pool(settings, OPERATOR, CONNECTIONS) as pool:
            log.info("job taken up", job=name)
            await background.work(settings, pool, name)
            log.info("job left", job=name)
    except FAILURES as error:
        log.warning("job stopped", job=name, why=_line(error))


def _line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]
