"""Make-believe traffic through the real door, N webhooks a second, each sent as its courier would."""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Final

import aiohttp

from devstack.couriers.sending import ANSWER_SECONDS, RETRY_SECONDS, attempts_of, is_taken
from devstack.couriers.traffic import Traffic
from devstack.couriers.webhooks import Webhook

AT_ONCE: Final = 64
"""Posts under way together. The door answers within milliseconds; where it does not, the traffic slows down."""

MOST_WAITING: Final = 5_000
"""Webhooks that wait to be sent again. Beyond it they are given up, and that is told."""

TOLD_SECONDS: Final = 5.0
"""How often it is told what was refused, while something is."""

BEHIND_SECONDS: Final = 1.0
"""How far behind its time the traffic may be and still catch up. What is more is left out."""

Tell = Callable[[str], None]


class Sender:
    """Sends traffic to a door, until it is cancelled."""

    def __init__(
        self,
        door: str,
        headers: Mapping[str, Mapping[str, str]],
        traffic: Traffic,
        tell: Tell,
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """`headers` are those that each courier posts with. `retry_seconds`: between two attempts of a webhook."""
        self.counts: Counter[str] = Counter()
        """What became of the webhooks: `accepted`, `refused` attempts, those `sent again`, those `lost`."""
        self._door = door
        self._headers = headers
        self._traffic = traffic
        self._tell = tell
        self._retry_seconds = retry_seconds
        self._waiting: list[tuple[float, int, Webhook, int]] = []
        self._numbers = count()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._answers: Counter[str] = Counter()
        self._told = float("-inf")

    async def run(self, rate: int) -> None:
        """Send so many webhooks a second, those that are sent again among them."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            due = time.monotonic()
            while True:
                await asyncio.sleep(due - time.monotonic())
                await self._slots.acquire()
                webhook, attempt = self._next()
                group.create_task(self._send(session, webhook, attempt))
                self._tell_refusals()
                due = max(due + 1 / rate, time.monotonic() - BEHIND_SECONDS)

    def _next(self) -> tuple[Webhook, int]:
        """Return what is to be sent now, and which attempt it is."""
        if self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, webhook, attempt = heapq.heappop(self._waiting)
            self.counts["sent again"] += 1
            return webhook, attempt
        return self._traffic.next(datetime.now(UTC)), 1

    async def _send(self, session: aiohttp.ClientSession, webhook: Webhook, attempt: int) -> None:
        try:
            status = await self._post(session, webhook)
        finally:
            self._slots.release()
        if is_taken(status):
            self.counts["accepted"] += 1
            return
        self.counts["refused"] += 1
        self._answers["no answer" if status is None else str(status)] += 1
        if attempt < attempts_of(webhook.courier) and len(self._waiting) < MOST_WAITING:
            again = time.monotonic() + self._retry_seconds
            heapq.heappush(self._waiting, (again, next(self._numbers), webhook, attempt + 1))
        else:
            self.counts["lost"] += 1

    async def _post(self, session: aiohttp.ClientSession, webhook: Webhook) -> int | None:
        url, headers = f"{self._door}/webhooks/{webhook.courier}", self._headers[webhook.courier]
        try:
            async with session.post(url, data=webhook.body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _tell_refusals(self) -> None:
        """Tell what was refused since it was told last, if it is time."""
        now = time.monotonic()
        if not self._answers or now - self._told < TOLD_SECONDS:
            return
        self._told = now
        answers = ", ".join(f"{each} × {answer}" for answer, each in sorted(self._answers.items()))
        self._answers.clear()
        self._tell(
            f"traffic: not accepted: {answers}; "
            f"{len(self._waiting)} wait to be sent again, {self.counts['lost']} are given up as their courier would"
        )
