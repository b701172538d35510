"""The version before's database and topics come up with this one: nothing that was published changes.

`fill.py` had the older version write them: every kind of shipment, decisions, dead letters, erased and archived
shipments, a replay job that was interrupted, a batch stored and not published, and a backlog.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio

from runtime import migrations, topics
from schemas.topics import Topic
from tests.integration.system import System, until
from tests.upgrade.older import left, restore_database, restore_topics

PUBLISHED = (Topic.EVENTS, Topic.ANOMALIES, Topic.DEAD_LETTERS)
UNPUBLISHED = {f"dash:DE-UNPUBLISHED-{number}/1" for number in range(4)}
"""The events of the batch that was stored and not published."""

Records = dict[tuple[Topic, int], list[Any]]


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, empty_database_url: str) -> AsyncIterator[System]:
    """What the version before left, restored."""
    found = left()
    system = System(
        {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "WAYBILL_DATABASE_URL": empty_database_url,
            "WAYBILL_TOPIC_PREFIX": found.prefix,
            "WAYBILL_TOPIC_PARTITIONS": str(found.partitions),
            "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
            "WAYBILL_PROCESSOR_ADMIN_PORT": "0",
        }
    )
    await restore_database(empty_database_url)
    await restore_topics(system.settings, found)
    yield system


async def test_what_was_published_stays_and_what_was_not_follows_once(system: System) -> None:
    before = await published(system)
    await migrations.migrate(system.settings)
    await topics.apply(system.settings)
    async with system.processor():
        await until(system.caught_up)
    after = await published(system)
    for place, records in before.items():
        assert after[place][: len(records)] == records
    assert UNPUBLISHED.isdisjoint(ids(before))
    assert sorted(ids(after)) == sorted(set(ids(after))), "each event once"
    assert set(ids(after)) > UNPUBLISHED


async def published(system: System) -> Records:
    """Return what the output topics hold, by topic and partition."""
    found: Records = {}
    for topic in PUBLISHED:
        for record in await system.read(topic):
            found.setdefault((topic, record.partition), []).append((record.key, record.value, tuple(record.headers)))
    return found


def ids(records: Records) -> list[str]:
    """Return the ids of the events."""
    return [
        msgspec.json.decode(value)["id"]
        for (topic, _), each in records.items()
        if topic is Topic.EVENTS
        for _, value, _ in each
    ]
