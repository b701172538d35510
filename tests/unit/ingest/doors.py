"""A door that runs in the test, and what stands behind it."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

import aiohttp
import msgspec
from aiohttp import web

from ingest.app import Door
from ingest.errors import UnavailableError
from ingest.publisher import Publisher
from ingest.records import Records
from ingest.server import MAX_CONNECTIONS, DoorServer
from ingest.service import routes_of
from runtime.metrics import IngestMetrics, new_registry
from runtime.settings import PREFIX, Settings, load_settings
from runtime.spans import Spans
from schemas.couriers import COURIERS
from schemas.partitioning import partition_of
from schemas.records import NewRecord

DASH = {"X-Dash-Secret": "dash-new"}
KIRIMINAJA = {"Authorization": "Bearer kiriminaja-token"}
SHOWN = {name: courier.credentials for name, courier in COURIERS.items()}
CREDENTIALS = {
    **{name: {each.header: f"{each.scheme} token" if each.scheme else "token"} for name, each in SHOWN.items()},
    "dash": DASH,
    "kiriminaja": KIRIMINAJA,
}
"""What each courier posts with."""

SETTINGS = {
    **{f"{PREFIX}{each.secrets_setting}": "token" for each in SHOWN.values()},
    "WAYBILL_DASH_SECRETS": "dash-old,dash-new",
    "WAYBILL_KIRIMINAJA_TOKENS": "kiriminaja-token",
    "WAYBILL_INGEST_PORT": "0",
    "WAYBILL_INGEST_ADMIN_PORT": "0",
    "WAYBILL_INGEST_SPOOL_DIR": "",
}


class Kept(msgspec.Struct, frozen=True):
    """A record as a reader of the raw topic finds it."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


def kept_records(records: Iterable[NewRecord], partitions: int) -> list[Kept]:
    """Return records handed over in memory as a reader of the topic would find them."""
    return [
        Kept(
            partition_of(record.key or b"", partitions),
            record.key or b"",
            record.value,
            record.headers,
            record.timestamp_ms,
        )
        for record in records
    ]


class Store(Protocol):
    """Finds again what a door has kept."""

    async def kept(self, count: int) -> Sequence[Kept]:
        """Return everything kept, in the order of keeping within a partition; it must be `count` records."""
        ...


class FakePublisher:
    """Keeps records in memory. `available` and `let_go` say whether and when it does."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.available = True
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def publish(self, records: Records) -> None:
        self.entered.set()
        await self.let_go.wait()
        if not self.available:
            raise UnavailableError
        self.records += records


class RunningDoor(msgspec.Struct, frozen=True):
    """A door that listens, and a client for it."""

    door: Door
    port: int
    client: aiohttp.ClientSession
    metric: Callable[..., float]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def post(
        self, path: str, body: bytes | AsyncIterator[bytes] = b"{}", headers: dict[str, str] | None = None
    ) -> "Answer":
        return await self.ask("POST", path, body, headers)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> "Answer":
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.client.request(method, self.url(path), data=data, headers=headers) as response:
            return Answer(response.status, {**response.headers}, await response.read())

    async def raw(self, request: bytes) -> bytes:
        """Send bytes as they stand, and read until the door closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def assert_problem(self, status: int) -> None:
        assert self.status == status, self
        assert self.headers["Content-Type"] == "application/problem+json"
        assert "Server" not in self.headers
        problem = msgspec.json.decode(self.body)
        assert problem["status"] == status
        assert set(problem) == {"type", "title", "status", "detail"}


def settings_with(**environ: str) -> Settings:
    return load_settings(SETTINGS | environ)


@asynccontextmanager
async def running_door(
    publisher: Publisher,
    settings: Settings | None = None,
    now: Callable[[], datetime] | None = None,
    max_connections: int = MAX_CONNECTIONS,
    spans: Spans | None = None,
) -> AsyncIterator[RunningDoor]:
    settings = settings or settings_with()
    registry = new_registry()
    door = Door(
        routes_of(settings),
        publisher,
        IngestMetrics(registry),
        account=settings.account,
        max_body_bytes=settings.ingest_max_body_bytes,
        now=now or (lambda: datetime.now(UTC)),
        spans=spans,
        trace_ratio=settings.trace_ratio,
    )
    runner = web.ServerRunner(DoorServer(door.handle, door.count_error, max_connections), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    def metric(name: str, **labels: str) -> float:
        return registry.get_sample_value(name, labels) or 0.0

    try:
        async with aiohttp.ClientSession(auto_decompress=False) as client:
            yield RunningDoor(door, runner.addresses[0][1], client, metric)
    finally:
        await runner.cleanup()
