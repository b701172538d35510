"""A door whose clock is wrong takes nothing: Kafka goes by the times that records are stamped with.

A record that seems older than the topic's retention is deleted before anybody reads it, and one that seems to come from
the future is kept for too long. So the door's clock is compared with the brokers' now and then, and at once when it
jumps. Where the brokers do not tell their time the door goes on by its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import structlog

from ingest.errors import UnavailableError
from ingest.publisher import Publisher
from ingest.records import Records
from runtime.clock import Comparison
from runtime.errors import DeniedError, SetupError

MOST_OFF: Final = timedelta(minutes=15)
"""How far the door's clock may be off from the brokers'. Synchronized ones are milliseconds apart, a virtual machine
just woken some minutes; zones mistaken for each other are at least half an hour, and Kafka's own limit is one."""

JUMP_SECONDS: Final = 60.0
"""How far the clock may run apart from the steady one before it is compared at once."""

CHECK_SECONDS: Final = 30.0
"""How often a clock that is right is compared."""

CHECK_WRONG_SECONDS: Final = 3.0
"""How often a clock that is wrong is compared: so soon the door opens again. Couriers are told to wait five seconds."""

log = structlog.get_logger(__name__)

Ask = Callable[[], Awaitable[Comparison]]
"""Compares the door's clock with the brokers'. Raises SetupError."""


def is_wrong(ahead: timedelta) -> bool:
    """Whether a clock that is so far ahead of the brokers' (negative: behind) stamps no records."""
    return abs(ahead) > MOST_OFF


class ClockGuard:
    """Passes records on while the clock they are stamped by is right, as far as is known."""

    def __init__(
        self,
        publisher: Publisher,
        ask: Ask,
        now: Callable[[], datetime],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Guard a publisher of records that are stamped by the clock `now`. `steady` counts seconds and never jumps."""
        self._publisher = publisher
        self._ask = ask
        self._now = now
        self._steady = steady
        self._ahead: timedelta | None = None
        """How far the clock is ahead of the brokers'; None while that is not known."""
        self._apart: float | None = None
        """How far the clock was ahead of the steady one at the last comparison, in seconds."""
        self._at_work = asyncio.Lock()
        self._told = False
        """Whether it was said that the clocks cannot be compared."""

    @property
    def right(self) -> bool:
        """Whether the clock is not known to be wrong."""
        return self._ahead is None or not is_wrong(self._ahead)

    async def publish(self, records: Records) -> None:
        """Pass records on. See `Publisher`. The clock is looked at before, where it jumped."""
        if self._jumped():
            async with self._at_work:
                if self._jumped():
                    await self._compare()
        if not self.right:
            raise UnavailableError("the clock is wrong")
        await self._publisher.publish(records)

    async def keep_comparing(self) -> None:
        """Compare the clocks again and again until cancelled."""
        while True:
            async with self._at_work:
                await self._compare()
            await asyncio.sleep(CHECK_SECONDS if self.right else CHECK_WRONG_SECONDS)

    async def _compare(self) -> None:
        """Compare the clocks, and say what that changes."""
        jumped, was_right = self._jumped(), self.right
        try:
            self._ahead = (await self._ask()).ahead
        except SetupError as error:
            if jumped or isinstance(error, DeniedError):
                self._ahead = None
            if not self._told:
                log.warning("clock not compared", reason=str(error))
            self._told = True
            return
        finally:
            self._apart = self._ahead_of_steady()
        self._told = False
        if was_right and not self.right:
            log.error(
                "clock wrong",
                ahead_seconds=round(self._ahead.total_seconds()),
                most_seconds=round(MOST_OFF.total_seconds()),
                mend="set this machine's clock right (NTP); until then webhooks are told to come again",
            )
        elif self.right and not was_right:
            log.info("clock right again", ahead_seconds=round(self._ahead.total_seconds()))

    def _jumped(self) -> bool:
        """Whether the clock has run apart from the steady one since the last comparison, or was never compared."""
        return self._apart is None or abs(self._ahead_of_steady() - self._apart) > JUMP_SECONDS

    def _ahead_of_steady(self) -> float:
        return self._now().timestamp() - self._steady()


@asynccontextmanager
async def guarded(
    publisher: Publisher, ask: Ask, now: Callable[[], datetime], until_connected: Callable[[], Awaitable[None]]
) -> AsyncIterator[ClockGuard]:
    """Give a guard that compares the clocks in the background once the brokers are there."""
    guard = ClockGuard(publisher, ask, now)

    async def keep_comparing() -> None:
        await until_connected()
        await guard.keep_comparing()

    async with asyncio.TaskGroup() as group:
        comparing = group.create_task(keep_comparing(), name="compare the clocks")
        try:
            yield guard
        finally:
            comparing.cancel()
