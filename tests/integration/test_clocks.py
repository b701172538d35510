"""What is stored is published whatever a clock said, also by brokers that refuse timestamps far from their own."""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from processor.core.messages import NO_TIME, Message
from processor.kafka.emitter import Emitter
from processor.storage.store import Store
from runtime import kafka_admin
from runtime.kafka import admin_client
from schemas.topics import Topic
from tests.integration.inside import working_group
from tests.integration.system import System, assert_exactly_once, lives, open_system
from tests.waiting import until

DAY = 86_400_000
OUTPUTS = (Topic.EVENTS, Topic.STATE)


@pytest.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    """A system whose topics are as they were made before: Kafka's own limit of an hour ahead holds."""
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    limits = {"message.timestamp.after.max.ms": "3600000", "message.timestamp.before.max.ms": str(5 * DAY)}
    async with admin_client(system.settings) as admin:
        await kafka_admin.set_configs(admin, {system.settings.topic(topic): limits for topic in OUTPUTS})
    return system


async def timestamps(system: System) -> list[int]:
    return [record.timestamp for topic in OUTPUTS for record in await system.read(topic)]


@pytest.mark.parametrize("off", ["30 days", "-30 days"])
async def test_outputs_stored_under_a_wrong_clock_are_published_as_of_now(
    system: System, monkeypatch: pytest.MonkeyPatch, off: str
) -> None:
    await _store_without_publishing(system, monkeypatch)
    for table in ("observations", "outputs"):
        await system.execute(f"update {table} set recorded_at = recorded_at + interval '{off}'")
    async with working_group(system):
        await until(system.caught_up)
    await assert_exactly_once(system)
    now = time.time() * 1000
    assert all(abs(now - each) < 600_000 for each in await timestamps(system))


async def _store_without_publishing(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Emitter.publish

    async def fail(emitter: Emitter, messages: Iterable[Message], *offset: int) -> None:
        if list(messages):
            raise TimeoutError
        await publish(emitter, (), *offset)

    async def stored() -> bool:
        rows = await system.rows("select count(*) as records from observations")
        return bool(rows[0]["records"] == 35)

    await system.append(lives(5))
    with monkeypatch.context() as broken:
        broken.setattr(Emitter, "publish", fail)
        async with working_group(system):
            await until(stored)


async def test_where_brokers_refuse_the_databases_time_too_nothing_is_stamped(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Store.now

    async def ahead(store: Store) -> datetime:
        return await told(store) + timedelta(hours=3)

    monkeypatch.setattr(Store, "now", ahead)
    await system.append(lives(5))
    async with working_group(system):
        await until(system.caught_up)
        await system.append(lives(5, "NEXT"))
        await until(system.caught_up)
    await assert_exactly_once(system)
    assert set(await timestamps(system)) == {NO_TIME}
