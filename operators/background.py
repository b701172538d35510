"""Jobs that a service works off, replays and redrives alike: one at a time, and those that were interrupted again."""

import asyncio
from typing import Final

from operators.dead_letters import redrive_jobs
from operators.replay import replays
from operators.replay.jobs import Mode, find, in_background
from runtime.postgres import Pool
from runtime.settings import Settings

LOOKED_AT: Final = 100
"""Jobs that are looked at together: those behind them follow when they have ended."""


async def waiting(pool: Pool) -> list[str]:
    """Name the jobs that are to be worked off, in the order they were asked for."""
    return await in_background(pool, LOOKED_AT)


async def work(settings: Settings, pool: Pool, name: str) -> None:
    """Work on a job until it is done, or another process pauses or cancels it.

    Cancelled, it stays as it is: running without a process, to be taken up again.

    Raises:
        OperatorError: another process works on it, or it fails.
        UnreachableError: the brokers take nothing; the job is marked as failed.

    """
    job = await find(pool, name)
    if job.mode is Mode.REDRIVE:
        await redrive_jobs.work(settings, pool, name)
    else:
        await replays.work(settings, pool, name, asyncio.Event(), lambda _progress: None)
