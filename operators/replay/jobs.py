"""Replay jobs in PostgreSQL: what was asked for, how far it is, who works on it.

A job is worked on by the one process that holds its advisory lock; the lock goes with the process's session. Other
processes pause and cancel a job through its row.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from operators.replay.range import Selection, Stretch
from operators.shared.errors import OperatorError
from runtime.postgres import Connection, Pool, close, connect
from runtime.queries import load_queries
from runtime.settings import Settings

_Q: Final = load_queries("operators.replay")


class Mode(StrEnum):
    """What a job does with its records."""

    REPROCESS = "reprocess"
    REPUBLISH = "republish"
    REDRIVE = "redrive"


class Status(StrEnum):
    """How a job stands. One that is running without a process waits for a service, or was interrupted."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DONE = "done"


UNFINISHED: Final = (Status.RUNNING, Status.PAUSED, Status.FAILED)


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a replay was asked for: the selection, and what it came to when it began.

    `background`: a service works it off, and takes it up again.
    """

    range: Selection
    stretches: tuple[Stretch, ...]
    incarnations: dict[int, int]
    """By partition: of which log the offsets are."""
    background: bool = False

    @property
    def offsets(self) -> int:
        """How many offsets are to be looked through."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)


class Position(msgspec.Struct, frozen=True):
    """How far a job is in a partition."""

    partition: int
    next_offset: int
    until_offset: int
    appended: int
    passed_over: int


class Job(msgspec.Struct, frozen=True):
    """A job as its rows tell it. `alive`: a process works on it."""

    job: str
    mode: Mode
    selection: Mapping[str, Any]
    to_topic: str | None
    rate: int | None
    status: Status
    detail: str | None
    operator: str
    created_at: datetime
    updated_at: datetime
    alive: bool
    positions: tuple[Position, ...]

    @property
    def interrupted(self) -> bool:
        """Whether it should be running, is not, and nobody but its operator goes on with it."""
        return self.status is Status.RUNNING and not self.alive and not self.background

    @property
    def waiting(self) -> bool:
        """Whether a service has yet to take it up, for the first time or again."""
        return self.status is Status.RUNNING and not self.alive and self.background

    @property
    def standing(self) -> str:
        """How it stands, in a word: its status, or that it waits, or was interrupted."""
        return "waiting" if self.waiting else "interrupted" if self.interrupted else str(self.status)

    @property
    def background(self) -> bool:
        """Whether a service works it off, and takes it up again."""
        return self.selection.get("background") is True

    @property
    def appended(self) -> int:
        """Records appended or published so far."""
        return sum(position.appended for position in self.positions)

    @property
    def passed_over(self) -> int:
        """Records of the selection that were passed over so far."""
        return sum(position.passed_over for position in self.positions)

    @property
    def left(self) -> int:
        """Offsets not dealt with."""
        return sum(max(0, position.until_offset - position.next_offset) for position in self.positions)

    @property
    def asked(self) -> Asked:
        """What was asked for. Not for a redrive."""
        return msgspec.convert(self.selection, Asked, strict=False)


def new_name(now: datetime) -> str:
    """Name a job. Command ids begin with it, so it holds no slash."""
    return f"replay-{now:%Y%m%d}-{secrets.token_hex(4)}"


async def begin(
    connection: Connection,
    name: str,
    mode: Mode,
    asked: Asked,
    operator: str,
    *,
    to_topic: str | None = None,
    rate: int | None = None,
) -> bool:
    """Write a new job of this name, running. False: it was written before. Call it in a transaction."""
    now = datetime.now(UTC)
    selection = msgspec.json.encode(asked).decode()
    begun = await connection.fetchval(_Q["begin_replay"], name, mode, selection, to_topic, rate, operator, now)
    if begun is None:
        return False
    await connection.execute(
        _Q["begin_positions"],
        name,
        [stretch.partition for stretch in asked.stretches],
        [stretch.start for stretch in asked.stretches],
        [stretch.end for stretch in asked.stretches],
    )
    return True


