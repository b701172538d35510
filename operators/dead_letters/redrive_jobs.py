"""Redrives that a service works off: what was asked for stands in the job's row, so that any process may go on with it.

The letters are chosen anew whenever one is taken up: of what was asked for, those that are still open or not applied
yet, and were dead when it was asked for. One that came back is a newer letter, and not tried again.
"""

from datetime import UTC, datetime

import msgspec

from operators.dead_letters.letters import LetterSelection
from operators.dead_letters.redrive import LOCK, Chosen, Redrive, Redriven, choose, new_name
from operators.replay.jobs import Job, Runner, Status, find, outcomes, taken
from operators.replay.reprocess import marked
from operators.shared.locking import alone
from operators.shared.operator_log import note
from runtime.appending import open_appender
from runtime.postgres import Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.records import coordinates

MAX_FAILURE_RATIO = 0.5
"""The share of letters that may come back until a redrive stops, as `waybill dlq redrive` has it."""

_Q = load_queries("operators.dead_letters")


class RedriveAsked(msgspec.Struct, frozen=True):
    """What a redrive was asked for: the letters that a filter chooses, `letters` of them, dead `until` then."""

    names: tuple[str, ...]
    reasons: tuple[str, ...]
    couriers: tuple[str, ...]
    since: datetime | None
    until: datetime
    letters: int
    max_failure_ratio: float = MAX_FAILURE_RATIO
    background: bool = True

    @property
    def selection(self) -> LetterSelection:
        """The filter."""
        return LetterSelection(self.names, self.reasons, self.couriers, self.since)


async def chosen_until(pool: Pool, selection: LetterSelection, until: datetime) -> Chosen:
    """Return what is to be redriven of the letters that were dead by then."""
    chosen = await choose(pool, selection, None)
    return Chosen(tuple(each for each in chosen.letters if each.recorded_at <= until), chosen.passed)


async def queue(
    pool: Pool,
    selection: LetterSelection,
    until: datetime,
    letters: int,
    operator: str,
    why: str,
    name: str | None = None,
) -> str:
    """Write a new job, which a service works off; return its name.

    Asked for twice by one `name`, it is written once.
    """
    job = name or new_name()
    asked = RedriveAsked(selection.names, selection.reasons, selection.couriers, selection.since, until, letters)
    text = msgspec.json.encode(asked).decode()
    detail = {"job": job, "letters": letters, "why": why, **msgspec.to_builtins(selection)}
    async with pool.acquire() as connection, connection.transaction():
        if await connection.fetchval(_Q["queue_redrive"], job, text, operator, datetime.now(UTC)) is None:
            return job
        await note(connection, operator, "dlq redrive", detail)
    return job


async def work(settings: Settings, pool: Pool, name: str) -> Redriven | None:
    """Work on a job until it is done, or another process pauses or cancels it. None: it was ended before.

    Raises:
        OperatorError: another process works on it, or on another redrive, or it fails.
        UnreachableError: the brokers take nothing; the job is marked as failed.

    """
    async with alone(pool, LOCK, "redrive"), taken(settings, name) as runner:
        job = await find(pool, name)
        if job.status is not Status.RUNNING:
            return None
        async with marked(runner):
            return await _redrive(settings, pool, job, runner)


async def _redrive(settings: Settings, pool: Pool, job: Job, runner: Runner) -> Redriven:
    asked = msgspec.convert(job.selection, RedriveAsked, strict=False)
    found = await chosen_until(pool, asked.selection, asked.until)
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["roots_redriven"], job.job)
    applied = {coordinates(row["root"]) for row in rows}
    # What was appended and is not applied yet is redriven again, under the same command ids.
    chosen = Chosen(tuple(each for each in found.letters if each.root[1:] not in applied), found.passed)
    done = Redriven(job.job, len(applied) + len(chosen.letters), len(applied), await outcomes(pool, job.job))

    async def goes_on() -> bool:
        return await runner.status() is Status.RUNNING

    async with open_appender(settings) as appender:
        run = Redrive(pool, appender, settings.assumed_zone, job.operator, job.job, applied)
        return await run.go_on(chosen, done, asked.max_failure_ratio, lambda _said: None, goes_on)
