"""Looking at everything Waybill stands on: a line for each thing, with what mends it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from ingest.clock import MOST_OFF
from operators.retention import too_short
from operators.shared.errors import OperatorError
from operators.spool import look
from operators.views.lag import Lag, find_lag, total
from operators.views.zones import Shifted, shifted
from processor.core.cursor import Cursor
from processor.core.errors import ProcessorError
from processor.storage.commits import ANSWER_SECONDS, commits
from processor.storage.recovery import RecoveryStore
from runtime import topics
from runtime.clock import clocks
from runtime.errors import DeniedError, SetupError, UnreachableError
from runtime.kafka import KAFKA_ERRORS, admin_client
from runtime.kafka_admin import broker_config, group_state
from runtime.migrations import require_current_schema
from runtime.postgres import DATABASE_ERRORS, SESSION, Connection, fetch_one, open_pool
from runtime.queries import load_queries
from runtime.settings import PREFIX, Settings, min_insync_replicas, secrets_settings
from schemas.observation import readable
from schemas.topics import TOPICS, Topic

SKEW: Final = (timedelta(seconds=2), timedelta(minutes=1))
"""How far the database's clock may be from ours before that is worth a word, and before it is wrong: stored times and
records' times are compared by people and by retention."""

WAITING: Final = timedelta(minutes=5)
"""How old the oldest waiting record may be before somebody should look: a processor's death costs some ten seconds."""

GROUP_STABLE: Final = "Stable"

AUTO_CREATE: Final = "auto.create.topics.enable"
"""The brokers' config by which a misspelt name becomes a topic."""

_RETENTION: Final = {spec.topic: spec.retention for spec in TOPICS}
_READ: Final = ("shipments", "observations", "outputs", "cursors", "applied_commands", "schema_migrations")
_WRITTEN: Final = ("replay_jobs", "replay_positions", "dead_letter_decisions")
PRIVILEGES: Final = (
    *((table, "select") for table in (*_READ, *_WRITTEN, "operator_log")),
    *((table, privilege) for table in _WRITTEN for privilege in ("insert", "update")),
    ("operator_log", "insert"),
)
"""What operators' commands need in PostgreSQL."""

FAILURES: Final = (SetupError, OperatorError, ProcessorError, *KAFKA_ERRORS, *DATABASE_ERRORS)
"""What a look may end with instead of an answer."""

Writable = Callable[[Path], bool]
"""Says whether a directory can be written, or made."""

Halted = Callable[[Settings], Awaitable[Mapping[int, str]]]
"""Returns the partitions that stand still until `waybill recover` has run, each with why."""

STATEMENTS: Final = 5
"""Statements by which it is seen whether one session answers them."""

READINGS: Final = 2_000
"""Newest readings that are looked at: more than are needed, since not every courier writes times without a zone."""

_Q: Final = load_queries("operators.views")


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """What was found about one thing, and what mends it, where something is to be mended."""

    level: Level
    what: str
    found: str
    mend: str | None = None


async def examine(settings: Settings, halted: Halted) -> AsyncIterator[Finding]:
    """Look at everything, whatever is away. Changes nothing. `halted` is asked which partitions need a recovery."""
    for finding in of_settings(settings, is_writable):
        yield finding
    async for finding in _guarded("spool", _of_spool(settings), "run it as the door's user, on its machine"):
        yield finding
    kafka = [finding async for finding in _guarded("kafka", _of_kafka(settings), KAFKA_MEND)]
    if all(finding.what != "kafka" or finding.level is not Level.FAIL for finding in kafka):
        kafka += [finding async for finding in _guarded("kafka clock", _of_brokers_clock(settings), CLOCK_MEND)]
    postgres = [finding async for finding in _guarded("postgres", _of_postgres(settings), POSTGRES_MEND)]
    for finding in (*kafka, *postgres):
        yield finding
    if any(
        finding.what in {"kafka", "postgres", "schema"} and finding.level is Level.FAIL for finding in kafka + postgres
    ):
        yield Finding(Level.FAIL, "cursors", "cannot be compared with the log while a store is not as it must be")
        return
    async for finding in _guarded("cursors", _of_cursors(settings, halted)):
        yield finding


KAFKA_MEND: Final = "start the brokers, or set WAYBILL_KAFKA_BOOTSTRAP_SERVERS and the other WAYBILL_KAFKA_… right"
POSTGRES_MEND: Final = "start PostgreSQL, or set WAYBILL_DATABASE_URL right"


CLOCK_MEND: Final = "grant this user Describe on the cluster: deploy/kafka-acls.sh"


