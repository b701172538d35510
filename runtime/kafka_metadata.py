"""How Kafka's clients ask which topics and leaders there are.

aiokafka asks again at once when it is told that a topic or a leader is not there, or when no broker answers: thousands
of times a second, a core's whole time, for as long as it stays so. And it asks so that a broker which makes topics by
itself would make one. Reaches into aiokafka 0.14.
"""

import asyncio
from typing import Any, Final
from weakref import WeakKeyDictionary

import aiokafka.admin.client
import aiokafka.client
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest

BURST: Final = 10
"""Questions that may follow each other at once: a client that starts asks for each of its topics."""

EVERY_SECONDS: Final = 0.5
"""How often is asked beyond that: a leader that comes back is found so soon."""


class RateLimiter:
    """Bounds how often something is done: `BURST` times at once, then every `EVERY_SECONDS`. Pure."""

    def __init__(self, now: float) -> None:
        """Begin with a whole burst. Times are a monotonic clock's."""
        self._next = now - BURST * EVERY_SECONDS

    def wait(self, now: float) -> float:
        """Take a turn, and return in how many seconds it is."""
        self._next = max(self._next, now - BURST * EVERY_SECONDS) + EVERY_SECONDS
        return max(0.0, self._next - now)


class _Asking(MetadataRequest):  # type: ignore[misc]
    """A question that makes no topic."""

    def __init__(self, topics: list[str] | None = None) -> None:
        super().__init__(topics, allow_auto_topic_creation=False)


_ask: Final = AIOKafkaClient._metadata_update
_paces: Final[WeakKeyDictionary[AIOKafkaClient, RateLimiter]] = WeakKeyDictionary()


async def _ask_in_turn(client: AIOKafkaClient, *which: Any) -> bool:
    now = asyncio.get_running_loop().time()
    if seconds := _paces.setdefault(client, RateLimiter(now)).wait(now):
        await asyncio.sleep(seconds)
    answered: bool = await _ask(client, *which)
    return answered


def ask_with_care() -> None:
    """Have every client of this process ask so that no topic is made, and no more often than a `RateLimiter` allows."""
    aiokafka.client.MetadataRequest = aiokafka.admin.client.MetadataRequest = _Asking
    AIOKafkaClient._metadata_update = _ask_in_turn
