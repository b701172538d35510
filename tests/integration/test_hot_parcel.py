"""Thousands of webhooks of one parcel, each older than the one before: nobody else waits for them."""

from collections import Counter

import msgspec

from schemas.observation import NO_DETAILS
from schemas.stored_observation import read_observation
from schemas.topics import Topic
from tests.hot_parcels import REFERENCE, hot_records, recoveries, reversed_order
from tests.integration.crowding import crowded
from tests.integration.operating import asked, running, waybill
from tests.integration.system import PARTITIONS, System, open_system

COUNT = 6_000
DELAY_SECONDS = 5.0
OPEN = ("anomalies", "list", "--kind", "history_limit")


async def test_a_hot_parcel_stops_nobody(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    unlimited = System({**system.environ, "WAYBILL_SHIPMENT_MAX_OBSERVATIONS": "100000"})
    measured = await crowded(unlimited, hot_records(recoveries, reversed_order(COUNT)), most_seconds=120)
    assert measured.claims == PARTITIONS, "a partition was lost and claimed again"
    assert measured.delays
    assert max(measured.delays) < DELAY_SECONDS
    events = [msgspec.json.decode(record.value) for record in await system.read(Topic.EVENTS)]
    versions = [event["version"] for event in events if event["courier_ref"] == REFERENCE]
    assert versions == list(range(1, len(versions) + 1))
    rows = await system.rows("select outcome, count(*) from observations where shipment_id ~ 'HOT' group by 1")
    outcomes = {row["outcome"]: row["count"] for row in rows}
    assert sum(outcomes.values()) == COUNT
    assert outcomes["event"] == len(versions)


async def test_beyond_the_limit_each_is_an_anomaly(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    """Their readings are stored without details, as those of plain repeats are. With a raised limit they count."""
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    limited = System({**system.environ, "WAYBILL_SHIPMENT_MAX_OBSERVATIONS": "30"})
    records = hot_records(recoveries, [*range(40), *range(20)])
    await crowded(limited, records, most_seconds=60)
    anomalies = [msgspec.json.decode(record.value) for record in await system.read(Topic.ANOMALIES)]
    assert [each["kind"] for each in anomalies if "HOT" in each["shipment_id"]].count("history_limit") == 10
    rows = await system.rows("select * from observations where shipment_id ~ 'HOT' and not kept")
    beyond = Counter(
        (
            row["outcome"],
            row["anomaly_kind"],
            read_observation(row["shipment_id"], None, row["said"]).details != NO_DETAILS,
        )
        for row in rows
    )
    assert beyond == {("anomaly", "history_limit", False): 10, ("duplicate", None, False): 20}
    assert len(await asked(limited, *OPEN)) == 10
    assert (await asked(limited, "audit", "--all", "--from-raw"))["found"] == 0
    raised = System({**system.environ, "WAYBILL_SHIPMENT_MAX_OBSERVATIONS": "40"})
    async with running(raised):
        await waybill(raised, "replay", "run", "--all", "--shipment", f"dash:{REFERENCE}", "--yes")
    assert await asked(raised, *OPEN) == []
    assert (await asked(raised, "audit", "--all", "--from-raw"))["found"] == 0