async def find(pool: Pool, job: str) -> Job:
    """Return a job.

    Raises:
        OperatorError: there is none of this name.

    """
    async with pool.acquire() as connection:
        row = await connection.fetchrow(_Q["replay_job"], job)
        if row is None:
            raise OperatorError(f"no job is called {job!r}: `waybill replay list` shows them")
        (found,) = await _jobs(connection, [row])
    return found


async def newest(pool: Pool, limit: int) -> list[Job]:
    """Return the newest jobs, newest first."""
    async with pool.acquire() as connection:
        return await _jobs(connection, await connection.fetch(_Q["replay_jobs"], limit))


async def outcomes(pool: Pool, job: str) -> dict[str, int]:
    """Return what came of the records that a job appended, as far as they are applied."""
    async with pool.acquire() as connection:
        return {row["outcome"]: row["records"] for row in await connection.fetch(_Q["replay_outcomes"], job)}


async def status_of(connection: Connection, job: str) -> Status:
    """Return how a job stands."""
    return Status(await connection.fetchval(_Q["replay_status"], job))


async def move(connection: Connection, job: str, to: Status, *before: Status, detail: str | None = None) -> bool:
    """Bring a job from one of some states into another. False: it was in none of them."""
    moved = await connection.fetchval(_Q["move_replay"], job, to, detail, datetime.now(UTC), list(before))
    return moved is not None


async def in_background(pool: Pool, limit: int) -> list[str]:
    """Name the jobs that a service is to work off, in the order they were asked for."""
    async with pool.acquire() as connection:
        return [row["job"] for row in await connection.fetch(_Q["background_jobs"], limit)]


async def to_background(connection: Connection, job: str) -> bool:
    """Have a job that has not ended worked off by a service. False: it has ended."""
    moved = await connection.fetchval(_Q["resume_in_background"], job, datetime.now(UTC), list(UNFINISHED))
    return moved is not None


class Runner:
    """The one process that works on a job. Its session is the one that holds the lock: if it goes, so does the work."""

    def __init__(self, job: str, connection: Connection) -> None:
        """Keep the connection, which holds the job's lock."""
        self.job = job
        self._connection = connection
        self._busy = asyncio.Lock()

    async def status(self) -> Status:
        """Return how the job stands."""
        async with self._busy:
            return await status_of(self._connection, self.job)

    async def advance(self, partition: int, next_offset: int, appended: int, passed_over: int) -> None:
        """Note that everything before `next_offset` is dealt with."""
        await self._note("advance_replay", partition, next_offset, appended, passed_over)

    async def place(self, partition: int, next_offset: int, published: int) -> None:
        """Note the same, where `published` counts everything since the job began."""
        await self._note("place_replay", partition, next_offset, published)

    async def move(self, to: Status, detail: str | None = None) -> bool:
        """End the work on a running job. False: another process has moved it already."""
        async with self._busy:
            return await move(self._connection, self.job, to, Status.RUNNING, detail=detail)

    async def _note(self, query: str, *values: int) -> None:
        async with self._busy:
            await self._connection.execute(_Q[query], self.job, datetime.now(UTC), *values)


@asynccontextmanager
async def taken(settings: Settings, job: str) -> AsyncIterator[Runner]:
    """Take a job for this process.

    Raises:
        OperatorError: another process works on it.

    """
    connection = await connect(settings, "replay")
    try:
        if not await connection.fetchval(_Q["take_replay"], job):
            raise OperatorError(f"another process works on {job}: `waybill replay pause {job}` ends it")
        yield Runner(job, connection)
    finally:
        await close(connection)


async def _jobs(connection: Connection, rows: Sequence[Any]) -> list[Job]:
    names = [row["job"] for row in rows]
    positions: dict[str, list[Position]] = {name: [] for name in names}
    for job, *values in await connection.fetch(_Q["replay_positions"], names):
        positions[job].append(Position(*values))
    alive = {row["job"] for row in await connection.fetch(_Q["taken_replays"], names)}
    return [_job(row, tuple(positions[row["job"]]), alive=row["job"] in alive) for row in rows]


def _job(row: Any, positions: tuple[Position, ...], *, alive: bool) -> Job:
    values = dict(row)
    values["mode"], values["status"] = Mode(row["mode"]), Status(row["status"])
    values["selection"] = msgspec.json.decode(row["selection"])
    return Job(**values, alive=alive, positions=positions)
