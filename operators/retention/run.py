"""What is kept no longer: the history of silent shipments, old dead letters, what jobs have left.

Shipments are retired by the partition's worker, from a decision appended for each; the rest nobody applies to any more
and is deleted here, some rows a transaction. Everything may be killed and run again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from operators.retention.limits import Limits, Oldest
from operators.shared.appending import decision_record
from operators.shared.errors import OperatorError
from operators.shared.operator_log import note, write_down
from operators.shared.outcomes import outcomes
from runtime.appending import Appender
from runtime.locks import LockNumber
from runtime.postgres import Connection, Pool, fetch_one
from runtime.queries import load_queries
from schemas.observation import Retire
from schemas.times import format_time

PAGE: Final = 500
"""Shipments retired, or rows deleted, together: a few milliseconds of a lock that a batch may wait for."""

WALK: Final = 2_000
"""Shipments, or command ids, looked at in one statement while walking through a whole table."""

COUNT_SECONDS: Final = 600.0
"""How long silent shipments may take to be counted: a second for each few million, minutes where their pages have to be
read because no vacuum has been there. It only reads."""

LOCK: Final = LockNumber.RETENTION
"""One run of retention at a time."""

_START: Final = datetime.min.replace(tzinfo=UTC)
_Q: Final = load_queries("operators.retention")
Say = Callable[[str], None]


class Count(msgspec.Struct, frozen=True):
    """How much is to go, or went. `spared` shipments had something new, or were not applied yet."""

    shipments: int = 0
    spared: int = 0
    dead_letters: int = 0
    observations: int = 0
    anomalies: int = 0
    commands: int = 0
    jobs: int = 0


async def survey(pool: Pool, old: Limits, oldest: Oldest, limit: int | None) -> Count:
    """Count what would go."""
    async with pool.acquire() as connection:
        silent = await _silent(connection, old)
        letters = await connection.fetchval(
            _Q["count_old_dead_letters"], oldest.partitions, oldest.written, old.dead_letters
        )
        jobs = await connection.fetchval(_Q["count_old_jobs"], old.jobs)
    strays = [each async for each in _strays(pool, old.silent_since)]
    async with pool.acquire() as connection:
        stray = await fetch_one(connection, _Q["count_strays"], [name for name, _ in strays])
    commands = 0
    async for page in _command_pages(pool):
        async with pool.acquire() as connection:
            commands += await connection.fetchval(_Q["count_commands"], *page, old.jobs)
    return Count(
        shipments=silent if limit is None else min(silent, limit),
        dead_letters=letters,
        observations=stray["observations"],
        anomalies=stray["anomalies"],
        commands=commands,
        jobs=jobs,
    )


async def _silent(connection: Connection, old: Limits) -> int:
    """Count the shipments that would be retired."""
    kinds = {"count_silent": old.silent_since, "count_silent_unfinished": old.unfinished_since}
    async with connection.transaction(readonly=True):
        await connection.execute("set local transaction_timeout = 0")
        return sum(
            [await connection.fetchval(_Q[query], since, timeout=COUNT_SECONDS) for query, since in kinds.items()]
        )


class _Kind(msgspec.Struct, frozen=True):
    """Shipments that are retired alike: how they are found, and since when they are silent."""

    query: str
    since: datetime
    unfinished: bool = False


class Retention:
    """One run, by one operator."""

    def __init__(self, pool: Pool, appender: Appender, old: Limits, oldest: Oldest, operator: str) -> None:
        """Keep the clients; `run` does the work."""
        self._pool = pool
        self._appender = appender
        self._old = old
        self._oldest = oldest
        self._operator = operator

    async def run(self, limit: int | None, rate: int | None, say: Say) -> Count:
        """Let go what is old: at most `limit` shipments, `rate` of them a second.

        Raises:
            OperatorError: no processor retires the shipments.

        """
        started = {"limit": limit, "rate": rate, "silent_since": format_time(self._old.silent_since)}
        async with self._pool.acquire() as connection:
            await note(connection, self._operator, "retention", started)
        done = await self._retire(Count(), _Kind("silent_shipments", self._old.silent_since), limit, rate, say)
        unfinished = _Kind("silent_unfinished", self._old.unfinished_since, unfinished=True)
        done = await self._retire(done, unfinished, limit, rate, say)
        done = msgspec.structs.replace(done, dead_letters=await self._dead_letters())
        observations, anomalies = await self._forget_strays()
        commands, jobs = await self._forget_jobs()
        done = msgspec.structs.replace(
            done, observations=observations, anomalies=anomalies, commands=commands, jobs=jobs
        )
        async with self._pool.acquire() as connection:
            await note(connection, self._operator, "retention done", msgspec.to_builtins(done))
        return done

    async def _retire(self, done: Count, kind: _Kind, limit: int | None, rate: int | None, say: Say) -> Count:
        """Have shipments of a kind retired, hour by hour, the longest silent first; add them to what is done."""
        behind: tuple[datetime, str] = (_START, "")
        clock = asyncio.get_running_loop()
        due = clock.time()
        while limit is None or done.shipments + done.spared < limit:
            size = min(PAGE, rate or PAGE, PAGE if limit is None else limit - done.shipments - done.spared)
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_Q[kind.query], kind.since, *behind, size)
            if not rows:
                break
            behind = rows[-1]["active_hour"], rows[-1]["shipment_id"]
            await asyncio.sleep(max(0.0, due - clock.time()))
            due = clock.time() + (len(rows) / rate if rate else 0.0)
            retired = await self._retire_page(rows, kind)
            done = msgspec.structs.replace(
                done, shipments=done.shipments + retired, spared=done.spared + len(rows) - retired
            )
            say(f"{done.shipments} shipments retired")
        return done

    async def _retire_page(self, rows: list[Any], kind: _Kind) -> int:
        commands = {f"retire/{row['shipment_id']}/{format_time(row['updated_at'])}": row for row in rows}
        decided = [(name, self._decision(row, kind)) for name, row in commands.items()]
        async with self._pool.acquire() as connection:
            await write_down(connection, "retention retire", decided)
        now = datetime.now(UTC)
        await self._appender.append(
            [
                decision_record(decision, commands[name]["courier"], commands[name]["account"], name, now)
                for name, decision in decided
            ]
        )
        applied = await outcomes(self._pool, list(commands))
        if len(applied) < len(commands):
            raise OperatorError(
                f"{len(commands) - len(applied)} shipments are not retired yet: that is done as soon as a processor "
                "runs; then run this again"
            )
        async with self._pool.acquire() as connection:
            retired: int = await connection.fetchval(_Q["count_retired"], [row["shipment_id"] for row in rows])
        return retired

    def _decision(self, row: Any, kind: _Kind) -> Retire:
        return Retire(
            shipment_id=row["shipment_id"],
            by=self._operator,
            reason=f"silent since {format_time(row['updated_at'])}",
            silent_since=kind.since,
            unfinished=kind.unfinished,
        )

    async def _dead_letters(self) -> int:
        """Delete the dead letters that their topic holds no longer, and what was decided on them."""
        if self._old.dead_letters is None:
            return 0
        oldest = self._oldest
        deleted = await self._repeat(
            "delete_old_dead_letters", oldest.partitions, oldest.written, self._old.dead_letters
        )
        await self._repeat("delete_old_letter_decisions", self._old.dead_letters)
        return deleted

    async def _forget_strays(self) -> tuple[int, int]:
        """Delete what was said long ago about shipments that never got a row."""
        observations = anomalies = 0
        async for name, partitions in _strays(self._pool, self._old.silent_since):
            async with self._pool.acquire() as connection, connection.transaction():
                observations += await self._forget_stray(connection, name, partitions)
                anomalies += await connection.fetchval(_Q["delete_stray_anomalies"], name, self._old.silent_since)
        return observations, anomalies

    async def _forget_stray(self, connection: Connection, name: str, partitions: list[int]) -> int:
        # While the cursors are held no worker can give the shipment a row.
        await connection.execute(_Q["hold_cursors"], sorted(partitions))
        deleted: int = await connection.fetchval(_Q["delete_stray_observations"], name, self._old.silent_since)
        return deleted

    async def _forget_jobs(self) -> tuple[int, int]:
        commands = 0
        async for page in _command_pages(self._pool):
            async with self._pool.acquire() as connection:
                commands += await connection.fetchval(_Q["delete_old_commands"], *page, self._old.jobs)
        return commands, await self._repeat("delete_old_jobs", self._old.jobs)

    async def _repeat(self, query: str, *which: Any) -> int:
        """Delete some rows at a time until none is left."""
        deleted = 0
        while True:
            async with self._pool.acquire() as connection:
                count: int = await connection.fetchval(_Q[query], *which, PAGE)
            deleted += count
            if count < PAGE:
                return deleted


async def _strays(pool: Pool, before: datetime) -> AsyncIterator[tuple[str, list[int]]]:
    """Return shipments that have observations, the newest recorded before, and no row; each with its partitions."""
    after = ""
    while True:
        async with pool.acquire() as connection:
            rows = await connection.fetch(_Q["page_of_observed"], after, WALK)
            strays = [row["shipment_id"] for row in rows if row["is_stray"]]
            found = await connection.fetch(_Q["old_strays"], strays, before) if strays else []
        for row in found:
            yield row["shipment_id"], row["partitions"]
        if len(rows) < WALK:
            return
        after = rows[-1]["shipment_id"]


async def _command_pages(pool: Pool) -> AsyncIterator[tuple[str, str]]:
    """Return ranges of command ids, each of at most `WALK`."""
    after = ""
    while True:
        async with pool.acquire() as connection:
            last = await connection.fetchval(_Q["end_of_commands"], after, WALK)
        if last is None:
            return
        yield after, last
        after = last
