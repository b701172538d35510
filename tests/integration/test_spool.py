"""The spool of the real process, on the real broker: outages, stops, refusals, neighbours."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from devstack import Kafka
from ingest.spool_db import FILE
from runtime import topics
from runtime.settings import Settings
from tests.integration.test_ingest import Process, TopicStore, make_raw_topic, outage, waybill_ingest
from tests.unit.ingest.doors import SETTINGS, Kept, settings_with
from tests.waiting import until

PARTITIONS = 4


def delivery(name: str, number: int, padding: int = 0) -> bytes:
    return msgspec.json.encode({"deliveryID": name, "number": number, "padding": "x" * padding})


def numbers(records: Sequence[Kept], name: str) -> list[int]:
    """Return the numbers of a shipment's webhooks in the topic's order, each where it stands first."""
    bodies = [msgspec.json.decode(record.value) for record in records]
    return list(dict.fromkeys(body["number"] for body in bodies if body["deliveryID"] == name))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def environ(kafka_bootstrap_servers: str, topic_prefix: str, directory: Path) -> dict[str, str]:
    return {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_TOPIC_PARTITIONS": str(PARTITIONS),
        "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
        "WAYBILL_INGEST_SPOOL_DIR": str(directory),
    }


@pytest.fixture
async def settings(environ: dict[str, str]) -> Settings:
    settings = settings_with(**environ)
    await topics.apply(settings)
    return settings


@pytest.fixture
def store(settings: Settings) -> TopicStore:
    return TopicStore(settings)


async def drained(ingest: Process) -> bool:
    return (await ingest.metrics())["waybill_ingest_spool_records"] == 0


async def post_all(ingest: Process, name: str, numbered: range) -> None:
    for number in numbered:
        assert (await ingest.post(delivery(name, number)))[0] == 200


async def test_couriers_notice_no_outage(environ: dict[str, str], store: TopicStore, kafka: Kafka) -> None:
    async with AsyncExitStack() as stack:
        async with outage(kafka):
            async with waybill_ingest(environ) as before:  # nothing is known of Kafka yet
                await post_all(before, "A", range(5))
                assert await before.readiness() == (
                    200,
                    {"status": "ready", "parts": {"kafka": False, "spool": True}, "taking": "spool"},
                )
                metrics = await before.metrics()
                assert metrics["waybill_ingest_spool_records"] == 5
                assert 0 < metrics["waybill_ingest_spool_oldest_age_seconds"] < 60
                before.process.terminate()
                assert await before.exit_code() == 0
            ingest = await stack.enter_async_context(waybill_ingest(environ))
            await post_all(ingest, "A", range(5, 8))
            assert await ingest.takes("spool")
        await until(partial(ingest.takes, "kafka"))
        assert (await ingest.metrics())["waybill_ingest_spool_drained_total"] == 8
        await post_all(ingest, "A", range(8, 10))
        async with outage(kafka):  # with a producer that knew the broker
            await post_all(ingest, "A", range(10, 20))
        await until(partial(drained, ingest))
    assert numbers(await store.everything(), "A") == list(range(20))


async def test_a_frozen_broker_is_an_outage(environ: dict[str, str], store: TopicStore, kafka: Kafka) -> None:
    pid = getattr(kafka, "pid", None)
    if pid is None:
        pytest.skip("a broker in Docker has no process to freeze")
    async with waybill_ingest(environ) as ingest:
        await until(partial(ingest.takes, "kafka"))
        await post_all(ingest, "A", range(3))
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):  # the publish timeout is waited out once
                await post_all(ingest, "A", range(3, 20))
            assert await ingest.takes("spool")
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(partial(drained, ingest))
        await until(partial(ingest.takes, "kafka"))
    assert numbers(await store.everything(), "A") == list(range(20))


async def test_a_second_ingest_needs_a_directory_of_its_own(
    environ: dict[str, str], store: TopicStore, directory: Path, tmp_path: Path
) -> None:
    async with waybill_ingest(environ) as first:
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "ingest"),
            env={"PATH": os.environ["PATH"], **SETTINGS, **environ},
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await second.communicate()
        assert second.returncode == 1
        errors = [entry for line in stderr.splitlines() if (entry := msgspec.json.decode(line))["level"] == "error"]
        (error,) = errors
        assert str(directory) in error["reason"]
        assert f"process {first.process.pid}" in error["reason"]
        assert "WAYBILL_INGEST_SPOOL_DIR" in error["reason"]
        other = environ | {"WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "other")}
        async with waybill_ingest(other) as third:
            await until(partial(first.takes, "kafka"))
            await until(partial(third.takes, "kafka"))
            await post_all(first, "A", range(5))
            await post_all(third, "B", range(5))
    records = await store.kept(10)
    assert numbers(records, "A") == numbers(records, "B") == list(range(5))


async def test_what_the_broker_refuses_is_set_aside(environ: dict[str, str], directory: Path) -> None:
    settings = settings_with(**environ)
    await make_raw_topic(settings, 5_000)
    async with waybill_ingest(environ) as ingest:
        await until(partial(ingest.takes, "kafka"))
        assert (await ingest.post(delivery("A", 0, padding=10_000)))[0] == 200
        await post_all(ingest, "A", range(1, 4))
        assert (await ingest.post(delivery("A", 4, padding=10_000)))[0] == 200
        await post_all(ingest, "B", range(40))
        await until(partial(drained, ingest))
        assert (await ingest.metrics())["waybill_ingest_spool_refused_total"] == 2
        await until(partial(ingest.takes, "kafka"))
        alarms = [entry for entry in ingest.log if entry["level"] == "error"]
        assert [alarm["event"] for alarm in alarms] == ["record refused by kafka"] * 2
        assert "xxx" not in str(ingest.log)
    records = await TopicStore(settings).everything()
    assert numbers(records, "A") == [1, 2, 3]
    assert numbers(records, "B") == list(range(40))
    with closing(sqlite3.connect(directory / FILE)) as db:
        assert db.execute("select count(*) from refused where length(value) > 10000").fetchone() == (2,)
