"""The door on a real broker, and the real process: signals, outages, refusals."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

import aiohttp
import msgspec
import pytest
from aiokafka.structs import TopicPartition

from devstack import Kafka
from ingest.publisher import KafkaPublisher, connected_publisher
from runtime import kafka as clients
from runtime import topics
from runtime.kafka_admin import create_topics
from runtime.settings import Settings
from schemas.topics import Topic
from tests import forking
from tests.unit.ingest.door_suite import DELIVERY, PARTITIONS, DoorSuite
from tests.unit.ingest.doors import CREDENTIALS, DASH, SETTINGS, Kept, RunningDoor, running_door, settings_with
from tests.waiting import DEADLINE, until

"""Seconds. A broker killed before takes up to 14 s to come back."""


class TopicStore:
    """Reads the raw topic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def kept(self, count: int) -> Sequence[Kept]:
        found = await self.everything()
        assert len(found) == count
        return found

    async def everything(self, partitions: Sequence[int] | None = None) -> Sequence[Kept]:
        """Read it all, or what some partitions hold."""
        topic = self._settings.topic(Topic.RAW)
        async with clients.open_reader(self._settings, "test", *([topic] if partitions is None else [])) as reader:
            if partitions is not None:
                reader.assign([TopicPartition(topic, partition) for partition in partitions])
            total = sum((await reader.end_offsets(reader.assignment())).values())
            found: list[Kept] = []
            async with asyncio.timeout(DEADLINE):
                while len(found) < total:
                    batches = await reader.getmany(timeout_ms=500)
                    found += [kept_record(record) for records in batches.values() for record in records]
            return found


def kept_record(record: Any) -> Kept:
    return Kept(record.partition, record.key, record.value, list(record.headers), record.timestamp)


@asynccontextmanager
async def publishing(settings: Settings) -> AsyncIterator[KafkaPublisher]:
    async with connected_publisher(
        partial(clients.new_producer, settings, "test"), settings.topic(Topic.RAW), settings.ingest_publish_timeout
    ) as publisher:
        yield publisher


async def connected(publisher: KafkaPublisher) -> bool:
    return publisher.connected


@pytest.fixture
def environ(kafka_bootstrap_servers: str, topic_prefix: str) -> dict[str, str]:
    return {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_TOPIC_PARTITIONS": str(PARTITIONS),
        "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    # A busy machine is slow; that the door is fast enough is not for these tests to say.
    return settings_with(**environ, WAYBILL_INGEST_PUBLISH_TIMEOUT="20s")


@pytest.fixture
async def raw_topic(settings: Settings) -> str:
    await topics.apply(settings)
    return settings.topic(Topic.RAW)


@pytest.fixture
def store(settings: Settings) -> TopicStore:
    return TopicStore(settings)


@pytest.fixture
async def publisher(settings: Settings, raw_topic: str) -> AsyncIterator[KafkaPublisher]:
    async with publishing(settings) as publisher:
        yield publisher


@pytest.fixture
async def door(settings: Settings, publisher: KafkaPublisher) -> AsyncIterator[RunningDoor]:
    async with running_door(publisher, settings) as running:
        yield running


async def make_raw_topic(settings: Settings, most_bytes: int) -> None:
    """Make the raw topic with its limit: one that is set later holds a moment after the broker has agreed to it."""
    configs = {"max.message.bytes": str(most_bytes)}
    async with clients.admin_client(settings) as admin:
        await create_topics(admin, [(settings.topic(Topic.RAW), settings.topic_partitions, 1, configs)])


async def test_a_record_the_broker_refuses_harms_no_other(settings: Settings, store: TopicStore) -> None:
    await make_raw_topic(settings, 5_000)
    async with publishing(settings) as publisher, running_door(publisher, settings) as door:
        for _ in range(2):
            refused = await door.post("/webhooks/dash", DELIVERY + b" " * 10_000, DASH)
            refused.assert_problem(503)
            assert (await door.post("/webhooks/dash", DELIVERY, DASH)).status == 200
    await store.kept(2)


async def test_a_door_waits_for_its_topic(settings: Settings) -> None:
    async with publishing(settings) as publisher, running_door(publisher, settings) as door:
        posting = asyncio.create_task(door.post("/webhooks/dash", DELIVERY, DASH))
        await topics.apply(settings)
        assert (await posting).status == 200


async def test_an_unforeseen_error_in_the_background_ends_the_service() -> None:
    def broken() -> NoReturn:
        raise RuntimeError("no such producer")

    with pytest.raises(ExceptionGroup) as raised:
        async with connected_publisher(broken, "topic", timedelta(seconds=1)):
            await asyncio.Event().wait()
    assert raised.group_contains(RuntimeError, match="no such producer")


class Process:
    """A running `waybill ingest`."""

    def __init__(self, process: forking.Started, client: aiohttp.ClientSession) -> None:
        self.process = process
        self.client = client
        self.port = 0
        self.admin_port = 0
        self.log: list[dict[str, Any]] = []

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            entry = msgspec.json.decode(line)
            self.log.append(entry)
            if entry["event"] == "ingest ready":
                self.port, self.admin_port = entry["port"], entry["admin_port"]

    async def listens(self) -> bool:
        assert self.process.returncode is None, self.log
        return bool(self.port)

    async def post(
        self, body: bytes = DELIVERY, courier: str = "dash", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str]]:
        url = f"http://127.0.0.1:{self.port}/webhooks/{courier}"
        credentials = CREDENTIALS[courier] | (headers or {})
        async with self.client.post(url, data=body, headers=credentials) as response:
            await response.read()
            return response.status, {**response.headers}

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        async with self.client.get(f"http://127.0.0.1:{self.admin_port}/readyz") as response:
            return response.status, await response.json()

    async def ready(self) -> bool:
        return (await self.readiness())[0] == 200

    async def takes(self, part: str | None) -> bool:
        """Whether this part keeps the next record."""
        return bool((await self.readiness())[1]["taking"] == part)

    async def metrics(self) -> dict[str, float]:
        """Read the metrics that have no labels."""
        async with self.client.get(f"http://127.0.0.1:{self.admin_port}/metrics") as response:
            lines = (await response.text()).splitlines()
        return {name: float(value) for name, _, value in (line.partition(" ") for line in lines) if name != "#"}

    async def not_ready(self) -> bool:
        return not await self.ready()

    async def exit_code(self) -> int:
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@asynccontextmanager
async def waybill_ingest(
    environ: dict[str, str], command: Sequence[str] = ("cli.main", "ingest")
) -> AsyncIterator[Process]:
    process = await forking.start(*command, environ=SETTINGS | environ, stderr=forking.PIPE)
    async with aiohttp.ClientSession() as client:
        running = Process(process, client)
        reading = asyncio.create_task(running.read_log())
        try:
            await until(running.listens)
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading


