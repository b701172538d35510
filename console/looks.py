"""Looks that take seconds: one at a time for everybody who asks, kept for a while, made only while somebody asks."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import msgspec
import structlog

from operators.doctor.finding import FAILURES

T = TypeVar("T")

PATIENCE_SECONDS: Final = 0.15
"""How long a page waits for a look under way; then it shows the one before, or that there is none yet, and asks again.

A page is to be there within 0.3 s, however long a look takes.
"""

log = structlog.get_logger(__name__)


class Seen(msgspec.Struct, Generic[T], frozen=True):
    """What a look found and when; null before the first. `trouble`: why the newest look found nothing.

    `under_way`: a newer one is being made.
    """

    found: T | None
    at: datetime | None
    trouble: str | None
    under_way: bool


class Look(Generic[T]):
    """Asks, and keeps what it was told."""

    def __init__(self, ask: Callable[[], Awaitable[T]], keep: timedelta, limit: timedelta) -> None:
        """`ask` is asked again once its answer is older than `keep`, and may take `limit`."""
        self._ask = ask
        self._keep = keep
        self._limit = limit
        self._task: asyncio.Task[None] | None = None
        self._found: T | None = None
        self._at: datetime | None = None
        self._tried_at: datetime | None = None
        self._trouble: str | None = None

    async def latest(self, patience: float = PATIENCE_SECONDS) -> Seen[T]:
        """Return what is known. Where that is old, ask anew and wait for it so many seconds."""
        now = datetime.now(UTC)
        if self._task is None and (self._tried_at is None or now - self._tried_at >= self._keep):
            self._task = asyncio.create_task(self._look())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience)
        return Seen(self._found, self._at, self._trouble, self._task is not None)

    async def close(self) -> None:
        """Give up a look under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._limit.total_seconds()):
                self._found = await self._ask()
            self._at, self._trouble = datetime.now(UTC), None
        except TimeoutError:
            self._trouble = f"no answer within {self._limit.total_seconds():.0f} s"
        except FAILURES as error:
            self._trouble = (str(error) or repr(error)).splitlines()[0]
        except Exception:
            log.exception("look failed")
            self._trouble = "it failed: the console's log says why"
        finally:
            self._tried_at = datetime.now(UTC)
            self._task = None
