"""The door while one of three brokers is gone: two of four partitions, which have no copy elsewhere, have no leader."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec
import pytest
from aiokafka.admin import NewTopic

from devstack import KafkaCluster
from runtime.kafka import admin_client
from runtime.kafka_admin import create_topics
from runtime.kafka_asking import Admin
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.faults.brokers import away, described
from tests.integration.test_ingest import Process, TopicStore, until, waybill_ingest
from tests.unit.ingest.doors import settings_with

pytestmark = pytest.mark.xdist_group("brokers")

SICK: Final = 2
LEADERLESS: Final = (0, 1)
HEALTHY: Final = (2, 3)
HOMES: Final = {0: [SICK], 1: [SICK], 2: [1], 3: [3]}
"""Which broker has which partition."""

ROUNDS: Final = 20


def shipment_of(partition: int, prefix: str = "S") -> str:
    """Name a shipment of a partition."""
    names = (f"{prefix}-{number}" for number in range(1_000))
    return next(name for name in names if partition_of(f"dash:{name}".encode(), len(HOMES)) == partition)


async def make_topic(settings: Settings) -> None:
    topic = NewTopic(
        settings.topic(Topic.RAW),
        -1,
        -1,
        replica_assignments=HOMES,
        topic_configs={"unclean.leader.election.enable": "false", "min.insync.replicas": "1"},
    )
    async with admin_client(settings) as admin:
        response = await admin.create_topics([topic])
    assert [error[1] for error in response.topic_errors] == [0], response

    async def led() -> bool:
        return all(
            each["leader"] > 0 and len(each["isr"]) == len(each["replicas"])
            for each in await described(settings, Topic.RAW)
        )

    await until(led)


async def aimed_at(admin: Admin, node: int) -> None:
    """Have a client take a broker for the controller. Brokers name one of theirs at random."""
    async with asyncio.timeout(30):
        while admin._client.cluster.controller.nodeId != node:
            await admin._client.force_metadata_update()


async def test_sick_partitions_hold_up_no_other(kafka_cluster: KafkaCluster, topic_prefix: str, tmp_path: Path) -> None:
    environ = {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_cluster.bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
    }
    settings = settings_with(**environ)
    store = TopicStore(settings)
    await make_topic(settings)
    async with AsyncExitStack() as broken:
        async with waybill_ingest(environ) as ingest, admin_client(settings) as admin:
            await until(lambda: ingest.takes("kafka"))
            await aimed_at(admin, SICK)
            await broken.enter_async_context(away(kafka_cluster, [SICK]))
            await create_topics(admin, [(f"{topic_prefix}other", 1, 1, {})])  # the controller it knew is gone

            async def sick() -> bool:
                partitions = await described(settings, Topic.RAW)
                return all(partitions[each]["leader"] < 0 for each in LEADERLESS)

            await until(sick)
            slowest = await post_rounds(ingest)
            assert slowest < 2.0, "a webhook of a healthy partition waits for nobody"
            waiting = (await ingest.metrics())["waybill_ingest_spool_records"]
            assert waiting == 2 * (ROUNDS + 1), ingest.log
            found = Counter(record.partition for record in await store.everything(HEALTHY))
            assert found == dict.fromkeys(HEALTHY, ROUNDS + 1), "nothing twice, nothing behind the sick"
            assert (await ingest.readiness())[0] == 200
            ingest.process.terminate()
            assert await ingest.exit_code() == 0, "within ten seconds"
        async with waybill_ingest(environ) as ingest:
            await until(lambda: ingest.takes("spool"))
            await broken.aclose()
            await until(lambda: drained(ingest))
            assert (await ingest.metrics())["waybill_ingest_spool_refused_records"] == 0
    records = await store.everything()
    for partition in HOMES:
        mine = [msgspec.json.decode(record.value)["number"] for record in records if record.partition == partition]
        assert list(dict.fromkeys(mine)) == list(range(ROUNDS + 1))
        assert len(mine) <= ROUNDS + 3, "what was under way when the broker died may come twice, once"


async def post_rounds(ingest: Process) -> float:
    """Send every partition a webhook, again and again. Return how long the slowest of a healthy partition took.

    The first of each sick partition finds out, for all that follow.
    """
    slowest = 0.0
    for number in range(ROUNDS + 1):
        for partition in HOMES:
            body = msgspec.json.encode({"deliveryID": shipment_of(partition), "number": number})
            began = asyncio.get_running_loop().time()
            assert (await ingest.post(body))[0] == 200
            if partition in HEALTHY:
                slowest = max(slowest, asyncio.get_running_loop().time() - began)
    return slowest


async def drained(ingest: Process) -> bool:
    return (await ingest.metrics())["waybill_ingest_spool_records"] == 0
