"""What `waybill doctor` looks at in PostgreSQL: sessions, schema, commits, the clock, zones, privileges."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from operators.doctor.finding import SKEW, Finding, Level, guarded, some
from operators.doctor.zones import Shifted, shifted
from operators.requests.asking import MOST_WAITING
from processor.storage.commits import ANSWER_SECONDS, commits
from runtime.migrations import Migration, require_current_schema
from runtime.postgres import OPERATOR, OPERATOR_SESSION, Connection, fetch_one, open_pool
from runtime.queries import load_queries
from runtime.settings import PREFIX, Settings
from schemas.stored_observation import readable
from schemas.times import format_time

_READ: Final = (
    "shipments",
    "observations",
    "outputs",
    "cursors",
    "applied_commands",
    "reconcile_asks",
    "schema_migrations",
)
_WRITTEN: Final = ("replay_jobs", "replay_positions", "dead_letter_decisions")
LOOKING: Final = (
    *((table, "select") for table in (*_READ, *_WRITTEN, "operator_log", "ask_requests")),
    ("operator_log", "insert"),
)
"""What it takes in PostgreSQL to look: a look at personal data is noted."""

PRIVILEGES: Final = (
    *LOOKING,
    *((table, privilege) for table in _WRITTEN for privilege in ("insert", "update")),
    ("ask_requests", "insert"),
)
"""What operators' commands need in PostgreSQL."""

STATEMENTS: Final = 5
"""Statements by which it is seen whether one session answers them."""

READINGS: Final = 2_000
"""Newest readings that are looked at: more than are needed, since not every courier writes times without a zone."""

ASK_WAITS: Final = timedelta(minutes=10)
"""How long a request to ask a courier may wait: one that is away is tried every five minutes."""

_Q: Final = load_queries("operators.doctor")
_REQUESTS: Final = load_queries("operators.requests")


async def look_at_postgres(settings: Settings, privileges: tuple[tuple[str, str], ...]) -> AsyncIterator[Finding]:
    """Look at sessions, schema, durability, clock, zones, and whether the role has the privileges."""
    async with await open_pool(settings, OPERATOR, 1) as pool, pool.acquire() as connection:
        yield Finding(Level.OK, "postgres", f"version {connection.get_server_version().major}")
        yield await _session(connection)
        async for finding in guarded("schema", _schema(connection), "`waybill migrate`"):
            yield finding
        found = {row["name"]: row["setting"] for row in await connection.fetch(_Q["settings_of_server"])}
        for finding in of_server(found, commits=await commits(connection)):
            yield finding
        yield await _clock(connection)
        async for finding in guarded("zones", _zones(connection, settings)):
            yield finding
        async for finding in guarded("asks", _asks(connection)):
            yield finding
        lacking = await connection.fetch(_Q["missing_privileges"], *map(list, zip(*privileges, strict=True)))
        if lacking:
            named = ", ".join(f"{privilege} on {table}" for table, privilege in lacking)
            yield Finding(
                Level.FAIL, "privileges", f"this role lacks {named}", "deploy/postgres-roles.sql, run by the owner"
            )
        else:
            yield Finding(
                Level.OK,
                "privileges",
                "enough for operators' commands" if privileges is PRIVILEGES else "enough to look",
            )


async def _session(connection: Connection) -> Finding:
    """Look whether statements of a connection share a session: settings, locks and prepared statements live in one."""
    pids = {await connection.fetchval("select pg_backend_pid()") for _ in range(STATEMENTS)}
    names = [name for name in OPERATOR_SESSION if not name.startswith("tcp_")]  # a Unix socket has none of these
    found = await fetch_one(connection, _Q["session_settings"], names)
    return of_session(connection.get_server_pid(), pids, dict(zip(names, found["settings"], strict=True)))


def of_session(told: int, pids: Collection[int], settings: Mapping[str, str]) -> Finding:
    """Judge whether a connection is a session: `told` is the server's process that it was told of, `pids` those met."""
    lost = [name for name, value in settings.items() if value != OPERATOR_SESSION[name]]
    if set(pids) == {told} and not lost:
        return Finding(Level.OK, "sessions", "each connection is a session of its own")
    signs = f"settings of the session are lost ({some(lost)})" if lost else "another process answers than was told"
    return Finding(
        Level.FAIL,
        "sessions",
        f"a pooler stands before PostgreSQL: {signs}; pooling by transaction is not supported, locks would be lost",
        "set WAYBILL_DATABASE_URL to PostgreSQL itself",
    )