async def _guarded(what: str, findings: AsyncIterator[Finding], mend: str | None = None) -> AsyncIterator[Finding]:
    """Pass findings on; where looking fails, that is the finding."""
    try:
        async for finding in findings:
            yield finding
    except FAILURES as error:
        yield Finding(Level.FAIL, what, (str(error) or repr(error)).splitlines()[0], mend)


def of_settings(settings: Settings, writable: Writable) -> Iterator[Finding]:
    """Judge the settings, which are valid by themselves."""
    on = settings.couriers_on
    if on:
        yield Finding(Level.OK, "couriers", f"on: {', '.join(on)}; account: {settings.account or 'none'}")
    else:
        yield Finding(
            Level.WARN, "couriers", "none is on: the door will not start", f"set {' or '.join(secrets_settings())}"
        )
    yield _spool(settings, writable)
    if fault := too_short(settings, _RETENTION[Topic.RAW]):
        yield Finding(Level.FAIL, "retention", fault, "set it to more days")
    else:
        final, others = _days(settings.retention), _days(settings.retention_unfinished)
        yield Finding(Level.OK, "retention", f"silent shipments keep their history {final}, unfinished ones {others}")
    if settings.dlq_max_ratio >= 1:
        found = "a flood of dead letters stops no partition"
        yield Finding(Level.WARN, "dead letters", found, "set WAYBILL_DLQ_MAX_RATIO below 1 again")


def _spool(settings: Settings, writable: Writable) -> Finding:
    folder = settings.ingest_spool_dir
    if folder is None:
        mend = "set WAYBILL_INGEST_SPOOL_DIR"
        return Finding(Level.WARN, "spool", "none: the door answers 503 while Kafka is away", mend)
    if writable(Path(folder)):
        return Finding(Level.OK, "spool", f"{folder} can be written")
    return Finding(Level.FAIL, "spool", f"{folder} cannot be written", "give the door's user a directory of its own")


def is_writable(folder: Path) -> bool:
    """Whether a directory can be written, or made: the nearest one that is there says so."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


async def _of_kafka(settings: Settings) -> AsyncIterator[Finding]:
    async with admin_client(settings) as admin:
        brokers = (await admin.describe_cluster())["brokers"]
        yield _brokers(len(brokers), settings)
        yield of_auto_create(await broker_config(admin, [each["node_id"] for each in brokers], AUTO_CREATE))
        described = {topic["topic"]: topic for topic in await admin.describe_topics()}
        state, members = await group_state(admin, settings.group_id)
    differences = await topics.check(settings)
    for difference in differences:
        mend = "`waybill topics apply`" if difference.found is None or "." in difference.property else None
        yield Finding(Level.FAIL, "topics", str(difference), mend or "docs/operating.md; it is never changed by itself")
    if not differences:
        yield Finding(Level.OK, "topics", "as they should be")
    names = [settings.topic(spec.topic) for spec in TOPICS]
    for finding in of_replicas({name: described[name]["partitions"] for name in names if name in described}):
        yield finding
    yield _group(settings, state, members)


async def _of_spool(settings: Settings) -> AsyncIterator[Finding]:
    """Look at what is refused in the spool of these settings' directory, where this machine has it."""
    if settings.ingest_spool_dir is not None:
        yield of_refused(len(look(Path(settings.ingest_spool_dir)).refused))


def of_refused(count: int) -> Finding:
    """Judge how many records of the door's spool a broker has refused for good."""
    if count:
        found = f"{count} {'record that was' if count == 1 else 'records that were'} answered 200 and refused by Kafka"
        mend = "`waybill spool list` tells why; then `waybill spool retry` or `drop`"
        return Finding(Level.FAIL, "refused", found, mend)
    return Finding(Level.OK, "refused", "nothing in the spool of this machine")


async def _of_brokers_clock(settings: Settings) -> AsyncIterator[Finding]:
    try:
        yield of_brokers_clock((await clocks(settings)).ahead)
    except UnreachableError as error:
        yield Finding(Level.WARN, "kafka clock", str(error), CLOCK_MEND if isinstance(error, DeniedError) else None)


def of_brokers_clock(ahead: timedelta) -> Finding:
    """Judge how far this machine's clock is ahead of the brokers'; negative: behind."""
    noticed, _ = SKEW
    if abs(ahead) <= noticed:
        return Finding(Level.OK, "kafka clock", "the brokers' and this machine's agree")
    found = f"this machine's is {abs(ahead).total_seconds():.0f} s {'ahead of' if ahead > timedelta(0) else 'behind'}"
    refused = f"; beyond {MOST_OFF.total_seconds() / 60:.0f} min a door takes nothing"
    return Finding(Level.WARN, "kafka clock", f"{found} the brokers'{refused}", "synchronize them (NTP)")


