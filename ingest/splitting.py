"""Splitting a body into its records: the work is counted before it is done, and much of it is done off the event loop.

A body that is too much work, or that has too many items, becomes one record as it came: it is kept, and the processor
makes a dead letter of it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ingest.errors import OverloadedError
from schemas.couriers.base import MAX_ITEMS, Courier, WebhookItem

LOOP_TOKENS: Final = 1_000
"""How many tokens a body may have to be split on the event loop: five milliseconds at most. A usual one has tens."""

MAX_TOKENS: Final = 200_000
"""How many tokens a body may have to be split at all: a second, in a thread. A body of the limit with real items has a
quarter of them; one that consists of nothing else would take minutes and gigabytes if the limit is large."""

SPLIT_SECONDS: Final = 5.0
"""How long a body may wait for its splitting, as one is split at a time. Then the courier gets its 503."""


def tokens(body: bytes) -> int:
    """Return at most how many values a JSON text has, in no time: its commas, brackets and braces."""
    return len(body) - len(body.translate(None, b",[{"))


class Splitter:
    """Splits bodies. One with many tokens is split in its one thread, so that no body holds up the others."""

    def __init__(self) -> None:
        """Start no thread before it is needed."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="split")

    async def split(self, courier: Courier, body: bytes) -> list[WebhookItem]:
        """Make the pieces of a webhook's body; one of it as it came where they would be too many.

        Raises:
            OverloadedError: too many bodies wait to be split.

        """
        count = tokens(body)
        if count > MAX_TOKENS:
            return [WebhookItem(body, None)]
        if count <= LOOP_TOKENS:
            return _bounded(courier.split(body), body)
        try:
            async with asyncio.timeout(SPLIT_SECONDS):
                loop = asyncio.get_running_loop()
                return _bounded(await loop.run_in_executor(self._thread, courier.split, body), body)
        except TimeoutError as error:
            raise OverloadedError from error


def _bounded(pieces: list[WebhookItem], body: bytes) -> list[WebhookItem]:
    return pieces if len(pieces) <= MAX_ITEMS else [WebhookItem(body, None)]
