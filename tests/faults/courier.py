"""A courier: posts the webhooks of many parcels to the doors, tries again until each is answered, keeps account."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import msgspec

from schemas.partitioning import partition_of
from schemas.shipment_ids import shipment_id
from tests.integration.system import START, dash

DASH_SECRET: Final = "d" * 32
KIRIMINAJA_TOKEN: Final = "k" * 32

AT_ONCE: Final = 6
"""Webhooks under way at the same time."""

PARCELS_AT_ONCE: Final = 40
ANSWER_SECONDS: Final = 8.0
"""How long an answer may take: longer than the door's publish timeout."""

LOGISTIC: Final = (
    ("PREPARING", 0),
    ("VERIFIED", 0),
    ("PENDING_DELIVERY", 0),
    ("IN_DELIVERY", 0),
    ("FAILED", 1),
    ("PENDING_DELIVERY", 1),
    ("IN_DELIVERY", 1),
    ("COMPLETED", 1),
)
EXPRESS: Final = (
    "QUEUEING",
    "ALLOCATING",
    "PENDING_PICKUP",
    "PICKING_UP",
    "PENDING_DELIVERY",
    "IN_DELIVERY",
    "COMPLETED",
)
KIRIMINAJA: Final = (
    ("processed_packages", None),
    ("shipped_packages", "shipped_at"),
    ("problem_packages", "date"),
    ("shipped_packages", "shipped_at"),
    ("finished_packages", "finished_at"),
)


class Webhook(msgspec.Struct, frozen=True):
    courier: str
    body: bytes


class Answered(msgspec.Struct, frozen=True):
    """A webhook the door took: what it promised to keep."""

    webhook_id: str
    records: int


class Courier:
    """Posts until `stop`, then what is under way; remembers every promise of a door."""

    def __init__(self, doors: Sequence[str], chance: random.Random, rate: float, partitions: int) -> None:
        """`doors`: their addresses, each request goes to any. `rate`: new webhooks a second, at most.

        `partitions` is how many the topics have.
        """
        self.answered: list[Answered] = []
        self.counts: Counter[str] = Counter()
        self._doors = doors
        self._chance = chance
        self._partitions = partitions
        self._pause = AT_ONCE / rate
        self._parcels = 0
        self._sent: deque[Webhook] = deque(maxlen=200)
        self._waiting: list[deque[Webhook]] = []
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Post in the background; leave once everything begun is answered."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
            self._session = session
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work()) for _ in range(AT_ONCE)]
                try:
                    yield
                except BaseException:
                    for worker in workers:
                        worker.cancel()
                    raise
                self._stopping.set()

    async def probe(self, name: str) -> list[str]:
        """Post the first webhook of a new parcel for each partition; return the shipments once answered."""
        found: dict[int, str] = {}
        number = 0
        while len(found) < self._partitions:
            delivery = f"PROBE-{name}-{number}"
            shipment = shipment_id("dash", None, delivery)
            found.setdefault(partition_of(shipment.encode(), self._partitions), delivery)
            number += 1
        await asyncio.gather(
            *(self._post(Webhook("dash", dash(delivery, "VERIFIED", 1))) for delivery in found.values())
        )
        return [shipment_id("dash", None, delivery) for delivery in found.values()]

    async def _work(self) -> None:
        while not self._stopping.is_set():
            await self._post(self._next())
            await asyncio.sleep(self._pause * self._chance.uniform(0.5, 1.5))

    def _next(self) -> Webhook:
        """Take the next webhook of some parcel; one in ten is an old one again."""
        if self._sent and self._chance.random() < 0.1:
            self.counts["sent again on purpose"] += 1
            return self._chance.choice(self._sent)
        while len(self._waiting) < PARCELS_AT_ONCE:
            self._waiting.append(deque(self._life()))
        life = self._chance.choice(self._waiting)
        webhook = life.popleft()
        if not life:
            self._waiting.remove(life)
        self._sent.append(webhook)
        return webhook

    def _life(self) -> list[Webhook]:
        """Write one parcel's life, or a bulk of five. One in five comes in any order."""
        number = self._parcels
        self._parcels += 1
        if self._chance.random() < 0.05:
            return [Webhook("dash", dash(f"O-{number}", "TELEPORTED", 1)), Webhook("dash", b"no JSON %d" % number)]
        kind = self._chance.choice((_logistic, _express, _bulk))
        life = list(kind(number))
        if self._chance.random() < 0.2:
            self._chance.shuffle(life)
        return life

    async def _post(self, webhook: Webhook) -> None:
        """Post until it is answered 200, as couriers do."""
        self.counts["webhooks"] += 1
        attempt = 0
        while True:
            attempt += 1
            self.counts["requests"] += 1
            if (answer := await self._attempt(webhook)) is not None:
                self.answered.append(answer)
                self.counts["records answered 200"] += answer.records
                return
            await asyncio.sleep(min(0.1 * 2**attempt, 1.0) * self._chance.uniform(0.5, 1.0))

    async def _attempt(self, webhook: Webhook) -> Answered | None:
        headers = (
            {"X-Dash-Secret": DASH_SECRET}
            if webhook.courier == "dash"
            else {"Authorization": f"Bearer {KIRIMINAJA_TOKEN}"}
        )
        url = f"{self._chance.choice(self._doors)}/webhooks/{webhook.courier}"
        try:
            async with self._session.post(url, data=webhook.body, headers=headers) as response:
                said = await response.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
            self.counts["requests without an answer"] += 1
            return None
        if response.status == 503:
            self.counts["requests answered 503"] += 1
            return None
        assert response.status == 200, (response.status, said)
        return msgspec.json.decode(said, type=Answered)


def _at(minute: int) -> Any:
    return START + timedelta(minutes=minute)


def _logistic(number: int) -> Iterator[Webhook]:
    for minute, (word, failed) in enumerate(LOGISTIC):
        yield Webhook("dash", dash(f"L-{number}", word, minute, failedCount=failed))


def _express(number: int) -> Iterator[Webhook]:
    for minute, word in enumerate(EXPRESS):
        yield Webhook("dash", dash(f"E-{number}", word, minute, trackingURL="https://example.com/t"))


def _bulk(number: int) -> Iterator[Webhook]:
    for minute, (method, field) in enumerate(KIRIMINAJA):
        at = _at(minute).strftime("%Y-%m-%d %H:%M:%S")
        items = [
            {"order_id": f"K-{number}-{place}", "awb": f"AWB-{number}-{place}", **({field: at} if field else {})}
            for place in range(5)
        ]
        yield Webhook("kiriminaja", msgspec.json.encode({"method": method, "data": items}))