async def _schema(connection: Connection) -> AsyncIterator[Finding]:
    yield of_schema(await require_current_schema(connection))


def of_schema(left: Collection[Migration]) -> Finding:
    """Judge what is left to be applied of a schema that this version can work with."""
    if not left:
        return Finding(Level.OK, "schema", "current")
    found = f"{some(list(map(str, left)))} waits for the end of the roll-out"
    return Finding(Level.WARN, "schema", found, "`waybill migrate --after`, once no older version runs")


def of_server(found: Mapping[str, str], *, commits: bool) -> Iterator[Finding]:
    """Judge how durable PostgreSQL's commits are. `commits`: one got through in time."""
    if not commits:
        names = found.get("synchronous_standby_names")
        why = f"; synchronous_standby_names = {names}: a standby that commits wait for is away" if names else ""
        mend = "bring the standby back, or wait for it no longer: docs/operating.md" if names else "look at its disks"
        yield Finding(Level.FAIL, "commits", f"none gets through within {ANSWER_SECONDS:.0f} s{why}", mend)
    wrong = [f"{name} = {found.get(name)}" for name in ("fsync", "full_page_writes") if found.get(name) != "on"]
    if wrong:
        found_text = f"{', '.join(wrong)}: a crash of the machine may lose or spoil what was committed"
        yield Finding(Level.FAIL, "commits", found_text, "set them to on")
    elif commits:
        yield Finding(Level.OK, "commits", f"fsync on, synchronous_commit {found.get('synchronous_commit')}")


async def _clock(connection: Connection) -> Finding:
    before = datetime.now(UTC)
    theirs = await connection.fetchval(_Q["clock_of_server"])
    after = datetime.now(UTC)
    return of_clocks(before, theirs, after)


def of_clocks(before: datetime, theirs: datetime, after: datetime) -> Finding:
    """Compare the database's clock with ours before and after it was asked."""
    skew = max(before - theirs, theirs - after, timedelta(0))
    noticed, wrong = SKEW
    if skew <= noticed:
        return Finding(Level.OK, "clocks", "PostgreSQL's and this machine's agree")
    level = Level.FAIL if skew > wrong else Level.WARN
    return Finding(
        level, "clocks", f"PostgreSQL's is {skew.total_seconds():.0f} s from this machine's", "synchronize them (NTP)"
    )


async def _zones(connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    rows = await connection.fetch(_Q["newest_readings"], READINGS)
    said = [reading for row in rows if (reading := readable(*row)) is not None]
    found = list(shifted(said, settings.assumed_zone))
    for each in found:
        yield of_zone(each)
    if not found:
        yield Finding(Level.OK, "zones", "couriers' times without a zone agree with when they were received")


async def _asks(connection: Connection) -> AsyncIterator[Finding]:
    found = await fetch_one(connection, _REQUESTS["waiting_too_long"], datetime.now(UTC) - ASK_WAITS, MOST_WAITING)
    yield of_requests(found["requests"], found["since"])


def of_requests(waiting: int, since: datetime | None) -> Finding:
    """Judge whether somebody answers what operators asked for: `waiting` so many, the oldest `since` then."""
    if since is None:
        return Finding(Level.OK, "asks", "no request to ask a courier waits")
    told = f"{waiting} requests to ask a courier wait since {format_time(since)}"
    return Finding(Level.WARN, "asks", told, "start `waybill reconcile`; if it runs, its log says why")


def of_zone(found: Shifted) -> Finding:
    """Say in which zone a courier seems to write its times."""
    when = f"{abs(found.hours)} h {'after' if found.hours > 0 else 'before'} the time they tell"
    told = f"the newest {found.webhooks} webhooks of {found.courier} without a zone come {when}, in the middle"
    mend = f"if that is not so, set {PREFIX}{found.setting} to their zone, {found.offset}; then `waybill replay`"
    return Finding(Level.WARN, "zones", told, mend)
