"""What the asking knows from PostgreSQL: who is due, who was asked, what is known."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from reconcile.errors import AlreadyAskingError
from reconcile.waiting import Standing
from runtime import postgres
from runtime.errors import UnreachableError
from runtime.holding import ANSWER_SECONDS, watched
from runtime.metrics import AskResult
from runtime.postgres import DATABASE_ERRORS, Connection, Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.observation import Observation
from schemas.stored_observation import readable
from schemas.vocabulary import Source

PAGE: Final = 500
"""Shipments that wait to be asked about, held in memory for each courier."""

MOST_COUNTED: Final = 10_000
"""Shipments that are counted of a courier, twice: with more it is enough to know that there are many."""

REQUESTS: Final = 100
"""Requests of operators about a courier's shipments that are looked at together: others follow."""

FORGET: Final = 5_000
"""Asks looked at in one statement: have their shipments ended?"""

CLOSE_SECONDS: Final = 1.0
"""How long a connection may take to say goodbye; then it is cut."""

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every shipment."""

_Q: Final = load_queries("reconcile")


class DueShipment(msgspec.Struct, frozen=True, kw_only=True):
    """A shipment to ask about. `silent_since`: when its newest event was recorded."""

    shipment_id: str
    courier: str
    reference: str
    status: str
    silent_since: datetime
    asked_at: datetime | None
    standing: Standing


class AskRequest(msgspec.Struct, frozen=True):
    """What an operator has asked for: that a courier is asked about a shipment now."""

    request: str
    shipment_id: str


class AskSelection(msgspec.Struct, frozen=True):
    """Whom to ask about: those of these couriers and this account that have been silent for so long, and rested."""

    couriers: tuple[str, ...]
    account: str | None
    stale_after: timedelta


class Store:
    """Reads. Every method takes a connection of the pool for its own time."""

    def __init__(self, pool: Pool, selection: AskSelection) -> None:
        """Keep the pool."""
        self._pool = pool
        self._selection = selection

    async def count(self, courier: str, now: datetime, since: datetime) -> int:
        """Return how many of a courier's shipments are due, as `due` does; at most twice `MOST_COUNTED`."""
        chosen = self._selection
        which = (courier, chosen.account, since, now - chosen.stale_after, now, MOST_COUNTED)
        async with self._pool.acquire() as connection:
            counted: int = await connection.fetchval(_Q["count_due"], *which)
        return counted

    async def due(self, courier: str, now: datetime, since: datetime) -> AsyncGenerator[DueShipment, None]:
        """Return a courier's shipments that are due at this time: those that have rested, then the others.

        The others are those whose newest event is of `since` or later: who has been silent since before was found by
        an earlier round, and rests.
        """
        async for row in self._pages("page_of_rested", "next_ask_at", courier, now, LONG_AGO, now):
            yield _due(row)
        hour = since.replace(minute=0, second=0, microsecond=0)
        async for row in self._pages("page_of_silent", "active_hour", courier, now, hour, since):
            yield _due(row)

    async def _pages(
        self, query: str, key: str, courier: str, now: datetime, first: datetime, *more: datetime
    ) -> AsyncGenerator[Any, None]:
        """Give the rows of a query whose `key` is `first` or later, in its order."""
        chosen = self._selection
        which = (courier, chosen.account, now - chosen.stale_after)
        behind: tuple[datetime, str] = (first, "")
        while True:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_Q[query], *which, *behind, *more, PAGE)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            behind = rows[-1][key], rows[-1]["shipment_id"]

    async def one(self, shipment_id: str) -> DueShipment | None:
        """Return a shipment of our account, due or not."""
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(_Q["one_shipment"], shipment_id, self._selection.account)
        return None if row is None else _due(row)

    async def requests(self, courier: str) -> list[AskRequest]:
        """Return what operators have asked for of a courier's shipments, the oldest first."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["waiting_requests"], courier, self._selection.account, REQUESTS)
        return [AskRequest(**row) for row in rows]

    async def known(self, shipment_id: str) -> list[Observation]:
        """Return the observations of a shipment that are kept, and what a full history has refused of answers.

        One that this version cannot read is left out: what is therefore appended again, the processor knows.
        """
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["known"], shipment_id)
        return [
            each
            for row in rows
            if (each := readable(row["shipment_id"], row["reading"], row["said"])) is not None
            and (row["kept"] or each.source is Source.PULL)
        ]


class AskLog:
    """Writes who is asked, over the connection that holds the lock: without the lock nobody can write."""

    def __init__(self, connection: Connection, account: str, stale_after: timedelta) -> None:
        """Keep the connection. `stale_after`: the shortest rest."""
        self._connection = connection
        self._account = account
        self._stale_after = stale_after
        self._turn = asyncio.Lock()

    async def is_held(self) -> bool:
        """Whether the lock is held still. A failover takes it away without a word."""
        async with self._turn:
            try:
                held: bool = await self._connection.fetchval(_Q["is_locked"], self._account, timeout=ANSWER_SECONDS)
            except DATABASE_ERRORS:
                return False
        return held

    async def claim(self, due: DueShipment, now: datetime) -> bool:
        """Note that a shipment is asked about now. False: it has moved meanwhile, nobody need ask.

        From here on it rests, whatever becomes of us: killed in the middle of the ask, nobody asks again before.
        """
        standing = due.standing
        values = (now, now + standing.rest(self._stale_after), standing.fruitless, standing.failures)
        async with self._turn:
            claimed = await self._connection.fetchval(_Q["claim"], due.shipment_id, due.silent_since, *values)
        return claimed is not None

    async def note(self, due: DueShipment, said: AskResult, now: datetime) -> None:
        """Note what came of an ask that ended now."""
        standing = due.standing.after(said)
        values = (now + standing.rest(self._stale_after), standing.fruitless, standing.failures, said.value)
        async with self._turn:
            await self._connection.execute(_Q["note_outcome"], due.shipment_id, *values)

    async def take_request(self, request: str, now: datetime) -> None:
        """Note that an operator's request is taken up."""
        async with self._turn:
            await self._connection.execute(_Q["take_request"], request, now)

    async def end_request(self, request: str, outcome: str, appended: int, detail: str | None, now: datetime) -> None:
        """Note what came of an operator's request."""
        async with self._turn:
            await self._connection.execute(_Q["end_request"], request, now, outcome, appended, detail)

    async def forget_requests(self, before: datetime) -> None:
        """Delete requests that ended before a moment, at most `FORGET` of them."""
        async with self._turn:
            await self._connection.execute(_Q["forget_requests"], before, FORGET)

    async def forget_final(self, now: datetime) -> None:
        """Delete what is known of asks about shipments that have ended, once their rest is over."""
        behind: tuple[datetime, str] = (LONG_AGO, "")
        while True:
            async with self._turn:
                last = await self._connection.fetchrow(_Q["forget_final"], now, *behind, FORGET)
            if last is None or last["looked_at"] < FORGET:
                return
            behind = last["next_ask_at"], last["shipment_id"]


