"""`waybill migrate` and the connections' settings, on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from cli.main import main
from processor.storage.outputs import found_by
from runtime import migrations
from runtime.errors import SetupError
from runtime.migrations import (
    BATCHES,
    OUTSIDE,
    Migration,
    MigrationError,
    load_migrations,
    migrate,
    require_current_schema,
)
from runtime.postgres import COUNTING, COUNTING_SESSION, OPERATOR, OPERATOR_SESSION, SESSION, connect, open_pool
from runtime.settings import Settings, load_settings
from schemas.records import AnyHeaders

FIRST = Migration(1, "parcels", "CREATE TABLE parcels (name text); INSERT INTO parcels VALUES ('one');")
SECOND = Migration(2, "weights", "ALTER TABLE parcels ADD weight integer;")
BROKEN = Migration(2, "broken", "CREATE TABLE half (); SELECT nonsense;")


@pytest.fixture
def settings(empty_database_url: str) -> Settings:
    return load_settings({"WAYBILL_DATABASE_URL": empty_database_url})


@pytest_asyncio.fixture
async def database(empty_database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_each_migration_is_applied_once(settings: Settings, database: Any) -> None:
    assert await migrate(settings, (FIRST,)) == (FIRST,)
    assert await migrate(settings, (FIRST, SECOND)) == (SECOND,)
    assert await migrate(settings, (FIRST, SECOND)) == ()
    assert await database.fetch("SELECT name, weight FROM parcels") == [("one", None)]
    rows = await database.fetch("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(1, "parcels", FIRST.checksum), (2, "weights", SECOND.checksum)]


async def test_a_goodbye_that_gets_no_answer_takes_nothing_back(
    settings: Settings, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unanswered(_connection: object, *, timeout: float) -> None:
        raise TimeoutError(timeout)

    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "close", unanswered)
        assert await migrate(settings, (FIRST,)) == (FIRST,)
    assert await database.fetch("SELECT name FROM parcels") == [("one",)]


async def test_two_at_once_apply_each_once(settings: Settings, database: Any) -> None:
    slow = Migration(1, "slow", "CREATE TABLE slow (); SELECT pg_sleep(0.3);")
    done = await asyncio.gather(*(migrate(settings, (slow,)) for _ in range(3)))
    assert sorted(done, key=len) == [(), (), (slow,)]


async def test_a_failing_migration_leaves_nothing_of_itself(settings: Settings, database: Any) -> None:
    with pytest.raises(MigrationError, match="migration 0002_broken fails: column"):
        await migrate(settings, (FIRST, BROKEN))
    assert await database.fetchval("SELECT to_regclass('half')") is None
    assert await database.fetchval("SELECT array_agg(version) FROM schema_migrations") == [1]
    assert await migrate(settings, (FIRST, SECOND)) == (SECOND,)


INDEXES = Migration(
    2,
    "indexes",
    f"{OUTSIDE}-- a remark\ncreate index concurrently by_name on parcels (name);\n"
    "create unique index concurrently once on parcels (name);\n",
)


async def test_an_index_whose_building_was_interrupted_is_built_again(settings: Settings, database: Any) -> None:
    await migrate(settings, (FIRST,))
    await database.execute("INSERT INTO parcels VALUES ('one')")
    with pytest.raises(MigrationError, match="0002_indexes fails: could not create unique index"):
        await migrate(settings, (FIRST, INDEXES))
    validity = (
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid "
        "WHERE indrelid = 'parcels'::regclass"
    )
    assert dict(await database.fetch(validity)) == {"by_name": True, "once": False}
    kept = await database.fetchval("SELECT to_regclass('by_name')::oid")
    await database.execute("DELETE FROM parcels WHERE ctid = (SELECT max(ctid) FROM parcels)")
    assert await migrate(settings, (FIRST, INDEXES)) == (INDEXES,)
    assert dict(await database.fetch(validity)) == {"by_name": True, "once": True}
    assert await database.fetchval("SELECT to_regclass('by_name')::oid") == kept, "what was built is not built again"
    assert await migrate(settings, (FIRST, INDEXES)) == ()


async def test_indexes_are_built_while_others_wait_to_migrate_and_write(settings: Settings, database: Any) -> None:
    """A statement that waited for the lock would be waited for by the building: a deadlock."""
    await migrate(settings, (FIRST,))
    async with database.transaction():
        await database.execute("INSERT INTO parcels VALUES ('writes while it is built')")
        building = [asyncio.create_task(migrate(settings, (FIRST, INDEXES))) for _ in range(3)]
        other = await asyncpg.connect(settings.database_url)
        async with asyncio.timeout(20):
            while not await other.fetchval("SELECT to_regclass('by_name')"):
                await asyncio.sleep(0.05)
            await other.execute("INSERT INTO parcels VALUES ('and so does another')")
        await other.close()
    assert sorted(await asyncio.gather(*building), key=len) == [(), (), (INDEXES,)]


NUMBERED = Migration(
    2, "numbered", "create table numbered (name text primary key, weight integer, written integer not null default 0);"
)
WEIGHED = Migration(
    3,
    "weighed",
    f"""{BATCHES}-- a remark
    with page as (select name from numbered where name > $1 order by name limit 2), weighed as (
        update numbered set weight = 1, written = written + 1 from page where numbered.name = page.name
        and weight is null
    )
    select max(name) from page""",
)


async def test_rows_are_rewritten_some_at_a_time_while_others_hold_some(settings: Settings, database: Any) -> None:
    await migrate(settings, (FIRST, NUMBERED))
    await database.execute("insert into numbered select to_char(i, '00') from generate_series(1, 9) as i")
    other = await asyncpg.connect(settings.database_url)
    async with database.transaction():
        await database.execute("update numbered set weight = 2 where name = ' 08'")
        weighing = asyncio.create_task(migrate(settings, (FIRST, NUMBERED, WEIGHED)))
        async with asyncio.timeout(20):
            while await other.fetchval("select count(*) from numbered where weight = 1") < 6:
                await asyncio.sleep(0.05)
            await other.execute("update numbered set weight = 3 where name = ' 09'")
    assert await weighing == (WEIGHED,)
    rows = await other.fetch("select weight, written, count(*) from numbered group by 1, 2 order by 1")
    assert [tuple(row) for row in rows] == [(1, 1, 7), (2, 0, 1), (3, 0, 1)], "each once, and only those that lack it"
    await other.close()


async def test_a_file_that_waits_for_a_table_lets_others_pass(settings: Settings, database: Any) -> None:
    await migrate(settings, (FIRST,))
    other = await asyncpg.connect(settings.database_url)
    async with database.transaction():
        await database.execute("insert into parcels values ('held open')")
        waiting = asyncio.create_task(migrate(settings, (FIRST, SECOND)))
        async with asyncio.timeout(20):
            while not await other.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.05)
            await other.execute("insert into parcels values ('waited behind it')")
        assert not waiting.done()
    assert await waiting == (SECOND,)
    assert await other.fetchval("select count(*) from parcels") == 3
    await other.close()


@asynccontextmanager
async def written(settings: Settings, shipment_id: str, *, keep: bool = True) -> AsyncIterator[None]:
    """Hold a shipment's row as who writes it does, and then keep what was written, or take it back."""
    connection = await asyncpg.connect(settings.database_url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("update shipments set version = 2 where shipment_id = $1", shipment_id)
        yield
        await (transaction.commit() if keep else transaction.rollback())
    finally:
        await connection.close()


async def test_what_the_version_before_stored_gets_its_hour(settings: Settings, database: Any) -> None:
    before = tuple(each for each in load_migrations() if each.version < 9)
    await migrate(settings, before)
    shipment = """insert into shipments (shipment_id, courier, service, courier_ref, status, phase, final,
        courier_status, failed_count, personal, occurred_at, occurred_at_source, version, updated_at)
        select 'dash:' || i, 'dash', 'logistic', i, 'x', 'x', false, 'x', 0, '{}', now(), 'courier', 1,
        timestamptz '2026-11-01 08:59:59+00' + i * interval '1 hour' from generate_series($1::integer, $2) as i"""
    await database.execute(shipment, 1, 5_000)
    await migrate(settings, tuple(each for each in load_migrations() if each.version < 10))
    async with written(settings, "dash:77"), written(settings, "dash:78", keep=False):
        await migrate(settings, tuple(each for each in load_migrations() if each.version < 11))
    await migrate(settings)
    await database.execute(shipment, 5_001, 5_002)
    await database.execute("update shipments set updated_at = '2026-11-09 07:30+00' where shipment_id = 'dash:7'")
    hours = dict(await database.fetch("select shipment_id, active_hour::text from shipments"))
    assert (hours["dash:1"], hours["dash:7"]) == ("2026-11-01 09:00:00+00", "2026-11-09 07:00:00+00")
    right = "select count(*) from shipments where active_hour = date_trunc('hour', updated_at, 'UTC')"
    assert await database.fetchval(right) == 5_002


async def test_what_has_ended_gets_its_resting_status(settings: Settings, database: Any) -> None:
    await migrate(settings, tuple(each for each in load_migrations() if each.version < 16))
    shipment = """insert into shipments (shipment_id, courier, service, courier_ref, status, phase, final,
        courier_status, failed_count, personal, occurred_at, occurred_at_source, version, updated_at, retired_at)
        select 'dash:' || i, 'dash', 'logistic', i, 'STATUS' || i % 4, 'x', i % 4 = 1, 'x', 0, '{}', now(), 'courier',
        1, now(), case when i % 4 = 2 then now() end from generate_series($1::integer, $2) as i"""
    await database.execute(shipment, 1, 2_500)
    await migrate(settings, tuple(each for each in load_migrations() if each.version < 17))
    async with written(settings, "dash:77"), written(settings, "dash:78", keep=False):
        await migrate(settings, tuple(each for each in load_migrations() if each.version < 18))
    await migrate(settings)
    await database.execute(shipment, 2_501, 2_504)
    await database.execute("update shipments set final = true where shipment_id = 'dash:4'")
    await database.execute("update shipments set final = false where shipment_id = 'dash:5'")
    await database.execute("update shipments set retired_at = now() where shipment_id = 'dash:7'")
    found = dict(await database.fetch("select shipment_id, resting_status from shipments"))
    changed = {"dash:4": "STATUS0", "dash:5": None, "dash:7": "STATUS3"}
    rests = {1: "STATUS1", 2: "STATUS2"}
    assert found == {f"dash:{number}": rests.get(number % 4) for number in range(1, 2_505)} | changed


NOTHING = ("", "", None, None)
PLAIN: AnyHeaders = [("courier", b"dash"), ("item", b"1/1"), ("dlq-reason", b"misrouted"), ("dlq-detail", b"x" * 400)]
HEADERS: list[AnyHeaders | None] = [
    PLAIN,
    [*PLAIN, ("replay-of", b"3:77")],
    [("replay-of", f"{2**31 - 1}:{2**63 - 1}".encode()), *PLAIN],
    [("replay-of", f"{2**31}:1".encode()), *PLAIN],
    [("replay-of", f"1:{2**63}".encode()), *PLAIN],
    [("replay-of", b"odd"), *PLAIN],
    [("dlq-reason", b"of another letter"), ("courier", b"x"), *PLAIN, ("courier", b"kiriminaja"), ("courier", None)],
    [("courier", b"no name"), *PLAIN[1:]],
    [("courier", b"\xff\x00"), *PLAIN[1:]],
    [("courier", b"c" * 70_000), *PLAIN[1:]],
    [("courier", None), *PLAIN[1:]],
    PLAIN[1:],
    [*((f"{number}" * 40, b"y" * number) for number in range(300)), *PLAIN],
    PLAIN[:2],
    [],
    None,
]
"""Headers of dead letters, ours and anybody's."""

LETTERS = 2_500


async def test_stored_dead_letters_are_found_by_what_their_headers_say(settings: Settings, database: Any) -> None:
    await migrate(settings, tuple(each for each in load_migrations() if each.version < 22))
    given = [HEADERS[number % len(HEADERS)] for number in range(LETTERS)]
    packed = [None if each is None else msgspec.msgpack.encode(each) for each in given]
    packed += [b"\x91\x92\xa7cou", b"\x01", b""]
    await database.execute(
        "insert into outputs (raw_partition, cause_offset, ordinal, topic, value, headers, recorded_at) "
        "select number % 3, number, 0, 'courier.webhooks.raw.dlq', 'v', headers, timestamptz '2026-11-01 00:00Z' "
        "+ number / 1200 * interval '1 minute' from unnest($1::bytea[]) with ordinality as given (headers, number)",
        packed,
    )
    await database.execute("insert into outputs values (0, 0, 0, 'shipment.events', 'k', 'v', null, 's', 1, now())")
    await migrate(settings, tuple(each for each in load_migrations() if each.version < 23))
    before = "insert into outputs values (0, 9999, 0, $1, 'k', 'v', null, null, null, now())"
    await database.execute(before, "courier.webhooks.raw.dlq")
    other = await asyncpg.connect(settings.database_url)
    async with database.transaction():
        await database.execute("update outputs set value = null where cause_offset = 1")
        filling = asyncio.create_task(migrate(settings))
        async with asyncio.timeout(20):
            while not await other.fetchval("select exists (select from pg_locks where not granted)"):
                await asyncio.sleep(0.05)
    await filling
    await other.close()
    rows = await database.fetch(
        "select reason, courier, replay_of_partition, replay_of_offset from outputs order by cause_offset"
    )
    expected = [found_by(each or []) for each in given]
    assert [tuple(row) for row in rows] == [NOTHING, *expected, *[NOTHING] * 4]


AFTER = Migration(3, "after_weights", "ALTER TABLE parcels DROP name;")


async def test_an_older_version_goes_on_until_the_roll_out_is_over(settings: Settings, database: Any) -> None:
    """Both ways: a version that knows less is taken, started anew and rolled back to, until the second phase."""
    newer = (FIRST, SECOND, AFTER)
    await migrate(settings, (FIRST,))
    assert await migrate(settings, newer) == (SECOND,)
    assert await require_current_schema(database, newer) == (AFTER,)
    assert await require_current_schema(database, (FIRST,)) == ()
    assert await migrate(settings, (FIRST,)) == ()
    assert await migrate(settings, newer, after=True) == (AFTER,)
    assert await require_current_schema(database, newer) == ()
    for refused in (require_current_schema(database, (FIRST,)), migrate(settings, (FIRST,))):
        with pytest.raises(MigrationError, match="0003_after_weights, which this version of Waybill does not know"):
            await refused


async def test_a_new_database_has_no_older_version_to_wait_for(settings: Settings) -> None:
    assert await migrate(settings, (FIRST, SECOND, AFTER)) == (FIRST, SECOND, AFTER)


async def test_a_changed_file_is_refused(settings: Settings) -> None:
    await migrate(settings, (FIRST, SECOND))
    with pytest.raises(MigrationError, match="was changed"):
        await migrate(settings, (Migration(1, "parcels", "SELECT 1"), SECOND))


async def test_a_service_can_tell_that_the_schema_is_old(settings: Settings, database: Any) -> None:
    with pytest.raises(MigrationError, match="lacks migration 0001_parcels: run `waybill migrate`"):
        await require_current_schema(database, (FIRST,))
    await migrate(settings, (FIRST,))
    await require_current_schema(database, (FIRST,))


async def test_the_bundled_schema_is_applied_and_commented(settings: Settings, database: Any) -> None:
    assert await migrate(settings) == load_migrations()
    bare = await database.fetch("""
        SELECT c.relname, a.attname
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT a.attisdropped
          AND (a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)
    """)
    assert [tuple(row) for row in bare] == []


def test_the_command(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", empty_database_url)
    assert main(["migrate", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["applied"][0]["version"], told["left"]) == (1, [])
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out == "the database's schema is up to date\n"
    files = (*load_migrations(), Migration(9000, "after_all", "select 1"))
    monkeypatch.setattr(migrations, "load_migrations", lambda: files)
    assert main(["migrate"]) == 0
    assert "left for after the roll-out: 9000_after_all; then run `waybill migrate --after`" in capsys.readouterr().out
    assert main(["migrate", "--after"]) == 0
    assert capsys.readouterr().out == "applied 9000_after_all\n"


@pytest.mark.parametrize(
    ("process", "session"),
    [("test", SESSION), (OPERATOR, OPERATOR_SESSION), (COUNTING, COUNTING_SESSION)],
)
async def test_sessions_have_their_settings(settings: Settings, process: str, session: dict[str, str]) -> None:
    async with await open_pool(settings, process, 2) as pool, pool.acquire() as connection:
        shown = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in session}
        assert shown == {**session, "tcp_user_timeout": "10s"} or shown == session
        assert await connection.fetchval("SHOW application_name") == f"waybill-{process}"


async def test_commits_that_may_be_forgotten_are_refused(settings: Settings, database: Any) -> None:
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with pytest.raises(SetupError, match="synchronous_commit = off"):
        await connect(settings, "test")
    with pytest.raises(SetupError, match="synchronous_commit = off"):
        await open_pool(settings, "test", 1)