def _brokers(count: int, settings: Settings) -> Finding:
    wanted = settings.topic_replication_factor
    if count < wanted:
        found = f"{count} brokers, fewer than the {wanted} copies of each partition"
        return Finding(Level.FAIL, "kafka", found, "start more brokers, or set WAYBILL_TOPIC_REPLICATION_FACTOR")
    return Finding(
        Level.OK, "kafka", f"{count} {'broker' if count == 1 else 'brokers'} at {settings.kafka_bootstrap_servers}"
    )


def of_auto_create(found: Mapping[int, str | None]) -> Finding:
    """Judge whether brokers make a topic of a name that somebody asks for."""
    making = [str(broker) for broker, value in sorted(found.items()) if value == "true"]
    if making:
        text = f"broker {_some(making)} makes a topic of any name that is asked for, with the brokers' defaults"
        return Finding(Level.WARN, "auto create", text, f"set {AUTO_CREATE}=false on every broker")
    if None in found.values():
        return Finding(
            Level.WARN,
            "auto create",
            f"whether brokers make topics by themselves cannot be seen ({AUTO_CREATE})",
            "deploy/kafka-acls.sh, run by an administrator",
        )
    return Finding(Level.OK, "auto create", "brokers make no topics by themselves")


def of_replicas(partitions: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Finding]:
    """Judge how durable what is appended now is, by topic."""
    copies = min((len(each["replicas"]) for of in partitions.values() for each in of), default=0)
    if not copies:
        return
    thin = [(f"{name}-{each['partition']}", each) for name, of in sorted(partitions.items()) for each in of]
    away = [name for name, each in thin if each["leader"] < 0]
    refusing = [name for name, each in thin if len(each["isr"]) < min_insync_replicas(len(each["replicas"]))]
    lagging = [name for name, each in thin if len(each["isr"]) < len(each["replicas"])]
    if away:
        yield Finding(Level.FAIL, "durability", f"without a leader: {_some(away)}", "start the brokers that hold them")
    elif refusing:
        yield Finding(
            Level.FAIL,
            "durability",
            f"too few copies in sync, nothing can be appended: {_some(refusing)}",
            "start the brokers that are away",
        )
    elif lagging:
        yield Finding(
            Level.WARN, "durability", f"not every copy in sync: {_some(lagging)}", "start the brokers that are away"
        )
    elif copies == 1:
        yield Finding(
            Level.WARN,
            "durability",
            "one copy of each record: a broker's disk lost is webhooks lost",
            "three brokers and WAYBILL_TOPIC_REPLICATION_FACTOR=3",
        )
    else:
        yield Finding(Level.OK, "durability", f"{copies} copies of each record, all in sync")


def _group(settings: Settings, state: str, members: int) -> Finding:
    if members:
        level = Level.OK if state == GROUP_STABLE else Level.WARN
        return Finding(level, "processors", f"{members} in group {settings.group_id}, {state}")
    return Finding(Level.WARN, "processors", f"none in group {settings.group_id}", "start `waybill processor`")


async def _of_postgres(settings: Settings) -> AsyncIterator[Finding]:
    async with await open_pool(settings, "operator", 1) as pool, pool.acquire() as connection:
        yield Finding(Level.OK, "postgres", f"version {connection.get_server_version().major}")
        yield await _session(connection)
        async for finding in _guarded("schema", _schema(connection), "`waybill migrate`"):
            yield finding
        found = {row["name"]: row["setting"] for row in await connection.fetch(_Q["settings_of_server"])}
        for finding in of_server(found, commits=await commits(connection)):
            yield finding
        yield await _clock(connection)
        async for finding in _guarded("zones", _zones(connection, settings)):
            yield finding
        lacking = await connection.fetch(_Q["missing_privileges"], *map(list, zip(*PRIVILEGES, strict=True)))
        if lacking:
            named = ", ".join(f"{privilege} on {table}" for table, privilege in lacking)
            yield Finding(
                Level.FAIL, "privileges", f"this role lacks {named}", "deploy/postgres-roles.sql, run by the owner"
            )
        else:
            yield Finding(Level.OK, "privileges", "enough for operators' commands")


