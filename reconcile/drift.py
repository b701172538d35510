"""What webhooks left out: which never came, how late they are, which shipments an answer has healed."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from reconcile.errors import TooLongError
from runtime.metrics import ReconcileMetrics
from runtime.postgres import Pool
from runtime.queries import load_queries

REPORT_SECONDS: Final = 28.0
"""How long one of the report's statements may take; PostgreSQL itself ends a transaction after 30."""

QUANTILES: Final = (0.5, 0.9, 0.99)

WATCH: Final = timedelta(minutes=1)
"""How often the metrics are read from the database."""

LATENESS_SPAN: Final = timedelta(minutes=5)
"""Over how long the metric of lateness looks: at a thousand webhooks a second a second's work for PostgreSQL."""

_Q: Final = load_queries("reconcile")

log = structlog.get_logger(__name__)


class StatusCount(msgspec.Struct, frozen=True):
    """Shipments seen in a status. `only_by_pull`: for so many of them no webhook told it."""

    courier: str
    status: str
    shipments: int
    only_by_pull: int


class Lateness(msgspec.Struct, frozen=True):
    """How many seconds after the event webhooks came: half, 90 and 99 of a hundred within so many."""

    courier: str
    webhooks: int
    p50: float
    p90: float
    p99: float


class Healed(msgspec.Struct, frozen=True):
    """Shipments whose status an answer has moved."""

    courier: str
    shipments: int


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
    return Report(
        since,
        until,
        tuple(StatusCount(**row) for row in await _rows(pool, "told_how", since, until)),
        await lateness(pool, since, until),
        await healed(pool, since, until),
    )


async def lateness(pool: Pool, since: datetime, until: datetime) -> tuple[Lateness, ...]:
    """Say how late the webhooks recorded in a range were, by courier."""
    return tuple(
        Lateness(row["courier"], row["webhooks"], *(round(seconds, 3) for seconds in row["percentiles"]))
        for row in await _rows(pool, "lateness", since, until)
    )


async def healed(pool: Pool, since: datetime, until: datetime) -> tuple[Healed, ...]:
    """Count the shipments healed in a range, by courier."""
    return tuple(Healed(**row) for row in await _rows(pool, "healed", since, until))


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
            for quantile, seconds in zip(QUANTILES, (late.p50, late.p90, late.p99), strict=True):
                self._metrics.webhook_lateness.labels(late.courier, quantile).set(seconds)


async def _rows(pool: Pool, query: str, since: datetime, until: datetime) -> list[Any]:
    try:
        async with pool.acquire() as connection:
            rows: list[Any] = await connection.fetch(_Q[query], since, until, timeout=REPORT_SECONDS)
    except TimeoutError as error:
        raise TooLongError(f"the range cannot be read within {REPORT_SECONDS:.0f} s: take a shorter one") from error
    return rows
