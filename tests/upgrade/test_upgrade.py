"""From the version before to this one, as docs/upgrading.md tells it, on what that version left behind.

The fixture holds every kind of shipment, decisions, dead letters, erased and retired shipments, a replay job that was
interrupted, a batch stored but not published, and a backlog. `fill.py` had the older version write it.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio

from schemas.topics import Topic
from tests.integration.operating import asked, newest_states, running, waybill
from tests.integration.system import System, until
from tests.upgrade.older import left, restore_database, restore_topics

PUBLISHED = (Topic.EVENTS, Topic.ANOMALIES, Topic.DEAD_LETTERS)


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str) -> AsyncIterator[System]:
    """What the version before left, restored."""
    found = left()
    system = System(
        {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "WAYBILL_DATABASE_URL": database_url,
            "WAYBILL_TOPIC_PREFIX": found.prefix,
            "WAYBILL_TOPIC_PARTITIONS": str(found.partitions),
            "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
            "WAYBILL_PROCESSOR_ADMIN_PORT": "0",
            "WAYBILL_OPERATOR": "dewi",
        }
    )
    await restore_database(database_url)
    await restore_topics(system.settings, found)
    yield system


async def test_upgrade(system: System) -> None:
    before = await published(system)
    rows_before = await rows(system)
    await waybill(system, "migrate")
    await waybill(system, "topics", "apply")
    async with running(system):
        await until(system.caught_up)
        assert unpublished(before, await published(system)) == {
            f"dash:DE-UNPUBLISHED-{number}/1" for number in range(4)
        } | {event for event in await told_by_the_backlog(system)}
        first = await asked(system, "audit", "--all")
        assert not first["differences"], "readings of an older edition are no damage"
        assert first["older"], "but the audit says what they are"
        plan = await asked(system, "replay", "plan", "--all")
        (job,) = [each for each in await asked(system, "replay", "list") if each["status"] == "interrupted"]
        await waybill(system, "replay", "resume", job["job"], "--yes")
        await waybill(system, "replay", "run", "--all", "--yes")
        await until(system.caught_up)
        second = await asked(system, "audit", "--all", "--from-raw")
        assert not second["differences"]
        assert not second["older"]
        assert (await asked(system, "replay", "plan", "--all"))["changes"] == []
    after = await published(system)
    for partition, records in before.items():
        assert after[partition][: len(records)] == records, "what was published stays"


async def published(system: System) -> dict[tuple[Topic, int], list[Any]]:
    """Return what the output topics hold, by topic and partition."""
    found: dict[tuple[Topic, int], list[Any]] = {}
    for topic in PUBLISHED:
        for record in await system.read(topic):
            found.setdefault((topic, record.partition), []).append((record.key, record.value, tuple(record.headers)))
    return found
