"""Asking: each courier's shipments, some side by side, and what the answers tell appended."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec
import stamina
import structlog

from reconcile.api import Api
from reconcile.errors import NotNowError
from reconcile.line import CourierClient
from reconcile.outcomes import Answered, AskOutcome, Count, Failed, Refused, Throttled, Unknown
from reconcile.store import LONG_AGO, AskLog, DueShipment, Store
from reconcile.waiting import ATTEMPTS, delay
from runtime.appending import Appender
from runtime.metrics import AskResult, ReconcileMetrics
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.couriers.base import WebhookItem
from schemas.couriers.pulling import news
from schemas.records import NewRecord, Provenance, UnreadableError
from schemas.times import milliseconds
from schemas.vocabulary import Source

AT_ONCE: Final = 16
"""Asks of one courier under way together: 200 a second at answers of 80 ms. A crash leaves so many resting unasked."""

OVERLAP: Final = timedelta(minutes=10)
"""How far a round looks back behind the one before: rows are stamped before they are committed, by another clock."""

DRAIN_SECONDS: Final = 4.0
"""How long asks under way may take at a stop. With closing and flushing behind it the lifecycle's 8 s suffice."""

log = structlog.get_logger(__name__)


class Reached(msgspec.Struct, frozen=True):
    """How far a round is. `due`: how many shipments were at its begin."""

    due: int
    count: Count


Tell = Callable[[Reached], None]
"""Takes how far a round is."""


class Ended(msgspec.Struct, frozen=True):
    """What a round came to, by courier. `given_up`: why a courier was not asked about everything that was due."""

    due: Mapping[str, int]
    counts: Mapping[str, Count]
    given_up: Mapping[str, str]

    @property
    def total(self) -> Count:
        """What it came to in all."""
        return sum(self.counts.values(), Count())

    @property
    def is_whole(self) -> bool:
        """Whether everybody who was due was asked about and every courier answered."""
        total = self.total
        return not (self.given_up or total.failed or total.throttled or total.refused)


class Asked(msgspec.Struct, frozen=True):
    """What came of asking about a shipment: in a word, how many records were appended, and why there is no answer."""

    said: AskResult
    appended: int = 0
    why: str | None = None


class AskingContext(msgspec.Struct, frozen=True):
    """What every courier's asking works with."""

    settings: Settings
    store: Store
    ledger: AskLog
    appender: Appender
    metrics: ReconcileMetrics
    stop: asyncio.Event


class CourierLoop:
    """The asking of one courier. `refused`: it does not accept our credentials; nothing is asked any more."""

    def __init__(self, courier: str, api: Api, line: CourierClient, tools: AskingContext) -> None:
        """`line` leads `api` to the courier."""
        self.courier = courier
        self.refused: str | None = None
        self.given_up: str | None = None
        self.count = Count()
        self.since = LONG_AGO
        """Everybody who was silent before was found by a round that was whole, and was asked about since."""
        self._api = api
        self._line = line
        self._tools = tools

    async def round(self, now: datetime, tell: Callable[[], None]) -> None:
        """Ask about everybody who is due at this time, or until the courier is given up. Counts from zero."""
        await self.run(self._tools.store.due(self.courier, now, self.since), tell)
        if self.given_up is None and not self._tools.stop.is_set():
            self.since = now - self._tools.settings.reconcile_stale_after - OVERLAP

    async def run(self, dues: AsyncGenerator[DueShipment, None], tell: Callable[[], None]) -> None:
        """Ask about all of these, or until the courier is given up. Counts from zero."""
        self.count, self.given_up = Count(), self.refused
        at_once = min(AT_ONCE, self._tools.settings.reconcile_rate)
        async with aclosing(dues):
            source = _Source(dues)
            await together(*(self._work(source, tell) for _ in range(at_once)))

    async def _work(self, source: "_Source", tell: Callable[[], None]) -> None:
        while self.given_up is None and not self._tools.stop.is_set():
            due = await source.next()
            if due is None:
                return
            try:
                asked = await self.ask(due)
            except NotNowError as error:
                self.given_up = self.given_up or str(error)
            else:
                if asked is not None:
                    self.count = self.count.plus(asked.said, asked.appended)
            tell()

    async def ask(self, due: DueShipment) -> Asked | None:
        """Ask about a shipment, some times if need be, and take in what the answer tells.

        None: it has moved meanwhile, and nobody need ask.

        Raises:
            NotNowError: the courier is not to be asked now. Nothing was.

        """
        if self.refused is not None:
            return Asked(AskResult.REFUSED, why=self.refused)
        trying = _Trying()
        try:
            async for attempt in stamina.retry_context(on=_seconds_before, attempts=ATTEMPTS, timeout=None):
                with attempt:
                    if not await self._try(due, trying):
                        return None
                    if (seconds := _before_next(trying.outcome, attempt.num)) is not None:
                        raise _TryAgainError(seconds)
        except _TryAgainError:
            pass  # tried often enough
        except NotNowError as error:
            if not trying.claimed:
                raise
            self.given_up = self.given_up or str(error)
            trying.outcome = trying.outcome or Failed(str(error))
        assert trying.outcome is not None
        asked = await self._take_in(due, trying.outcome)
        if trying.claimed:
            await self._tools.ledger.note(due, asked.said, datetime.now(UTC))
        self._tools.metrics.asks.labels(self.courier, asked.said).inc()
        self._tools.metrics.records.labels(self.courier).inc(asked.appended)
        return asked

    async def _try(self, due: DueShipment, trying: "_Trying") -> bool:
        """Ask once. The shipment is claimed just before the first request. False: nobody need ask any more."""
        in_the_way = await self._api.prepare()
        if in_the_way is not None:
            trying.outcome = in_the_way
            return True
        await self._line.turn()
        if not trying.claimed:
            trying.claimed = await self._tools.ledger.claim(due, datetime.now(UTC))
            if not trying.claimed:
                self._line.give_back()
                return False
        trying.outcome = await self._api.ask(due.reference)
        return True

    async def _take_in(self, due: DueShipment, outcome: AskOutcome) -> Asked:
        """Append what is news, and return what came of the ask."""
        match outcome:
            case Answered(pieces):
                appended = await self._append(due, pieces)
                return Asked(AskResult.NEWS if appended else AskResult.NO_NEWS, appended)
            case Unknown():
                return Asked(AskResult.NOT_FOUND)
            case Throttled():
                return Asked(AskResult.THROTTLED)
            case Failed(why):
                log.info("ask failed", shipment_id=due.shipment_id, why=why)
                return Asked(AskResult.FAILED, why=why)
            case Refused(why):
                if self.refused is None:
                    log.error("courier refuses us", courier=self.courier, why=why)
                self.refused = self.given_up = why
                return Asked(AskResult.REFUSED, why=why)

    async def _append(self, due: DueShipment, pieces: Sequence[WebhookItem]) -> int:
        """Append what is not known of the shipment, oldest first. Returns how many records."""
        now = datetime.now(UTC)
        settings = self._tools.settings
        answer = Provenance(
            courier=self.courier,
            account=settings.account,
            received_at=now,
            source=Source.PULL,
            webhook_id=str(uuid4()),
            content_type="application/json",
        )
        known = await self._tools.store.known(due.shipment_id)
        zone = settings.assumed_zone(self.courier, Source.PULL)
        try:
            fresh = news(COURIERS[self.courier], pieces, known, answer, zone)
        except UnreadableError as error:
            log.warning("answer left out", shipment_id=due.shipment_id, why=error.detail)
            return 0
        key, timestamp_ms = due.shipment_id.encode(), milliseconds(now)
        await self._tools.appender.append(
            NewRecord(key, piece.value, placed.headers(), timestamp_ms) for piece, placed in fresh
        )
        return len(fresh)


