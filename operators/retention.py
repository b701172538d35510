"""What is kept no longer: the history of silent shipments, old dead letters, what jobs have left.

Shipments are retired by the partition's worker, from a decision appended for each; the rest nobody applies to any more
and is deleted here, some rows a transaction. Everything may be killed and run again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from operators.shared.appending import decision_record
from operators.shared.errors import OperatorError
from operators.shared.operator_log import note, write_down
from operators.shared.outcomes import outcomes
from operators.shared.topic_retention import retentions
from runtime import kafka
from runtime.appending import Appender
from runtime.errors import UnreachableError
from runtime.postgres import Connection, Pool, fetch_one
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.observation import Retire
from schemas.records import header_texts
from schemas.times import format_time, moment_of, read_time
from schemas.topics import Topic

PAGE: Final = 500
"""Shipments retired, or rows deleted, together: a few milliseconds of a lock that a batch may wait for."""

WALK: Final = 2_000
"""Shipments, or command ids, looked at in one statement while walking through a whole table."""

LOCK: Final = 0x7761_7962_0002
"""PostgreSQL's advisory lock of the one run of retention."""

READ_SECONDS: Final = 30.0
"""How long looking at a partition's first records may take."""

FETCH_MS: Final = 250
"""How long one look waits for a record."""

_END: Final = datetime.max.replace(tzinfo=UTC)
_START: Final = datetime.min.replace(tzinfo=UTC)

_Q: Final = load_queries("operators", "retention.sql")

Say = Callable[[str], None]


class Limits(msgspec.Struct, frozen=True):
    """What is old. Everything before these moments goes; None: nothing goes.

    `silent_since` is for final shipments, `unfinished_since` for those that never became final.
    """

    silent_since: datetime
    unfinished_since: datetime
    dead_letters: datetime | None
    jobs: datetime


class Oldest(msgspec.Struct, frozen=True):
    """The partitions of the dead letters' topic, and when the oldest record of each was written that is still there.

    Kafka lets whole segments go, so records stay longer than they must; the audit compares with what is there.
    """

    partitions: tuple[int, ...]
    written: tuple[datetime, ...]


class Count(msgspec.Struct, frozen=True):
    """How much is to go, or went. `spared` shipments had something new, or were not applied yet."""

    shipments: int = 0
    spared: int = 0
    dead_letters: int = 0
    observations: int = 0
    anomalies: int = 0
    commands: int = 0
    jobs: int = 0


def too_short(settings: Settings, raw: timedelta | None) -> str | None:
    """Say why no shipment may be retired, if so. `raw`: how long the raw topic keeps its records; None: for ever."""
    if raw is None:
        return "the raw topic keeps its records for ever, so no shipment's history may go before them"
    for name, kept in (("", settings.retention), ("_UNFINISHED", settings.retention_unfinished)):
        if kept <= raw:
            return (
                f"WAYBILL_RETENTION{name} ({kept}) must be longer than the raw topic keeps its records "
                f"({raw}): a replay of what is still there would find its shipments' history gone"
            )
    return None


def limits(now: datetime, settings: Settings, raw: timedelta | None, dead_letters: timedelta | None) -> Limits:
    """Say what is old: shipments by the settings, the rest after the topics' retentions in force (None: for ever).

    Raises:
        OperatorError: the raw topic may still hold records of what would be retired.

    """
    if fault := too_short(settings, raw):
        raise OperatorError(fault)
    assert raw is not None
    return Limits(
        now - settings.retention,
        now - settings.retention_unfinished,
        None if dead_letters is None else now - dead_letters,
        now - raw,
    )


async def limits_in_force(settings: Settings) -> Limits:
    """Say what is old, by the settings and the topics as they are.

    Raises:
        OperatorError: a setting is not longer than the raw topic's.

    """
    kept = await retentions(settings, (Topic.RAW, Topic.DEAD_LETTERS))
    return limits(datetime.now(UTC), settings, kept[Topic.RAW], kept[Topic.DEAD_LETTERS])


async def oldest_letters(settings: Settings) -> Oldest:
    """Look how far back the dead letters' topic reaches.

    Raises:
        UnreachableError: Kafka cannot be reached, or gives no record that is there.

    """
    reader = kafka.new_reader(settings, "waybill-operator", settings.topic(Topic.DEAD_LETTERS))
    await kafka.start(reader)
    try:
        async with asyncio.timeout(READ_SECONDS):
            parts = sorted(reader.assignment())
            found = [await _oldest(reader, part) for part in parts]
    except TimeoutError as error:
        raise UnreachableError(f"Kafka gives no dead letter within {READ_SECONDS:.0f} s") from error
    finally:
        await kafka.stop(reader)
    return Oldest(tuple(part.partition for part in parts), tuple(found))


async def _oldest(reader: Any, part: Any) -> datetime:
    """Return when a partition's first record was written; of an empty one, the end of time."""
    end = (await reader.end_offsets([part]))[part]
    while await reader.position(part) < end:
        for record in (await reader.getmany(part, timeout_ms=FETCH_MS, max_records=1)).get(part, ()):
            return _written(record)
    return _END


def _written(record: Any) -> datetime:
    """Return when a dead letter was recorded. Kafka's timestamp is when it was published, which may be long after."""
    said = read_time(header_texts(record.headers).get("dlq-at"), UTC)
    return said[0] if said else moment_of(record.timestamp) or _START


async def survey(pool: Pool, old: Limits, oldest: Oldest, limit: int | None) -> Count:
    """Count what would go."""
    async with pool.acquire() as connection:
        silent = await connection.fetchval(_Q["count_silent"], old.silent_since)
        silent += await connection.fetchval(_Q["count_silent_unfinished"], old.unfinished_since)
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
        """Have shipments of a kind retired, the longest silent first; add them to what is done."""
        behind: tuple[datetime, str] = (_START, "")
        clock = asyncio.get_running_loop()
        due = clock.time()
        while limit is None or done.shipments + done.spared < limit:
            size = min(PAGE, rate or PAGE, PAGE if limit is None else limit - done.shipments - done.spared)
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_Q[kind.query], kind.since, *behind, size)
            if not rows:
                break
            behind = rows[-1]["updated_at"], rows[-1]["shipment_id"]
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
