"""The door while Kafka dies, while it dies itself, and while its disk is full: nothing answered is lost, all in order.

Short by default; `WAYBILL_TEST_CHAOS=1` is the long form. `WAYBILL_TEST_SEED` repeats the moments of death.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec
import psutil
import pytest

from devstack import Kafka
from devstack.ports import HOST, free_ports
from runtime import topics
from runtime.settings import load_settings
from tests.faults.chaos import LONG, chosen_seed
from tests.faults.proxy import Proxy
from tests.faults.services import Service
from tests.integration.test_ingest import TopicStore
from tests.unit.ingest.doors import DASH, KIRIMINAJA, SETTINGS
from tests.waiting import DEADLINE, until

SEED: Final = chosen_seed()

OUTAGE_RATE: Final = 500.0 if LONG else 100.0
OUTAGE_SECONDS: Final = 60.0 if LONG else 6.0
"""With the seconds before and behind it the short form is a stream of ten seconds."""

AROUND_SECONDS: Final = 2.0
DRAIN_SECONDS: Final = 60.0
"""How long the spool may take to be empty once the broker serves again."""

DEATHS: Final = 50 if LONG else 5
DEATHS_RATE: Final = 200.0
ANSWER_SECONDS: Final = 10.0
SHIPMENTS: Final = 400
"""Each has one webhook under way at most, so their order is known. Enough that waiting ones do not slow the stream."""


class Door:
    """A `waybill ingest` that can be killed, and a proxy between it and Kafka."""

    def __init__(
        self, service: Service, kafka: Proxy, port: int, admin_port: int, session: aiohttp.ClientSession
    ) -> None:
        self.service = service
        self.kafka = kafka
        self.url = f"http://{HOST}:{port}"
        self.session = session
        self._admin = f"http://{HOST}:{admin_port}"

    async def start(self) -> None:
        await self.service.start()
        await until(self.listens)

    async def listens(self) -> bool:
        assert self.service.running, self.service.log_tail()
        try:
            async with self.session.get(f"{self.url}/healthz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def taking(self) -> Any:
        async with self.session.get(f"{self._admin}/readyz") as answer:
            return (await answer.json())["taking"]

    async def direct(self) -> bool:
        return bool(await self.taking() == "kafka")

    async def post(self, courier: str, body: bytes) -> int:
        headers = DASH if courier == "dash" else KIRIMINAJA
        async with self.session.post(f"{self.url}/webhooks/{courier}", data=body, headers=headers) as answer:
            await answer.read()
            assert answer.status in (200, 503)
            return answer.status


class Stream:
    """Webhooks of many shipments at a steady rate; each shipment's next one once the last one is answered 200."""

    def __init__(self, door: Door, rate: float) -> None:
        self.answered: Counter[str] = Counter()
        self.refused = 0
        self.slowest = 0.0
        self._door = door
        self._rate = rate
        self._idle = deque(f"S-{number}" for number in range(SHIPMENTS))
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Send in the background; leave once all that was begun is answered."""
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(group))
            try:
                yield
            except BaseException:
                sending.cancel()
                raise
            self._stopping.set()

    async def _send(self, group: asyncio.TaskGroup) -> None:
        began, sent = monotonic(), 0
        while not self._stopping.is_set():
            while sent < (monotonic() - began) * self._rate and self._idle:
                group.create_task(self._post(self._idle.popleft()))
                sent += 1
            await asyncio.sleep(0.005)

    async def _post(self, shipment: str) -> None:
        body = msgspec.json.encode({"deliveryID": shipment, "number": self.answered[shipment]})
        began = monotonic()
        async with asyncio.timeout(DEADLINE):
            while not await self._attempt(body):
                self.refused += 1
                await asyncio.sleep(0.05)
        self.slowest = max(self.slowest, monotonic() - began)
        self.answered[shipment] += 1
        self._idle.append(shipment)

    async def _attempt(self, body: bytes) -> bool:
        try:
            return await self._door.post("dash", body) == 200
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
            return False


async def assert_all_there_in_order(stream: Stream, store: TopicStore) -> int:
    """Every webhook answered is in the raw topic, a shipment's in their order. Return how many came twice."""
    found: dict[str, list[int]] = {}
    records = await store.everything()
    for record in records:
        body = msgspec.json.decode(record.value)
        seen = found.setdefault(body["deliveryID"], [])
        if body["number"] not in seen:
            seen.append(body["number"])
    assert found == {shipment: list(range(count)) for shipment, count in stream.answered.items()}
    return len(records) - stream.answered.total()


