"""`migrations/schema.sql` says what the migrations make.

Run with WAYBILL_TEST_WRITE_SCHEMA=1 (`make tables`) it is written anew instead.
"""

import os
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.integration.schema_text import schema_text

FILE: Final = Path(__file__).parents[2] / "migrations" / "schema.sql"


async def described(database_url: str, *statements: str) -> str:
    """Return a database's schema, after the statements."""
    connection = await asyncpg.connect(database_url)
    try:
        for statement in statements:
            await connection.execute(statement)
        return await schema_text(connection)
    finally:
        await connection.close()


async def test_the_file_equals_the_migrations(database_url: str) -> None:
    made = await described(database_url)
    if os.environ.get("WAYBILL_TEST_WRITE_SCHEMA"):
        FILE.write_text(made)
    assert FILE.read_text() == made, "run `make tables`"


async def test_the_file_is_sql_that_makes_the_schema(empty_database_url: str) -> None:
    text = FILE.read_text()
    assert await described(empty_database_url, text) == text


@pytest.mark.parametrize(
    "change",
    [
        "alter table outputs alter column value set not null",
        "alter table outputs alter column ordinal type bigint",
        "alter table cursors alter column records set default 1",
        "alter table replay_jobs alter column job type text",
        "alter table shipments drop constraint shipments_version_check",
        "alter table shipments set (fillfactor = 90)",
        "drop index shipments_of_awb",
        "alter table observations reset (autovacuum_freeze_min_age)",
        "drop trigger shipments_found_by on shipments",
        "create or replace function shipments_found_by() returns trigger language plpgsql as 'begin return new; end'",
        "comment on column shipments.awb is 'something else'",
        "alter table replay_positions drop constraint replay_positions_job_fkey",
    ],
)
async def test_each_difference_shows(database_url: str, change: str) -> None:
    assert await described(database_url, change) != FILE.read_text()


async def test_what_it_has_no_words_for_is_named(empty_database_url: str) -> None:
    with pytest.raises(ValueError, match="type mood, v glance"):
        await described(empty_database_url, "create view glance as select 1", "create type mood as enum ('glad')")
