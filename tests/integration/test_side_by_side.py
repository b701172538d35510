"""Two doors side by side, behind one proxy and behind one port; one of them leaves while webhooks flow."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from socket import create_server
from typing import Final

import aiohttp
import msgspec
import pytest

from runtime import topics
from tests.integration.test_ingest import Process, TopicStore, waybill_ingest
from tests.unit.ingest.doors import DASH, settings_with
from tests.waiting import DEADLINE, until

COURIERS: Final = 12
"""How many connections knock at once. A port's connections are dealt out by chance: that all fall to one of two
doors happens once in 2,048 times, and those that come anew are dealt out again."""

SHARE: Final = 40
"""Webhooks that each door takes before one is stopped, and that the other takes afterwards."""

REQUESTS_A_CONNECTION: Final = 10
READ_BYTES: Final = 64 * 1024


class Balancer:
    """A TCP proxy that deals connections out in turn. One that cannot be reached is passed over."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = list(ports)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await self._connect()
        except ConnectionRefusedError:
            writer.transport.abort()
            return
        pumps = [asyncio.create_task(_pump(reader, forth)), asyncio.create_task(_pump(back, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (forth, writer):
            end.close()
        await asyncio.gather(*pumps)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self._ports:
            port = self._ports.pop(0)
            self._ports.append(port)
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                continue
        raise ConnectionRefusedError


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


class Traffic:
    """Couriers that post webhooks one after the other, and again only where the connection failed."""

    def __init__(self, port: int) -> None:
        self.accepted: set[str] = set()
        """The ids of the webhooks answered 200."""
        self.retries = 0
        self._url = f"http://127.0.0.1:{port}/webhooks/dash"
        self._stop = asyncio.Event()

    async def flow(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            async with aiohttp.ClientSession() as session:
                for _ in range(REQUESTS_A_CONNECTION):
                    number += 1
                    await self._post(session, msgspec.json.encode({"deliveryID": name, "number": number}))

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> None:
        while True:
            try:
                async with session.post(self._url, data=body, headers=DASH) as answer:
                    assert answer.status == 200, await answer.text()
                    self.accepted.add((await answer.json())["webhook_id"])
                    return
            except aiohttp.ClientConnectionError:  # refused, or reset
                self.retries += 1

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for number in range(COURIERS):
                group.create_task(self.flow(f"S-{number}"))
            yield
            self._stop.set()


async def taken(ingest: Process) -> float:
    """Return how many webhooks a door has accepted."""
    async with ingest.client.get(f"http://127.0.0.1:{ingest.admin_port}/metrics") as response:
        lines = (await response.text()).splitlines()
    prefix = 'waybill_ingest_requests_total{code="200",courier="dash"} '
    return next((float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)), 0.0)


async def have_taken(doors: Sequence[Process], count: float) -> bool:
    return all([await taken(door) >= count for door in doors])


@pytest.fixture
async def environs(kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> list[dict[str, str]]:
    """The settings of two doors of one system, each with a spool of its own."""
    common = {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_TOPIC_PARTITIONS": "2",
        "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
    }
    await topics.apply(settings_with(**common))
    return [common | {"WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / name)} for name in ("one", "two")]


async def one_leaves(doors: Sequence[Process], port: int, environ: dict[str, str]) -> None:
    """Let webhooks flow to both, stop one, and look whether everything answered 200 is there."""
    leaving, staying = doors
    traffic = Traffic(port)
    async with asyncio.timeout(DEADLINE), traffic.flowing():
        await until(lambda: have_taken(doors, SHARE))
        leaving.process.send_signal(signal.SIGTERM)
        assert await leaving.exit_code() == 0
        before = await taken(staying)
        await until(lambda: have_taken([staying], before + SHARE))
    assert not [entry for door in doors for entry in door.log if entry["level"] == "error"]
    store = TopicStore(settings_with(**environ))
    await until(lambda: holds(store, traffic.accepted))


async def holds(store: TopicStore, webhook_ids: set[str]) -> bool:
    """Whether the raw topic has them all. What was spooled is on its way."""
    found = {dict(record.headers)["webhook-id"].decode() for record in await store.everything()}
    return webhook_ids <= found


async def test_two_doors_behind_one_proxy(environs: list[dict[str, str]]) -> None:
    async with AsyncExitStack() as opened:
        doors = [await opened.enter_async_context(waybill_ingest(environ)) for environ in environs]
        balancer = Balancer([door.port for door in doors])
        port = await opened.enter_async_context(balancer.listening())
        await one_leaves(doors, port, environs[0])


async def test_two_doors_behind_one_port(environs: list[dict[str, str]]) -> None:
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = [environ | {"WAYBILL_INGEST_PORT": str(port)} for environ in environs]
    async with AsyncExitStack() as opened:
        doors = [await opened.enter_async_context(waybill_ingest(environ)) for environ in shared]
        await one_leaves(doors, port, environs[0])
