"""Splitting a body into its pieces: its work is counted before it is done, and where it is much, done in a thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ingest.errors import OverloadedError
from ingest.pieces import MAX_TOKENS, pieces, tokens
from schemas.couriers.base import Courier, WebhookItem

LOOP_TOKENS: Final = 1_000
"""How many tokens a body may have to be split on the event loop: five milliseconds at most. A usual one has tens."""

SPLIT_SECONDS: Final = 5.0
"""How long a body may wait for its splitting, as one is split at a time. Then the courier gets its 503."""


class Splitter:
    """Splits bodies. One with many tokens is split in its one thread, so that no body holds up the others."""

    def __init__(self) -> None:
        """Start no thread before it is needed."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="split")

    async def split(self, courier: Courier, body: bytes) -> list[WebhookItem]:
        """Make the pieces of a webhook's body.

        Raises:
            OverloadedError: too many bodies wait to be split.

        """
        count = tokens(body)
        if count <= LOOP_TOKENS or count > MAX_TOKENS:
            return pieces(courier, body, count)
        try:
            async with asyncio.timeout(SPLIT_SECONDS):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._thread, pieces, courier, body, count)
        except TimeoutError as error:
            raise OverloadedError from error
