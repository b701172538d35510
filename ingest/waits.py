"""How long is waited for Kafka, and what becomes of a send that is given up."""

import asyncio
import random
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

from runtime.backoff import doubled
from runtime.kafka_types import Producer

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""The pauses between attempts to connect double up to here: the most that a broker's return stays unnoticed."""


class Wait:
    """How long a send waits, and for which producer; for any while there is None."""

    def __init__(self, deadline: asyncio.Timeout) -> None:
        """Wait until the deadline."""
        self.producer: Producer | None = None
        self._deadline = deadline
        self._ended = False

    def extend(self, seconds: float) -> None:
        """Let it wait for so long from now on, unless its end has come."""
        if not self._ended:
            self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    def end(self) -> None:
        """End it now."""
        self._ended = True
        if not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())


def succeeded(future: asyncio.Future[Any]) -> bool:
    """Whether a send is acknowledged."""
    return future.done() and not future.cancelled() and future.exception() is None


def pauses(longest: float = LONGEST_PAUSE_SECONDS) -> Iterator[float]:
    """Seconds, each pause up to twice the last, at random so that many doors do not connect at once."""
    for times in count():
        most = doubled(FIRST_PAUSE_SECONDS, times, longest)
        yield random.uniform(most / 2, most)  # noqa: S311


def forget(future: asyncio.Future[Any]) -> None:
    """Give up a send. An error nobody asks for would be logged as lost."""
    if not future.cancel() and not future.cancelled():
        future.exception()