@asynccontextmanager
async def open_ledger(settings: Settings, stale_after: timedelta) -> AsyncIterator[AskLog]:
    """Be the one asker of our account, and give the ledger.

    Raises:
        AlreadyAskingError: another process is.
        UnreachableError: the server does not answer, or cannot be used; or the lock was lost meanwhile.

    """
    connection = await postgres.connect(settings, "reconcile")
    try:
        account = settings.account or ""
        if not await connection.fetchval(_Q["lock"], account):
            raise AlreadyAskingError("another `waybill reconcile` is asking already")
        ledger = AskLog(connection, account, stale_after)
        lost = UnreachableError("the connection that kept a second `waybill reconcile` away was lost")
        async with watched(ledger.is_held, lost):
            yield ledger
    finally:
        await postgres.close(connection, CLOSE_SECONDS)


def _due(row: Any) -> DueShipment:
    return DueShipment(
        shipment_id=row["shipment_id"],
        courier=row["courier"],
        reference=row["courier_ref"],
        status=row["status"],
        silent_since=row["updated_at"],
        asked_at=row["asked_at"],
        standing=Standing(row["fruitless"], row["failures"]),
    )


async def is_asking(pool: Pool, account: str | None) -> bool:
    """Whether a process asks for an account now."""
    async with pool.acquire() as connection:
        asking: bool = await connection.fetchval(_Q["is_asking"], account or "")
    return asking