@pytest.fixture
async def environ(kafka_bootstrap_servers: str, topic_prefix: str) -> dict[str, str]:
    environ = {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_TOPIC_PARTITIONS": "4",
        "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
    }
    await topics.apply(load_settings(environ))
    return environ


@pytest.fixture
def store(environ: dict[str, str]) -> TopicStore:
    return TopicStore(load_settings(environ))


@pytest.fixture
async def door(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Door]:
    host, port = environ["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"].split(",")[0].rsplit(":", 1)
    door_port, admin_port = free_ports(2)
    async with AsyncExitStack() as opened:
        proxy = Proxy((host, int(port)), random.Random(SEED), kafka=True)
        await proxy.start()
        opened.push_async_callback(proxy.close)
        own = {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{proxy.port}",
            "WAYBILL_INGEST_PORT": str(door_port),
            "WAYBILL_INGEST_ADMIN_PORT": str(admin_port),
            "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
            "WAYBILL_LOG_FORMAT": "json",
        }
        service = Service("ingest", {**SETTINGS, **environ, **own}, tmp_path / "ingest.log")
        session = await opened.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            )
        )
        door = Door(service, proxy, door_port, admin_port, session)
        await door.start()
        opened.push_async_callback(service.kill)
        yield door


async def test_kafka_killed_under_a_steady_stream(
    door: Door, store: TopicStore, kafka: Kafka, record_property: Callable[[str, object], None]
) -> None:
    stream = Stream(door, OUTAGE_RATE)
    await until(door.direct)
    async with stream.flowing():
        await asyncio.sleep(AROUND_SECONDS)
        await kafka.kill()
        await asyncio.sleep(OUTAGE_SECONDS)
        assert await door.taking() == "spool"
        await kafka.restart()
        back = monotonic()
        await until(door.direct, DRAIN_SECONDS)  # though the stream goes on
        record_property("drained after seconds", monotonic() - back)
        await asyncio.sleep(AROUND_SECONDS)
    assert stream.refused == 0, door.service.log_tail()
    twice = await assert_all_there_in_order(stream, store)
    record_property("webhooks", stream.answered.total())
    record_property("slowest answer, seconds", stream.slowest)
    record_property("records twice", twice)
    assert await door.service.stop() == 0


async def test_the_ingest_killed_while_it_spools_and_drains(
    door: Door, store: TopicStore, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    record_property("WAYBILL_TEST_SEED", SEED)
    stream = Stream(door, DEATHS_RATE)
    async with stream.flowing():
        for number in range(DEATHS):
            if number % 2 == 0:
                door.kafka.away()
                await asyncio.sleep(chance.uniform(0.2, 1.2))
            else:
                connections = door.service.log().count("kafka connected")
                door.kafka.back()

                async def connected(before: int = connections) -> bool:
                    return door.service.log().count("kafka connected") > before

                await until(connected)
                await asyncio.sleep(chance.uniform(0.0, 0.15))
            await door.service.kill()
            await door.start()
        if DEATHS % 2:
            door.kafka.back()
    await until(door.direct)
    twice = await assert_all_there_in_order(stream, store)
    record_property("webhooks", stream.answered.total())
    record_property("records twice", twice)
    assert await door.service.stop() == 0


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="no limit can be set on a running process here")
async def test_a_full_disk(door: Door, store: TopicStore) -> None:
    door.kafka.away()

    def bulk(number: int) -> bytes:
        items = [{"order_id": f"O-{number}-{item}", "shipped_at": "x" * 2_000} for item in range(5)]
        return msgspec.json.encode({"method": "shipped_packages", "data": items})

    async def spools() -> bool:
        return bool(await door.taking() == "spool")

    await until(spools)
    process = door.service.process
    assert process is not None
    limits = psutil.Process(process.pid)
    answers = [await door.post("kiriminaja", bulk(number)) for number in range(5)]
    limits.rlimit(psutil.RLIMIT_FSIZE, (400_000, psutil.RLIM_INFINITY))
    answers += [await door.post("kiriminaja", bulk(number)) for number in range(5, 80)]
    assert answers[:5] == [200] * 5
    assert answers[-10:] == [503] * 10
    assert await door.taking() is None
    limits.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    answers += [await door.post("kiriminaja", bulk(number)) for number in range(80, 90)]
    assert answers[-10:] == [200] * 10
    door.kafka.back()
    await until(door.direct)
    kept = Counter(record.key.decode().rsplit("-", 1)[0] for record in await store.everything())
    assert kept == {f"kiriminaja:O-{number}": 5 for number, answer in enumerate(answers) if answer == 200}
