"""What webhooks left out: which never came, how late they are, which shipments an answer has healed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import msgspec
import structlog

from reconcile.errors import TooLongError
from reconcile.told import Healed, Lateness, StatusCount, Told
from runtime.metrics import LATENESS_QUANTILES, ReconcileMetrics
from runtime.postgres import Connection, Pool
from runtime.queries import load_queries
from schemas.events import Event
from schemas.stored_event import EventRow, read_event
from schemas.stored_form import UNREADABLE
from schemas.stored_observation import readable
from schemas.vocabulary import Source

REPORT_SECONDS: Final = 28.0
"""How long a range may take to be read; PostgreSQL itself ends a transaction after 30."""

ROWS: Final = 2_000
"""Observations, or shipments, read at once: some milliseconds to decode, and the loop is free in between."""

WATCH: Final = timedelta(minutes=1)
"""How often the metrics are read from the database."""

LATENESS_SPAN: Final = timedelta(minutes=5)
"""Over how long the metric of lateness looks: at a thousand webhooks a second a second or two of work."""

_Q: Final = load_queries("reconcile")

log = structlog.get_logger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What was recorded from `since` up to `until`."""

    since: datetime
    until: datetime
    statuses: tuple[StatusCount, ...]
    lateness: tuple[Lateness, ...]
    healed: tuple[Healed, ...]


async def report(pool: Pool, since: datetime, until: datetime) -> Report:
    """Read the report of a range.

    Raises:
        TooLongError: it takes too long.

    """
    async with _in_time(), pool.acquire() as connection:
        told = await _recorded(connection, since, until)
        names = told.only_pulled()
        while page := list(islice(names, ROWS)):
            for row in await connection.fetch(_Q["told_ever"], page):
                if (said := readable(row["shipment_id"], row["reading"], row["said"])) is not None:
                    told.add_webhook(said)
    return Report(since, until, told.statuses(), told.lateness(), told.healed())


async def lateness(pool: Pool, since: datetime, until: datetime) -> tuple[Lateness, ...]:
    """Say how late the webhooks recorded in a range were, by courier. Raises as `report` does."""
    async with _in_time(), pool.acquire() as connection:
        return (await _recorded(connection, since, until)).lateness()


async def _recorded(connection: Connection, since: datetime, until: datetime) -> Told:
    """Add up what was recorded in a range. What this version cannot read is passed over."""
    told = Told()
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(_Q["recorded"], since, until, prefetch=ROWS):
            said = readable(row["shipment_id"], row["reading"], row["said"])
            if said is not None:
                told.add(said, kept=row["kept"], event=_event(row) if said.source is Source.PULL else None)
    return told


def _event(row: Any) -> Event | None:
    """Return the event that an observation gave; None too where an older version has stored it, elsewhere."""
    if row["event"] is None:
        return None
    stands = EventRow(row["shipment_id"], row["version"], row["root_partition"], row["root_offset"])
    try:
        return read_event(row["event"], stands)
    except UNREADABLE:
        return None


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(REPORT_SECONDS):
            yield
    except TimeoutError as error:
        raise TooLongError(f"the range cannot be read within {REPORT_SECONDS:.0f} s: take a shorter one") from error


class Watch:
    """Keeps the metrics of drift: what was recorded since the last look is added."""

    def __init__(self, pool: Pool, metrics: ReconcileMetrics, since: datetime) -> None:
        """Count from `since` on."""
        self._pool = pool
        self._metrics = metrics
        self._seen_until = since

    async def look(self, now: datetime) -> None:
        """Look, if it is time."""
        if now - self._seen_until < WATCH:
            return
        since, self._seen_until = self._seen_until, now
        try:
            await self._add(await report(self._pool, since, now), now)
        except TooLongError as error:
            log.warning("drift not counted", reason=str(error))

    async def _add(self, found: Report, now: datetime) -> None:
        for each in found.healed:
            self._metrics.healed.labels(each.courier).inc(each.shipments)
        for told in found.statuses:
            self._metrics.only_by_pull.labels(told.courier, told.status).inc(told.only_by_pull)
        for late in await lateness(self._pool, now - LATENESS_SPAN, now):
            for quantile, seconds in zip(LATENESS_QUANTILES, (late.p50, late.p90, late.p99), strict=True):
                self._metrics.webhook_lateness.labels(late.courier, quantile).set(seconds)
