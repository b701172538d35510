"""Waits between attempts, which end when a process is to stop."""

import asyncio
import random
from contextlib import suppress

from processor.protocol.pacing import back_off


async def pause(attempt: int, stop: asyncio.Event) -> None:
    """Wait before another attempt, longer each time, until `stop` is set. Attempt 0 does not wait."""
    await rest(back_off(attempt), stop)


async def rest(seconds: float, stop: asyncio.Event) -> None:
    """Wait for half of this to all of it, at random, until `stop` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
