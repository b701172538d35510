"""The operators' story: a bad release leaves anomalies and dead letters, a good one mends exactly those.

Live traffic goes on all the while, and audits beside it find nothing wrong.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest

from schemas.topics import Topic
from tests.integration.older_waybill import UNREADABLE_THEN
from tests.integration.operating import asked, events, waybill
from tests.integration.replaying import OLDER, command, processing
from tests.integration.system import START, Raw, System, dash, open_system, raw_records
from tests.waiting import until

pytestmark = pytest.mark.integration

HURT: Final = 500
LIVE_FROM: Final = START + timedelta(days=1)
LIVE_PAUSE_SECONDS: Final = 0.1
WORDS: Final = ("PREPARING", "VERIFIED", "PENDING_DELIVERY", "IN_DELIVERY", "COMPLETED")


@pytest.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


def spoilt() -> list[Raw]:
    """Write what the older release cannot read: of 500 parcels one word, of 500 others everything."""
    records: list[Raw] = []
    for number in range(HURT):
        for minute, word in enumerate(WORDS[:2]):
            body = dash(f"U-{number}", word, minute)
            records += raw_records("dash", body, START + timedelta(minutes=minute))
        body = dash(f"{UNREADABLE_THEN}-{number}", "PREPARING", 0)
        records += raw_records("dash", body, START)
        for minute, word in enumerate((WORDS[0], WORDS[2])):
            body = dash(f"F-{number}", word, minute)
            records += raw_records("dash", body, START + timedelta(minutes=minute))
    return records


@asynccontextmanager
async def live_traffic(system: System) -> AsyncIterator[list[str]]:
    """Append webhooks of other parcels until the end; give the ids of the parcels."""
    parcels: list[str] = []

    ended = asyncio.Event()

    async def go_on() -> None:
        while not ended.is_set():
            name = f"L-{len(parcels)}"
            records = [
                record
                for minute, word in enumerate(WORDS)
                for record in raw_records("dash", dash(name, word, minute), LIVE_FROM + timedelta(minutes=minute))
            ]
            await system.append(records)
            parcels.append(f"dash:{name}")
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LIVE_PAUSE_SECONDS)

    traffic = asyncio.create_task(go_on())
    try:
        yield parcels
    finally:
        ended.set()
        await traffic


def told(found: list[Any], names: str) -> list[dict[str, Any]]:
    return [event for event in found if event["shipment_id"].startswith(names)]


async def test_a_good_release_mends_exactly_what_a_bad_one_spoilt(system: System) -> None:
    system.environ["WAYBILL_DLQ_MAX_RATIO"] = "1"
    await system.append(spoilt())
    async with processing(system, OLDER):
        await until(system.caught_up)
    before = await events(system)
    assert len(await asked(system, "anomalies", "list", "--limit", "10000")) == HURT
    assert len(await asked(system, "dlq", "list", "--limit", "10000")) == HURT

    async with processing(system):
        async with live_traffic(system) as parcels:
            redriven = await asked(system, "dlq", "redrive", "--limit", "10000", "--yes")
            assert redriven["redriven"]["outcomes"]["event"] == HURT, redriven
            assert await asked(system, "dlq", "list") == []
            await waybill(system, "audit", "--all")

            until_live = ("--until", LIVE_FROM.isoformat())
            plan = await asked(system, "replay", "plan", *until_live)
            assert {change["shipment_id"] for change in plan["changes"]} == {f"dash:U-{n}" for n in range(HURT)}
            assert plan["anomalies"] == []
            ran = (await command(system, "replay", "run", *until_live, "--yes", "--json")).json()
            assert ran["status"] == "done"
            await waybill(system, "audit", "--all")
            again = await asked(system, "replay", "plan", *until_live)
            assert (again["changes"], again["events"], again["anomalies"]) == ([], [], [])
            assert await asked(system, "anomalies", "list") == []
            assert len(parcels) > 0
        await until(system.caught_up)

    after = await events(system)
    mended = [event for event in after if event["source"] == "replay"]
    assert len(told(mended, f"dash:{UNREADABLE_THEN}-")) == HURT
    changed = told(mended, "dash:U-")
    assert [(each["id"], each["type"], each["status"]) for each in sorted(changed, key=lambda each: each["id"])] == [
        (each["id"], each["type"], each["status"]) for each in sorted(plan["events"], key=lambda each: each["id"])
    ]
    assert all(each["status"] == "VERIFIED" and len(each["resolves"]) == 1 for each in changed)
    assert len(mended) == 2 * HURT
    lived = told(after, "dash:L-")
    assert {each["shipment_id"] for each in lived} == set(parcels)
    assert len(after) == len(before) + len(mended) + len(lived)
    assert_gapless(after)
    audited = await asked(system, "audit", "--all", "--from-raw")
    assert audited["found"] == 0
    await assert_rows_are_the_states(system)


def assert_gapless(found: list[Any]) -> None:
    versions: dict[str, list[int]] = {}
    for event in found:
        versions.setdefault(event["shipment_id"], []).append(event["version"])
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in versions.values())


async def assert_rows_are_the_states(system: System) -> None:
    rows = {row["shipment_id"]: row["status"] for row in await system.rows("select shipment_id, status from shipments")}
    states = {record.key.decode(): msgspec.json.decode(record.value) for record in await system.read(Topic.STATE)}
    assert {name: state["status"] for name, state in states.items()} == rows