class _Trying:
    """How the tries of one ask stand."""

    def __init__(self) -> None:
        self.claimed = False
        self.outcome: AskOutcome | None = None


class _TryAgainError(Exception):
    """Another try may help, after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _seconds_before(error: Exception) -> bool | float:
    return error.seconds if isinstance(error, _TryAgainError) else False


def _before_next(outcome: AskOutcome | None, attempt: int) -> float | None:
    """Say how long to wait before another try; None: there is no point. The line heeds `Retry-After`."""
    match outcome:
        case Throttled(hold) | Failed(_, True, hold):
            return 0.0 if hold is not None else delay(attempt, random.random())  # noqa: S311 - jitter
        case _:
            return None


class _Source:
    """Gives each due shipment to one of those who ask."""

    def __init__(self, dues: AsyncIterator[DueShipment]) -> None:
        self._dues = dues
        self._turn = asyncio.Lock()

    async def next(self) -> DueShipment | None:
        async with self._turn:
            return await anext(self._dues, None)


async def ask_all(lanes: Sequence[CourierLoop], tools: AskingContext, tell: Tell) -> Ended:
    """Ask about everybody who is due now, all couriers side by side. A stop ends it soon."""
    now = datetime.now(UTC)
    due = {lane.courier: await tools.store.count(lane.courier, now, lane.since) for lane in lanes}

    def told() -> None:
        tell(Reached(sum(due.values()), sum((lane.count for lane in lanes), Count())))

    told()
    asking = together(*(lane.round(now, told) for lane in lanes))
    await until_stopped(asking, tools.stop)
    await tools.ledger.forget_final(now)
    return ended(lanes, due)


async def ask_one(lane: CourierLoop, due: DueShipment, tools: AskingContext) -> Ended:
    """Ask about one shipment."""

    async def only() -> AsyncGenerator[DueShipment, None]:
        yield due

    await until_stopped(lane.run(only(), lambda: None), tools.stop)
    return ended([lane], {lane.courier: 1})


def ended(lanes: Sequence[CourierLoop], due: Mapping[str, int]) -> Ended:
    """Sum a round up."""
    return Ended(
        {lane.courier: due.get(lane.courier, 0) for lane in lanes},
        {lane.courier: lane.count for lane in lanes},
        {lane.courier: lane.given_up for lane in lanes if lane.given_up},
    )


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all this side by side. The first that fails ends the others, and is raised as it is."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Do this work. After a stop it may go on for `DRAIN_SECONDS`."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait((task,), timeout=DRAIN_SECONDS)
        if task.done():
            task.result()
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)