@asynccontextmanager
async def outage(kafka: Kafka) -> AsyncIterator[None]:
    await kafka.kill()
    try:
        yield
    finally:
        await kafka.restart()


async def test_a_broker_that_comes_and_goes(
    environ: dict[str, str], store: TopicStore, raw_topic: str, kafka: Kafka
) -> None:
    async with AsyncExitStack() as stack:
        async with outage(kafka):
            brief = environ | {"WAYBILL_INGEST_PUBLISH_TIMEOUT": "500ms"}
            ingest = await stack.enter_async_context(waybill_ingest(brief))
            status, headers = await ingest.post()
            assert (status, headers["Content-Type"]) == (503, "application/problem+json")
            assert int(headers["Retry-After"]) > 0
            assert await ingest.not_ready()
            async with ingest.client.get(f"http://127.0.0.1:{ingest.port}/healthz") as health:
                assert health.status == 200
        await until(ingest.ready)
        assert (await ingest.post())[0] == 200
        async with outage(kafka):
            await until(ingest.not_ready)  # noticed though nothing is sent
            assert (await ingest.post())[0] == 503
        await until(ingest.ready)
        assert (await ingest.post())[0] == 200
        async with outage(kafka):
            assert (await ingest.post())[0] == 503
            _, slow = await begun_request(ingest.port, 9)
            ingest.process.send_signal(signal.SIGTERM)
            assert await ingest.exit_code() == 0
            slow.close()
    assert len(await store.kept(2)) == 2


class TestDoorOnKafka(DoorSuite):
    """The suite, on the broker."""


async def test_sigterm_in_mid_request(environ: dict[str, str], store: TopicStore, raw_topic: str) -> None:
    async with waybill_ingest(environ) as ingest:
        await until(ingest.ready)
        reader, writer = await begun_request(ingest.port, len(DELIVERY))
        ingest.process.send_signal(signal.SIGTERM)
        await until(partial(refuses_connections, ingest.port))
        writer.write(DELIVERY)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        writer.close()
        assert await ingest.exit_code() == 0
    (record,) = await store.kept(1)
    assert record.value == DELIVERY


async def begun_request(port: int, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a webhook's head, and come back when the door waits for its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    return reader, writer


async def refuses_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_sigterm_ends_idle_and_slow_connections(environ: dict[str, str], raw_topic: str) -> None:
    async with waybill_ingest(environ) as ingest:
        await until(ingest.ready)
        assert (await ingest.post())[0] == 200  # leaves an idle connection behind
        _, slow = await begun_request(ingest.port, 9)
        _, silent = await asyncio.open_connection("127.0.0.1", ingest.port)
        ingest.process.send_signal(signal.SIGTERM)
        assert await ingest.exit_code() == 0
        slow.close()
        silent.close()
    assert not [entry for entry in ingest.log if entry["level"] == "error"]


async def test_a_port_taken_by_a_stranger_is_one_clear_line(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        ingest = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "ingest"),
            env={"PATH": os.environ["PATH"], **SETTINGS, **environ, "WAYBILL_INGEST_PORT": port},
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await ingest.communicate()
    assert ingest.returncode == 1
    assert port in msgspec.json.decode(stderr.splitlines()[-1])["reason"]
