"""`/`: what needs attention. Each part stands by itself: where one cannot be looked at, it says why."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import msgspec

from console.looks import Seen
from console.page import Asked, Context, Page
from console.pages.couriers import NoQuery
from operators.decisions.anomalies import Standing
from operators.doctor.cursors import WAITING
from operators.doctor.finding import FAILURES, Finding, Level
from operators.replay.jobs import UNFINISHED, Job, Mode, Status
from operators.replay.jobs import newest as newest_jobs
from operators.views.attention import FailedCount, LastWebhook, SilentCount, failed, last_webhooks, silent
from operators.views.lag import Lag
from schemas.times import format_time
from schemas.vocabulary import AnomalyKind

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)

FAILED_WITHIN: Final = timedelta(days=1)
"""How long ago a shipment may have ended as FAILED to be counted."""

NEWEST_JOBS: Final = 50
"""Jobs among which those under way are looked for: a job is an hour's work, not a minute's."""


class Part(msgspec.Struct, Generic[T_co], frozen=True):
    """A part of the page; `found` is null where `trouble` says why it could not be looked at.

    `under_way`: it is still being found out. `at` is when it was.
    """

    found: T_co | None
    trouble: str | None = None
    under_way: bool = False
    at: str | None = None


class PartitionTrouble(msgspec.Struct, frozen=True):
    """A partition that stands still, or is far behind: why, and what mends it or tells more."""

    partition: int
    halted: bool
    why: str
    mend: str


class AnomalyCount(msgspec.Struct, frozen=True):
    """Open anomalies of one courier and kind."""

    courier: str
    kind: AnomalyKind
    open: int


class AnomalyCounts(msgspec.Struct, frozen=True):
    """Open anomalies. `there_are_more`: not all that are stored were looked at."""

    counts: tuple[AnomalyCount, ...]
    there_are_more: bool


class LetterCount(msgspec.Struct, frozen=True):
    """Open dead letters of one reason and courier, among the newest; null where the record names none."""

    reason: str
    courier: str | None
    open: int


class JobUnderWay(msgspec.Struct, frozen=True):
    """A replay or redrive that has not ended. `interrupted`: it should be running, and no process works on it."""

    job: str
    mode: Mode
    status: Status
    interrupted: bool
    detail: str | None
    operator: str
    created_at: str
    appended: int
    left: int


class Attention(msgspec.Struct, frozen=True):
    """What needs attention. `nothing_to_do`: everything could be looked at, and nothing does.

    FAILED shipments, couriers' last webhooks and jobs that run are shown, and are nothing to do by themselves.
    `findings` are those that are not ok.
    """

    nothing_to_do: bool
    stale_for: str
    findings: Part[tuple[Finding, ...]]
    partitions: Part[tuple[PartitionTrouble, ...]]
    dead_letters: Part[tuple[LetterCount, ...]]
    anomalies: Part[AnomalyCounts]
    silent: Part[tuple[SilentCount, ...]]
    failed: Part[tuple[FailedCount, ...]]
    last_webhooks: Part[tuple[LastWebhook, ...]]
    jobs: Part[tuple[JobUnderWay, ...]]


async def load(context: Context, _query: NoQuery, _asked: Asked) -> Attention:
    """Return what needs attention."""
    looks, now = context.looks, datetime.now(UTC)
    since = now - context.settings.reconcile_stale_after
    async with asyncio.TaskGroup() as group:
        findings = group.create_task(looks.findings.latest())
        halted = group.create_task(looks.halted.latest())
        lag = group.create_task(looks.lag.latest())
        anomalies = group.create_task(looks.anomalies.latest())
        letters = group.create_task(looks.letters.latest())
        silent_ = group.create_task(_part(_silent(context, since)))
        failed_ = group.create_task(_part(_failed(context, now - FAILED_WITHIN)))
        webhooks = group.create_task(_part(_last_webhooks(context)))
        jobs = group.create_task(_part(_jobs(context)))
    return judged(
        stale_after=context.settings.reconcile_stale_after,
        findings=_seen(findings.result(), lambda all_: tuple(each for each in all_ if each.level is not Level.OK)),
        partitions=troubled(halted.result(), lag.result()),
        dead_letters=_seen(letters.result(), letter_counts),
        anomalies=_seen(anomalies.result(), lambda told: _counted(*told)),
        silent=silent_.result(),
        failed=failed_.result(),
        last_webhooks=webhooks.result(),
        jobs=jobs.result(),
    )


def judged(
    *,
    stale_after: timedelta,
    findings: Part[tuple[Finding, ...]],
    partitions: Part[tuple[PartitionTrouble, ...]],
    dead_letters: Part[tuple[LetterCount, ...]],
    anomalies: Part[AnomalyCounts],
    silent: Part[tuple[SilentCount, ...]],
    failed: Part[tuple[FailedCount, ...]],
    last_webhooks: Part[tuple[LastWebhook, ...]],
    jobs: Part[tuple[JobUnderWay, ...]],
) -> Attention:
    """Return the page of its parts, and whether there is anything to do."""
    looked_at: tuple[Part[object], ...] = (
        findings, partitions, dead_letters, anomalies, silent, failed, last_webhooks, jobs,
    )  # fmt: skip
    to_do = (
        any(each.trouble or each.found is None for each in looked_at)
        or findings.found
        or partitions.found
        or dead_letters.found
        or (anomalies.found and anomalies.found.counts)
        or silent.found
        or any(each.interrupted or each.status is Status.FAILED for each in jobs.found or ())
    )
    return Attention(
        nothing_to_do=not to_do,
        stale_for=length(stale_after),
        findings=findings,
        partitions=partitions,
        dead_letters=dead_letters,
        anomalies=anomalies,
        silent=silent,
        failed=failed,
        last_webhooks=last_webhooks,
        jobs=jobs,
    )


def length(span: timedelta) -> str:
    """Write a duration as settings and filters take it: `6h`."""
    seconds = span.total_seconds()
    for unit, each in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= each and seconds % each == 0:
            return f"{seconds / each:.0f}{unit}"
    return f"{seconds:g}s"


def troubled(halted: Seen[Mapping[int, str]], lag: Seen[list[Lag]]) -> Part[tuple[PartitionTrouble, ...]]:
    """Return the partitions that need a recovery, and those of which the oldest waiting record is too old."""
    found = [
        PartitionTrouble(partition, halted=True, why=why, mend="waybill recover")
        for partition, why in sorted((halted.found or {}).items())
    ]
    still = {each.partition for each in found}
    for each in lag.found or ():
        if each.partition not in still and (each.oldest_seconds or 0) > WAITING.total_seconds():
            age = timedelta(seconds=round(each.oldest_seconds or 0))
            why = f"{each.behind} records wait, the oldest for {age}"
            found.append(PartitionTrouble(each.partition, halted=False, why=why, mend="waybill lag"))
    known = halted.found is not None and lag.found is not None
    times = [each for each in (halted.at, lag.at) if each is not None]
    return Part(
        tuple(found) if known or found else None,
        halted.trouble or lag.trouble,
        halted.under_way or lag.under_way,
        format_time(min(times)) if times else None,
    )


def job_under_way(job: Job) -> JobUnderWay:
    """Return a job as it is shown."""
    return JobUnderWay(
        job.job,
        job.mode,
        job.status,
        job.interrupted and job.mode is not Mode.REDRIVE,
        job.detail,
        job.operator,
        format_time(job.created_at),
        job.appended,
        job.left,
    )


def letter_counts(counts: Mapping[tuple[str, str], int]) -> tuple[LetterCount, ...]:
    """Return open dead letters by reason and courier, most first."""
    listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LetterCount(reason, courier or None, count) for (reason, courier), count in listed)


def _counted(standing: Sequence[Standing], more: bool) -> AnomalyCounts:
    counts = Counter((each.anomaly.courier, each.anomaly.kind) for each in standing)
    listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return AnomalyCounts(tuple(AnomalyCount(courier, kind, count) for (courier, kind), count in listed), more)


def _seen(seen: Seen[T], show: Callable[[T], U]) -> Part[U]:
    at = None if seen.at is None else format_time(seen.at)
    return Part(None if seen.found is None else show(seen.found), seen.trouble, seen.under_way, at)


async def _part(looking: Awaitable[T]) -> Part[T]:
    try:
        return Part(await looking)
    except FAILURES as error:
        return Part(None, (str(error) or repr(error)).splitlines()[0])


async def _silent(context: Context, since: datetime) -> tuple[SilentCount, ...]:
    async with context.database.pool.acquire() as connection:
        return tuple(await silent(connection, since))


async def _failed(context: Context, since: datetime) -> tuple[FailedCount, ...]:
    async with context.database.pool.acquire() as connection:
        return tuple(await failed(connection, since))


async def _last_webhooks(context: Context) -> tuple[LastWebhook, ...]:
    async with context.database.pool.acquire() as connection:
        return tuple(await last_webhooks(connection))


async def _jobs(context: Context) -> tuple[JobUnderWay, ...]:
    return under_way(await newest_jobs(context.database.pool, NEWEST_JOBS))


def under_way(jobs: Iterable[Job]) -> tuple[JobUnderWay, ...]:
    """Return those of jobs that have not ended. A redrive that failed has: a new one goes on."""
    unfinished = [each for each in jobs if each.status in UNFINISHED]
    ended = [each for each in unfinished if each.status is Status.FAILED and each.mode is Mode.REDRIVE]
    return tuple(job_under_way(each) for each in unfinished if each not in ended)


ATTENTION = Page(
    "attention",
    "/",
    "Needs attention",
    "What needs attention: findings, partitions, dead letters, anomalies, silent shipments, jobs.",
    NoQuery,
    Attention,
    load,
)
