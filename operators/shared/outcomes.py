"""Waiting until a processor has applied what a tool appended."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from runtime.postgres import Pool
from runtime.queries import load_queries

APPLY_SECONDS: Final = 30.0
"""How long nothing may be applied until it is said that no processor runs. A batch takes well under a second, a claim
after a processor's death some ten."""

_POLL_SECONDS: Final = 0.1

_Q: Final = load_queries("operators.shared")


class CommandOutcome(msgspec.Struct, frozen=True, gc=False):
    """What came of an appended record, and where it stands in the raw topic."""

    outcome: str
    partition: int
    offset: int


async def outcomes(pool: Pool, command_ids: Sequence[str]) -> dict[str, CommandOutcome]:
    """Wait until all these commands are applied, or none was for `APPLY_SECONDS`; return what came of each."""
    clock = asyncio.get_running_loop()
    found: dict[str, CommandOutcome] = {}
    deadline = clock.time() + APPLY_SECONDS
    while True:
        left = [each for each in command_ids if each not in found]
        async with pool.acquire() as connection:
            rows = await connection.fetch(_Q["outcomes"], left)
        for row in rows:
            found[row["command_id"]] = CommandOutcome(row["outcome"], row["raw_partition"], row["raw_offset"])
        if len(rows) == len(left):
            return found
        if rows:
            deadline = clock.time() + APPLY_SECONDS
        elif clock.time() > deadline:
            return found
        await asyncio.sleep(_POLL_SECONDS)
