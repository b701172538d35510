"""The flow of what PostgreSQL stores: counted where there is little, estimated where there is much, fast in both."""

from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import pytest

from operators.views import flow as module
from operators.views.flow import flow
from runtime import migrations
from runtime.postgres import open_pool
from runtime.settings import load_settings
from schemas.vocabulary import Outcome

MANY: Final = 24_000
"""Records of two partitions, four a second: every tenth is a dead letter, every third of the others a repeat."""

FILL: Final = f"""
insert into cursors (raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, updated_at)
select i, 'raw', 2, 'group', 0, {MANY // 2}, {MANY // 2}, now() from generate_series(0, 1) as i;
insert into observations (shipment_id, raw_partition, raw_offset, outcome, version, kept, said, recorded_at)
select 'dash:' || i, i % 2, i / 2, case when i % 3 = 0 then 'duplicate' else 'event' end, 1, true, 'said'::bytea,
    $1::timestamptz - interval '0.25 second' * ({MANY} - i)
from generate_series(0, {MANY} - 1) as i where i / 2 % 10 <> 0;
insert into outputs (raw_partition, cause_offset, ordinal, topic, key, value, recorded_at, reason, courier)
select i % 2, i / 2, 0, 'courier.webhooks.raw.dlq', 'k', 'v', $1::timestamptz - interval '0.25 second' * ({MANY} - i),
    'invalid_json', 'dash'
from generate_series(0, {MANY} - 1) as i where i / 2 % 10 = 0;
"""


async def test_a_sample_tells_what_counting_would(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({"WAYBILL_DATABASE_URL": database_url})
    await migrations.migrate(settings)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(FILL.replace("$1", f"'{now.isoformat()}'"))
    finally:
        await connection.close()
    hour = 4 * 3600
    counted = {"event": hour * 9 // 10 * 2 // 3, "duplicate": hour * 9 // 10 // 3}
    monkeypatch.setattr(module, "LOOK_BACK", timedelta(hours=1))
    async with await open_pool(settings, "test", 1) as pool:
        for most, pace in ((MANY, 1), (1_200, 12)):
            monkeypatch.setattr(module, "MOST_SAMPLED", most)
            found = await flow(pool, now)
            assert found.pace == pace
            told = {each.name: each.records for each in found.outcomes}
            for name, records in counted.items():
                assert abs(told[name] - records) <= (0.1 * records if pace > 1 else 2)
            assert [(each.name, each.records) for each in found.dead_letters] == [("invalid_json", hour // 10)]
            rates = [sum(each.a_minute.values()) for each in found.bins]
            assert all(abs(rate - 216) <= (60 if pace > 1 else 1) for rate in rates)
            assert {name for each in found.bins for name in each.a_minute} == set(Outcome)
