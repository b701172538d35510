"""From the version before to this one, as docs/upgrading.md tells it, on what that version left behind.

`fill.py` had the older version write them: every kind of shipment, decisions, dead letters, erased and archived
shipments, a replay job that was interrupted, a batch stored and not published, and a backlog.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest_asyncio

from schemas.topics import Topic
from tests.integration.operating import asked, running, waybill
from tests.integration.system import System
from tests.upgrade.older import FIRST_EDITION, left, restore_database, restore_topics
from tests.waiting import until

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
            "WAYBILL_OPERATOR": "dewi",
        }
    )
    await restore_database(empty_database_url)
    await restore_topics(system.settings, found)
    yield system


async def test_an_upgrade_as_the_page_tells_it(system: System) -> None:
    before = await published(system)
    rows = await rows_of(system)
    await waybill(system, "migrate")
    await waybill(system, "topics", "apply")
    async with running(system):
        await until(system.caught_up)
        came_up = await published(system)
        assert_nothing_changed(before, came_up)
        assert UNPUBLISHED.isdisjoint(ids(before))
        assert set(ids(came_up)) > UNPUBLISHED
        news = {event["shipment_id"] for event in events(came_up) if event["id"] not in set(ids(before))}
        now = await rows_of(system)
        assert {name: row for name, row in rows.items() if name not in news} == {
            name: {column: now[name][column] for column in row} for name, row in rows.items() if name not in news
        }

        first = await asked(system, "audit", "--all", "--from-raw")
        assert first["found"] == 0, "readings of an older edition are not damage"
        assert first["outdated"] > 10
        said = await waybill(system, "audit", "--all")
        assert "read by an older edition of the couriers' words, come out otherwise today: no damage" in said

        plan = await asked(system, "replay", "plan", "--all")
        assert {each["shipment_id"] for each in plan["changes"]} >= {each["shipment"] for each in first["corrections"]}
        (job,) = [each for each in await asked(system, "replay", "list") if each["interrupted"]]
        await waybill(system, "replay", "resume", str(job["job"]), "--yes")
        await waybill(system, "replay", "run", "--all", "--yes")
        await until(system.caught_up)

        second = await asked(system, "audit", "--all", "--from-raw")
        assert (second["found"], second["outdated"], second["corrections"]) == (0, 0, []), second
        again = await asked(system, "replay", "plan", "--all")
        assert (again["changes"], again["events"]) == ([], [])
    after = await published(system)
    assert_nothing_changed(came_up, after)
    assert_corrected(came_up, after)


async def test_statements_of_the_version_before_find_all_they_name(database_url: str) -> None:
    """A processor that goes on beside the migrations: the planner also looks for the keys that `on conflict` needs."""
    _, *parts = re.split(r"^-- name: (\w+)$", (FIRST_EDITION / "processor.sql").read_text(), flags=re.MULTILINE)
    connection = await asyncpg.connect(database_url)
    try:
        for statement in parts[1::2]:
            await connection.execute(f"explain (generic_plan) {statement}")
    finally:
        await connection.close()
    assert len(parts) > 60


async def published(system: System) -> Records:
    """Return what the output topics hold, by topic and partition."""
    found: Records = {}
    for topic in PUBLISHED:
        for record in await system.read(topic):
            found.setdefault((topic, record.partition), []).append((record.key, record.value, tuple(record.headers)))
    return found


async def rows_of(system: System) -> dict[str, dict[str, Any]]:
    """Return the rows of `shipments`."""
    return {row["shipment_id"]: dict(row) for row in await system.rows("select * from shipments")}


def events(records: Records) -> list[Any]:
    """Return the events, each shipment's in order."""
    return [
        msgspec.json.decode(value)
        for (topic, _), each in records.items()
        if topic is Topic.EVENTS
        for _, value, _ in each
    ]


def ids(records: Records) -> list[str]:
    """Return the ids of the events."""
    return [event["id"] for event in events(records)]


def assert_nothing_changed(before: Records, after: Records) -> None:
    """What was published stands where it stood, and each event is there once."""
    for place, records in before.items():
        assert after[place][: len(records)] == records
    assert len(ids(after)) == len(set(ids(after)))


def assert_corrected(before: Records, after: Records) -> None:
    """What a replay tells goes on from what was shown last, mostly as corrections."""
    known = set(ids(before))
    shown = {event["shipment_id"]: event["status"] for event in events(before)}
    corrected = 0
    for event in events(after):
        if event["id"] in known:
            continue
        assert event["previous_status"] == shown.get(event["shipment_id"])
        corrected += event["type"] == "shipment.corrected"
        shown[event["shipment_id"]] = event["status"]
    assert corrected > 10
