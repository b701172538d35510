"""`/replays`: replays and redrives, how far each is, and the form of a new one."""

import msgspec

from console.page import ROWS, Asked, Context, Page
from operators.replay.jobs import Job, Mode, Status, newest
from schemas.times import format_time


class ReplaysQuery(msgspec.Struct, frozen=True):
    """The newest 50 jobs; there is nothing to narrow."""


class JobRow(msgspec.Struct, frozen=True):
    """A job. `standing` is its status; `waiting`, where the console has yet to take it up; `interrupted`.

    `records` were appended; of `offsets` so many are `left` to look through (of a redrive, of `letters`).
    """

    job: str
    mode: Mode
    standing: str
    detail: str | None
    operator: str
    created_at: str
    updated_at: str
    to_topic: str | None
    rate: int | None
    records: int
    passed_over: int
    left: int
    letters: int | None
    may_pause: bool
    may_resume: bool
    may_cancel: bool


class ReplayList(msgspec.Struct, frozen=True):
    """Jobs, newest first. `under_way`: some are being worked on, or wait for it."""

    jobs: tuple[JobRow, ...]
    under_way: bool


async def load(context: Context, _query: ReplaysQuery, _asked: Asked) -> ReplayList:
    """Return the newest jobs."""
    jobs = await newest(context.database.pool, ROWS)
    return ReplayList(tuple(map(row, jobs)), any(job.status is Status.RUNNING for job in jobs))


def row(job: Job) -> JobRow:
    """Return a job as it is shown."""
    ours = job.mode is not Mode.REDRIVE or job.background
    open_ = ours and job.status in {Status.RUNNING, Status.PAUSED, Status.FAILED}
    letters = job.selection.get("letters")
    return JobRow(
        job.job,
        job.mode,
        job.standing,
        job.detail,
        job.operator,
        format_time(job.created_at),
        format_time(job.updated_at),
        job.to_topic,
        job.rate,
        job.appended,
        job.passed_over,
        job.left,
        letters if isinstance(letters, int) else None,
        may_pause=ours and job.status is Status.RUNNING,
        may_resume=open_ and not job.alive and not job.waiting,
        may_cancel=open_,
    )


REPLAYS = Page(
    "replays",
    "/replays",
    "Replays",
    "Replays and redrives, newest first, and how far each is.",
    ReplaysQuery,
    ReplayList,
    load,
)
