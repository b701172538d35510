"""What autovacuum is told of each table, and that it keeps up with the events of a day."""

from typing import Any, Final

import asyncpg
import pytest

SHIPMENTS: Final = 5_000_000
"""Stored, of six records each."""

UPDATES: Final = 1_000_000
"""Of shipments, in a day."""

OPTIONS: Final = """
select relname, option_name as name, option_value::float as value
from pg_class, pg_options_to_table(reloptions) where relkind = 'r' and relnamespace = 'public'::regnamespace
"""

REWRITTEN: Final = ("shipments", "reconcile_asks")
ADDED_TO: Final = ("observations", "outputs", "operator_log", "applied_commands")
KEPT: Final = ("observations", "outputs", "operator_log")
"""Of those that are added to, whose rows stay as they are until retention deletes them, if ever."""


@pytest.fixture
async def options(database_url: str) -> dict[str, dict[str, float]]:
    """Return each table's storage parameters."""
    connection: Any = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(OPTIONS)
    finally:
        await connection.close()
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["relname"], {})[row["name"].removeprefix("autovacuum_")] = row["value"]
    return found


async def test_vacuums_come_often_however_large_the_tables_are(options: dict[str, dict[str, float]]) -> None:
    for table in REWRITTEN:
        assert options[table]["vacuum_scale_factor"] * SHIPMENTS <= UPDATES / 10, "ten times a day"
        assert options[table]["vacuum_insert_scale_factor"] == 0.02
    for table in ADDED_TO:
        assert options[table]["vacuum_insert_scale_factor"] == 0, "after a number of rows, not after a share of all"
        assert options[table]["vacuum_insert_threshold"] <= UPDATES / 2
    for table in KEPT:
        assert options[table]["freeze_min_age"] == 0, "no vacuum reads a page twice for the sake of old transactions"
    for table in (*REWRITTEN, *ADDED_TO):
        assert options[table]["analyze_scale_factor"] == 0.02, "plans know how large a table has become"
    for table in ("shipments", "cursors"):
        assert options[table]["fillfactor"] == 50, "the next version of a row finds room in its page"


ONE: Final = """
insert into shipments (shipment_id, courier, service, courier_ref, status, phase, final, courier_status, failed_count,
    personal, occurred_at, occurred_at_source, version, updated_at)
values ('dash:1', 'dash', 'logistic', '1', 'CREATED', 'x', false, 'x', 0, '{}', now(), 'courier', 1, now())
"""

EVENTS: Final = """
update shipments set status = 'S' || version, phase = 'p', courier_status = 'w', version = version + 1, reason = 'r',
    failed_count = 1, occurred_at = now(), updated_at = updated_at + interval '1 microsecond'
"""

HOT: Final = """
select pg_stat_get_xact_tuples_hot_updated(oid) as hot, pg_stat_get_xact_tuples_updated(oid) as updates
from pg_class where relname = 'shipments'
"""


async def test_an_event_under_way_changes_no_index(database_url: str) -> None:
    connection: Any = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(ONE)
            for _ in range(3):
                await connection.execute(EVENTS)
            assert tuple(await connection.fetchrow(HOT)) == (3, 3)
            await connection.execute("update shipments set status = 'DELIVERED', final = true")
            await connection.execute(EVENTS)
            assert tuple(await connection.fetchrow(HOT)) == (3, 5), "one that has ended is looked up by its status"
    finally:
        await connection.close()