async def _session(connection: Connection) -> Finding:
    """Look whether statements of a connection share a session: settings, locks and prepared statements live in one."""
    pids = {await connection.fetchval("select pg_backend_pid()") for _ in range(STATEMENTS)}
    names = [name for name in SESSION if not name.startswith("tcp_")]  # a Unix socket has none of these
    found = await fetch_one(connection, _Q["session_settings"], names)
    return of_session(connection.get_server_pid(), pids, dict(zip(names, found["settings"], strict=True)))


def of_session(told: int, pids: Collection[int], settings: Mapping[str, str]) -> Finding:
    """Judge whether a connection is a session: `told` is the server's process that it was told of, `pids` those met."""
    lost = [name for name, value in settings.items() if value != SESSION[name]]
    if set(pids) == {told} and not lost:
        return Finding(Level.OK, "sessions", "each connection is a session of its own")
    signs = f"settings of the session are lost ({_some(lost)})" if lost else "another process answers than was told"
    return Finding(
        Level.FAIL,
        "sessions",
        f"a pooler stands before PostgreSQL: {signs}; pooling by transaction is not supported, locks would be lost",
        "set WAYBILL_DATABASE_URL to PostgreSQL itself",
    )


async def _schema(connection: Connection) -> AsyncIterator[Finding]:
    await require_current_schema(connection)
    yield Finding(Level.OK, "schema", "current")


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
    said = [reading for row in rows if (reading := readable(row["reading"])) is not None]
    found = list(shifted(said, settings.assumed_zone))
    for each in found:
        yield of_zone(each)
    if not found:
        yield Finding(Level.OK, "zones", "couriers' times without a zone agree with when they were received")


def of_zone(found: Shifted) -> Finding:
    """Say in which zone a courier seems to write its times."""
    when = f"{abs(found.hours)} h {'after' if found.hours > 0 else 'before'} the time they tell"
    told = f"the newest {found.webhooks} webhooks of {found.courier} without a zone come {when}, in the middle"
    mend = f"if that is not so, set {PREFIX}{found.setting} to their zone, {found.offset}; then `waybill replay`"
    return Finding(Level.WARN, "zones", told, mend)


async def _of_cursors(settings: Settings, halted: Halted) -> AsyncIterator[Finding]:
    why = await halted(settings)
    async with await open_pool(settings, "operator", 1) as pool:
        cursors = await RecoveryStore(pool).cursors()
    for partition, reason in sorted(why.items()):
        yield Finding(Level.FAIL, "cursors", f"partition {partition}: {reason}", "`waybill recover`")
    if not why:
        lags = await find_lag(settings)
        for finding in of_lag(lags, cursors):
            yield finding


def of_lag(lags: Sequence[Lag], cursors: Mapping[int, Cursor]) -> Iterator[Finding]:
    """Judge how far the partitions are, where none needs mending."""
    new = [str(lag.partition) for lag in lags if lag.partition not in cursors]
    if new:
        found = f"no processor has been at partition {_some(new)} yet"
        yield Finding(Level.WARN, "cursors", found, "start `waybill processor`: it begins at the log's start")
    else:
        yield Finding(Level.OK, "cursors", f"{len(lags)} partitions, each can go on where it is")
    began = {partition: cursor.began_at for partition, cursor in cursors.items() if cursor.began_at}
    recent = {lag.partition: began[lag.partition] for lag in lags if lag.log_start <= began.get(lag.partition, -1)}
    if recent:
        found = f"records were gone from the log before they could be applied: {_some(_before(recent))}"
        yield Finding(Level.WARN, "lost records", found, "`waybill reconcile` asks the couriers what they said")
    unpublished = [str(lag.partition) for lag in lags if abs(lag.unpublished_seconds or 0) > WAITING.total_seconds()]
    if unpublished:
        found = f"stored outputs wait for long to be published, in partition {_some(unpublished)}"
        mend = (
            "a processor's log says `claiming again` and what Kafka answers; `waybill topics check` says what drifted"
        )
        yield Finding(Level.FAIL, "outputs", found, mend)
    summed = total(lags)
    waiting = summed.oldest_seconds
    if waiting is not None and waiting > WAITING.total_seconds():
        found = f"{summed.behind} records wait, the oldest for {timedelta(seconds=round(waiting))}"
        mend = "`waybill lag` says where; a processor's log says `partition halted` and why, or it is missing or slow"
        yield Finding(Level.WARN, "lag", found, mend)
    else:
        yield Finding(Level.OK, "lag", f"{summed.behind} records wait")


def _before(offsets: Mapping[int, int]) -> list[str]:
    return [f"before {partition}:{offset}" for partition, offset in sorted(offsets.items())]


def _some(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):g}d"
