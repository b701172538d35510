"""The door while a second broker is gone: two of four partitions have no leader."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from aiokafka.admin import NewTopic

import devstack.kafka
from devstack import Choice, Embedded, Kafka, MissingToolError, Named, services
from devstack.home import Home
from devstack.kafka import EmbeddedKafka
from devstack.ports import HOST, free_ports
from processor.emitter import KAFKA_ERRORS
from runtime.errors import UnreachableError
from runtime.kafka import admin_client
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.conftest import lacking
from tests.integration.test_ingest import Process, TopicStore, until, waybill_ingest
from tests.unit.ingest.doors import settings_with

LEADERLESS: Final = (0, 1)
HEALTHY: Final = (2, 3)
HOMES: Final = {0: [2], 1: [2], 2: [1], 3: [1]}
"""Which brokers have which partition."""

ROUNDS: Final = 20


@pytest_asyncio.fixture
async def kafka() -> AsyncIterator[Kafka]:
    """A broker of this test's own: its cluster knows the second one for good, and misses it."""
    try:
        async with services(Choice(Embedded(), Named("postgresql://")), None, lambda _: None) as stack:
            yield stack.kafka
    except MissingToolError as error:
        lacking(f"no Kafka of its own: {error}")


def shipment_of(partition: int, prefix: str = "S") -> str:
    """Name a shipment of a partition."""
    names = (f"{prefix}-{number}" for number in range(1_000))
    return next(name for name in names if partition_of(f"dash:{name}".encode(), len(HOMES)) == partition)


@asynccontextmanager
async def second_broker(first: Kafka, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedKafka]:
    """Run a broker beside the tests' one, in the same cluster. It is known to the cluster afterwards, and away."""
    if not isinstance(first, EmbeddedKafka):
        lacking("only an embedded broker gets a second one")
    theirs = dict(line.split("=", 1) for line in first._settings.read_text().splitlines())
    meta = (first._home.path / "data" / "meta.properties").read_text()
    cluster = next(line.removeprefix("cluster.id=") for line in meta.splitlines() if line.startswith("cluster.id="))
    monkeypatch.setattr(devstack.kafka, "_new_cluster_id", lambda: cluster)
    home = Home.fresh("kafka")
    (port,) = free_ports(1)
    extra = {
        "node.id": "2",
        "process.roles": "broker",
        "controller.quorum.voters": theirs["controller.quorum.voters"],
        "listeners": f"CLIENTS://{HOST}:{port}",
        "advertised.listeners": f"CLIENTS://{HOST}:{port}",
    }
    broker = EmbeddedKafka(first._java, first._jars, home, extra)
    try:
        await broker.start(lambda _: None)
        yield broker
    finally:
        await broker.stop()
        home.release()


async def described(settings: Settings) -> list[dict[str, Any]]:
    async with admin_client(settings) as admin:
        topics = await admin.describe_topics([settings.topic(Topic.RAW)])
    return sorted(topics[0]["partitions"], key=lambda each: int(each["partition"]))


async def make_topic(settings: Settings) -> None:
    topic = NewTopic(
        settings.topic(Topic.RAW),
        -1,
        -1,
        replica_assignments=HOMES,
        topic_configs={"unclean.leader.election.enable": "false"},
    )
    async with admin_client(settings) as admin:
        response = await admin.create_topics([topic])
    assert [error[1] for error in response.topic_errors] == [0], response

    async def led() -> bool:
        return all(
            each["leader"] > 0 and len(each["isr"]) == len(each["replicas"]) for each in await described(settings)
        )

    await until(led)


async def test_sick_partitions_hold_up_no_other(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
    }
    settings = settings_with(**environ)
    store = TopicStore(settings)
    async with second_broker(kafka, monkeypatch) as second:
        await make_topic(settings)
        async with waybill_ingest(environ) as ingest:
            await until(lambda: ingest.takes("kafka"))
            await second.kill()

            async def sick() -> bool:
                with suppress(UnreachableError, *KAFKA_ERRORS):  # a client may still ask the broker that is gone
                    partitions = await described(settings)
                    return all(partitions[each]["leader"] < 0 for each in LEADERLESS)
                return False

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
            await second.restart()
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
