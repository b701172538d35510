"""How long is waited for Kafka, and what becomes of a send that is given up."""

import asyncio
import random
from collections.abc import Callable, Container, Iterator
from itertools import count
from typing import Any, Final, Self

from runtime.backoff import doubled
from runtime.kafka_types import Producer

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""The pauses between attempts to connect double up to here: the most that a broker's return stays unnoticed."""

SUSPECT_SECONDS: Final = 0.3
"""A webhook that has waited so long has the brokers asked at once: usually Kafka takes a few milliseconds."""

LOOK_SECONDS: Final = 0.05
"""How often the sends that wait are looked at: so much later than it should one may end."""


class Wait:
    """How long a send waits inside its `with`, and for which producer; for any while there is None.

    It ends by a TimeoutError, like `asyncio.timeout`, when `Waits` finds its deadline passed.
    """

    def __init__(self, waits: "Waits", began: float, seconds: float) -> None:
        """Wait for so long since it began, which is a time of the loop's clock."""
        self.producer: Producer | None = None
        self.began = began
        self.deadline = began + seconds
        self.is_slow = False
        self._seconds = seconds
        self._waits = waits
        self._ended = False

    def extend(self) -> None:
        """Let it wait for as long again from now on."""
        self.deadline = self._waits.now() + self._seconds

    def end(self) -> None:
        """End it now."""
        if not self._ended:
            self._ended = True
            self._task.cancel()

    def __enter__(self) -> Self:
        """Begin."""
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._waits.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Tell the end that was ours by a TimeoutError, and no other cancellation."""
        self._waits.discard(self)
        if self._ended and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Waits:
    """The sends that wait, and one timer for all of them: one for each would take as long as a send."""

    def __init__(self, on_slow: Callable[[], None]) -> None:
        """Call `on_slow` once for each that has waited for `SUSPECT_SECONDS`."""
        self.now = asyncio.get_running_loop().time
        self._on_slow = on_slow
        self._all: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, wait: Wait) -> None:
        """Look after a wait."""
        self._all.add(wait)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def discard(self, wait: Wait) -> None:
        """Forget a wait."""
        self._all.discard(wait)

    def end(self, producers: Container[Producer | None]) -> None:
        """End the waits for these producers."""
        for wait in self._all:
            if wait.producer in producers:
                wait.end()

    def _look(self) -> None:
        self._timer = None
        now = self.now()
        for wait in self._all:
            if now >= wait.began + SUSPECT_SECONDS and not wait.is_slow:
                wait.is_slow = True
                self._on_slow()
            if now >= wait.deadline:
                wait.end()
        if self._all:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)


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
