"""Waiting for a condition: how every test waits for what it cannot hear of."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

DEADLINE: Final = 180.0
"""Seconds until a test gives up. Far above what anything takes, on a machine that is as busy as can be: a deadline is
there for what hangs. How fast something must be is asserted where it matters, by name."""

LOOK_SECONDS: Final = 0.02
MOST_SECONDS: Final = 0.2
"""How long nobody looks: as long as two looks took, within these bounds. Otherwise the looking, which may open a
connection, would keep busy the machine that the awaited is done on."""


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float = DEADLINE) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not in time.

    """
    async with asyncio.timeout(seconds):
        while True:
            began = monotonic()
            holds = condition()
            if holds is True or (not isinstance(holds, bool) and await holds):
                return
            await asyncio.sleep(min(max(LOOK_SECONDS, 2 * (monotonic() - began)), MOST_SECONDS))
