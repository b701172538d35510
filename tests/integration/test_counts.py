"""What a processor counts for its metrics: it only reads, waits for nobody for long, and counts what is silent."""

import asyncpg
import pytest

from processor.counts import counted, silent_shipments
from runtime import postgres
from runtime.postgres import COUNTING, COUNTING_SESSION, open_pool
from runtime.settings import Settings, load_settings

SHIPMENTS = """
insert into shipments (shipment_id, courier, account, service, courier_ref, status, phase, final, courier_status,
    failed_count, personal, occurred_at, occurred_at_source, version, updated_at, active_hour)
select courier || account || ':' || number || final || hours, courier, null, 'logistic', number, 'FAILED', 'exception',
    final, 'x', 0, '{}', now(), 'courier', 1, now() - hours * interval '1 hour', now()
from (values ('dash', ''), ('kiriminaja', '.shop')) as couriers (courier, account),
    generate_series(1, 3) as number, (values (true), (false)) as ends (final),
    (values (1), (5), (7), (90)) as silent (hours)
"""


@pytest.fixture
def settings(database_url: str) -> Settings:
    return load_settings({"WAYBILL_DATABASE_URL": database_url})


async def test_silent_are_those_under_way_without_an_event_for_so_long(settings: Settings) -> None:
    async with await open_pool(settings, "test", 1) as pool:
        async with pool.acquire() as connection:
            await connection.execute(SHIPMENTS)
        found = await silent_shipments(pool, settings.reconcile_stale_after)
    assert found == {"dash": 6, "kiriminaja": 6}
    assert (await counted(settings)).silent == found


async def test_counting_only_reads_and_gives_up_soon(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await open_pool(settings, COUNTING, 1) as pool, pool.acquire() as connection:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute(SHIPMENTS)
    monkeypatch.setitem(postgres._SESSIONS, COUNTING, COUNTING_SESSION | {"statement_timeout": "200ms"})
    other = await asyncpg.connect(settings.database_url)
    try:
        async with other.transaction():
            await other.execute("lock table outputs in access exclusive mode")
            with pytest.raises(asyncpg.QueryCanceledError):
                await counted(settings)
    finally:
        await other.close()
