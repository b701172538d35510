"""A TCP proxy that stands between a service and a store and breaks what passes, to the byte.

Kafka's clients learn from a broker where to connect next. The proxy reads the broker's answers frame by frame and puts
its own port where the broker names its own, so no client gets past it.
"""

import asyncio
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

HOST: Final = "127.0.0.1"
READ_BYTES: Final = 64 * 1024
SHORTEST_LIFE: Final = 1
LONGEST_LIFE: Final = 200_000
"""Bytes in one direction before a connection is cut: from the first byte of a login to the middle of large batches."""


class Direction(StrEnum):
    REQUEST = "to the store"
    ANSWER = "from the store"


class Trap(StrEnum):
    """What happens to the one request that the trap waits for."""

    LOSE_REQUEST = "cut before the request"
    LOSE_ANSWER = "cut before the answer"
    SILENCE = "no answer, no cut"


class _Link:
    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = {Direction.REQUEST: server, Direction.ANSWER: client}
        self.life: tuple[Direction, int] | None = None
        self.trapped: Trap | None = None

    def cut(self) -> None:
        for writer in self.writers.values():
            writer.transport.abort()


class Proxy:
    """One store's proxy. All connections of a test's services to that store pass it."""

    def __init__(self, server: tuple[str, int], chance: random.Random, *, kafka: bool) -> None:
        self.port = 0
        self.connections = 0
        self.cuts: Counter[Direction] = Counter()
        self.sprung = asyncio.Event()
        """The trap has caught its request."""
        self._server = server
        self._chance = chance
        self._kafka = kafka
        self._links: set[_Link] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._away = False
        self._cutting = False
        self._trap: tuple[Callable[[bytes], bool], Trap] | None = None

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    def lead_to(self, host: str, port: int) -> None:
        """Lead those who connect from now on to another server. Connections there are stay where they are."""
        self._server = host, port

    def away(self) -> None:
        """End every connection as soon as it is opened, and those there are."""
        self._away = True
        self.cut_all()

    def back(self) -> None:
        self._away = False

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()
        self.away()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def cut_all(self) -> None:
        """Cut every connection now."""
        for link in self._links:
            link.cut()

    def freeze(self) -> None:
        """Keep every connection open and let nothing pass, as a network that swallows packets."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def begin_cutting(self) -> None:
        """Give every connection, those there are too, a random number of bytes to live."""
        self._cutting = True
        for link in self._links:
            link.life = self._draw()

    def end_cutting(self) -> None:
        self._cutting = False
        for link in self._links:
            link.life = None

    def set_trap(self, wanted: Callable[[bytes], bool], trap: Trap) -> None:
        """Catch the next request for which `wanted` holds."""
        self.sprung.clear()
        self._trap = wanted, trap

    def _draw(self) -> tuple[Direction, int]:
        """Draw a direction and a length. Short lives are as likely as long ones: each size of ten alike."""
        exponent = self._chance.random()
        return self._chance.choice(list(Direction)), int(SHORTEST_LIFE * (LONGEST_LIFE / SHORTEST_LIFE) ** exponent)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._away:
            client.transport.abort()
            return
        try:
            back, server = await asyncio.open_connection(*self._server)
        except OSError:
            client.transport.abort()
            return
        link = _Link(client, server)
        link.life = self._draw() if self._cutting else None
        self._links.add(link)
        pumps = {
            asyncio.create_task(self._pump(link, Direction.REQUEST, reader)),
            asyncio.create_task(self._pump(link, Direction.ANSWER, back)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._links.discard(link)

    async def _pump(self, link: _Link, direction: Direction, reader: asyncio.StreamReader) -> None:
        writer = link.writers[direction]
        try:
            while data := await self._read(reader):
                await self._flowing.wait()
                if not self._passes(link, direction, data):
                    return
                if direction is Direction.ANSWER and link.trapped is Trap.SILENCE:
                    continue
                if direction is Direction.ANSWER and self._kafka:
                    data = self._with_our_port(data)
                if link.life is not None and link.life[0] is direction:
                    left = link.life[1] - len(data)
                    if left <= 0:
                        self.cuts[direction] += 1
                        writer.write(data[: link.life[1]])
                        await writer.drain()
                        return
                    link.life = direction, left
                writer.write(data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return

    def _passes(self, link: _Link, direction: Direction, data: bytes) -> bool:
        """Spring the trap if this is what it waits for. False: the connection ends here."""
        if direction is Direction.ANSWER:
            return link.trapped is not Trap.LOSE_ANSWER
        if self._trap is not None and self._trap[0](data):
            _, link.trapped = self._trap
            self._trap = None
            self.sprung.set()
        return link.trapped is not Trap.LOSE_REQUEST

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Read one of Kafka's frames, or whatever has come."""
        if not self._kafka:
            return await reader.read(READ_BYTES)
        head = await reader.readexactly(4)
        (size,) = struct.unpack(">i", head)
        return head + await reader.readexactly(size)

    def _with_our_port(self, frame: bytes) -> bytes:
        host, port = self._server
        named = host.encode() + struct.pack(">i", port)
        return frame.replace(named, host.encode() + struct.pack(">i", self.port))


def end_txn(frame: bytes) -> bool:
    """Whether a frame commits a Kafka transaction: EndTxn has the key 26."""
    return frame[4:6] == struct.pack(">h", 26)


def commit(data: bytes) -> bool:
    """Whether PostgreSQL is asked to commit."""
    return b"COMMIT;" in data


@asynccontextmanager
async def proxies(kafka_bootstrap_servers: str, database_url: str, seed: int) -> AsyncIterator[tuple[Proxy, Proxy]]:
    """Open a proxy to each store."""
    host, port = kafka_bootstrap_servers.split(",", maxsplit=1)[0].rsplit(":", 1)
    address = urlsplit(database_url)
    chance = random.Random(seed)
    kafka = Proxy((host, int(port)), chance, kafka=True)
    postgres = Proxy((address.hostname or HOST, address.port or 5432), chance, kafka=False)
    async with AsyncExitStack() as opened:
        for proxy in (kafka, postgres):
            await proxy.start()
            opened.push_async_callback(proxy.close)
        yield kafka, postgres


def through(environ: dict[str, str], kafka: Proxy, postgres: Proxy) -> dict[str, str]:
    """Give a service's environment that leads through the proxies."""
    host = environ["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"].split(",")[0].rsplit(":", 1)[0]
    address = urlsplit(environ["WAYBILL_DATABASE_URL"])
    login = address.netloc.rsplit("@", 1)[0]
    return {
        **environ,
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"{host}:{kafka.port}",
        "WAYBILL_DATABASE_URL": address._replace(netloc=f"{login}@{HOST}:{postgres.port}").geturl(),
    }
