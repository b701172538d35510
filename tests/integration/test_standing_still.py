"""A process whose partitions all stand still stays in the group, and goes on with them when they are mended."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from processor import backlog
from runtime import kafka, kafka_admin
from runtime.settings import Settings
from tests.integration.inside import open_inside, partitions_shown, processing
from tests.integration.system import System, lives
from tests.waiting import until

PARTITIONS = 2
PATIENCE = timedelta(seconds=1)
"""How long the process may fetch nothing, instead of five minutes."""


@pytest.fixture
async def system(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> System:
    whole = kafka.new_group_consumer

    def impatient(settings: Settings, client_id: str) -> Any:
        consumer: Any = whole(settings, client_id)
        consumer._max_poll_interval_ms = PATIENCE // timedelta(milliseconds=1)
        return consumer

    monkeypatch.setattr(kafka, "new_group_consumer", impatient)
    monkeypatch.setattr(backlog, "LOOK_SECONDS", PATIENCE.total_seconds() / 4)
    system = await open_inside(kafka_bootstrap_servers, database_url, topic_prefix, PARTITIONS)
    system.set(WAYBILL_KAFKA_SESSION_TIMEOUT="6s")
    return system


async def all_halted(system: System) -> bool:
    shown = await partitions_shown(system)
    return sum(shown.get(("partition_state", str(each), "halted"), 0) for each in range(PARTITIONS)) == PARTITIONS


async def test_it_stays_a_member_however_long_all_stand_still(system: System) -> None:
    await system.append(lives(3))
    async with processing(system):
        await until(system.caught_up)
    await system.execute("update cursors set raw_topic = raw_topic || '-of-another'")
    await system.append(lives(3, "NEXT"))
    async with processing(system):
        await until(lambda: all_halted(system))
        async with kafka.admin_client(system.settings) as admin:
            for _ in range(6):  # three times the patience, at the pace of the heartbeats by which a member leaves
                await asyncio.sleep(PATIENCE.total_seconds() / 2)
                assert await kafka_admin.group_state(admin, system.settings.group_id) == ("Stable", 1)
        await system.execute("update cursors set raw_topic = replace(raw_topic, '-of-another', '')")
        await until(system.caught_up)
