"""How many webhooks a second the door answers, against a bare aiohttp handler that awaits one send to Kafka.

python -m bench.door [--write]

Both run as processes of their own with uvloop, on one broker and topic, with the same producer (`acks=all`,
idempotent); the door with all it does, its spool on. A load generator, in a process of its own too, keeps
`CONNECTIONS` connections busy, each with its next webhook once the last is answered. In turn, several rounds.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from secrets import token_hex
from statistics import median, quantiles
from time import monotonic, process_time
from typing import Any, Final, cast

import msgspec
import psutil
import uvloop
from aiohttp import web

from bench.machine import described, sample
from bench.page import markdown, publish
from devstack import for_tests, services
from devstack.ports import HOST, free_ports
from runtime import kafka
from runtime.settings import load_settings
from schemas.topics import Topic
from tests.integration.system import open_system
from tests.waiting import until

CONNECTIONS: Final = 64

PARTITIONS: Final = 12
"""As `waybill topics apply` makes them."""

ROUNDS: Final = 5

SECONDS: Final = 5.0
"""How long each run is measured."""

WARM_SECONDS: Final = 1.0
"""Of each run; not counted."""

NUMBER: Final = b"000000000000"
"""Stands in a body for the number that makes it another one."""


BARE: Final = "bare"

HEAD: Final = (
    "webhooks of",
    "bytes",
    "server",
    "requests/s",
    "p50",
    "p99",
    "CPU, µs a request: server · broker",
    "door / bare",
)

Rows = list[list[str]]

SECTION: Final = "door"


class Load(msgspec.Struct, frozen=True):
    """What to send: the path, a header that shows the secret, and a body with `NUMBER` in it; for how long."""

    port: int
    path: str
    secret: str
    body: bytes
    seconds: float
    first: int


class Answered(msgspec.Struct, frozen=True):
    """What came of it: the requests, their latencies' p50 and p99 (milliseconds), the generator's CPU (seconds)."""

    requests: int
    seconds: float
    p50: float
    p99: float
    cpu: float


class Run(msgspec.Struct, frozen=True):
    """A measurement: requests a second, latencies in milliseconds, CPU microseconds a request by process."""

    rate: float
    p50: float
    p99: float
    server: float
    broker: float
    generator: float


class Sender(asyncio.Protocol):
    """Sends one request after another on one connection, until it is told to stop."""

    def __init__(self, request: Callable[[], bytes], answered: list[tuple[float, float]]) -> None:
        """Send what `request` makes; `answered` gets when each was sent, and how long it took."""
        self._request = request
        self._answered = answered
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Send the next once an answer is whole."""
        self._came += data
        head, separator, body = self._came.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]):
            return
        assert self._came.startswith(b"HTTP/1.1 200 "), self._came
        self._answered.append((self._sent, monotonic() - self._sent))
        self._came = b""
        self._send()

    def _send(self) -> None:
        self._sent = monotonic()
        self._transport.write(self._request())


async def generate(load: Load) -> Answered:
    """Keep the connections busy for a while."""
    length = f"Content-Length: {len(load.body)}\r\n\r\n"
    head = f"POST {load.path} HTTP/1.1\r\nHost: {HOST}:{load.port}\r\nUser-Agent: courier/1.0\r\nAccept: */*\r\n"
    whole = f"{head}{load.secret}\r\nContent-Type: application/json\r\n{length}".encode() + load.body
    before, after = whole.split(NUMBER)
    number = load.first

    def request() -> bytes:
        nonlocal number
        number += 1
        return b"%b%012d%b" % (before, number, after)

    answered: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: Sender(request, answered), HOST, load.port)
    await asyncio.sleep(WARM_SECONDS)
    began, cpu, warm = monotonic(), process_time(), len(answered)
    await asyncio.sleep(load.seconds)
    seconds, cpu, took = monotonic() - began, process_time() - cpu, [each for _, each in answered[warm:]]
    cuts = quantiles(took, n=100)
    return Answered(len(took), seconds, cuts[49] * 1000, cuts[98] * 1000, cpu)


async def bare(port: int) -> None:
    """Serve a handler that appends each body to the raw topic and answers once that is acknowledged."""
    settings = load_settings(os.environ)
    producer = kafka.new_producer(settings, "bare")
    topic = settings.topic(Topic.RAW)
    await kafka.start(producer)

    async def handle(request: web.Request) -> web.Response:
        await producer.send_and_wait(topic, await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhooks/{courier}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(port: int, environ: Mapping[str, str], *command: str) -> AsyncIterator[psutil.Process]:
    """Run a server until its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env={**os.environ, **environ}, stderr=asyncio.subprocess.DEVNULL
    )

    async def listens() -> bool:
        assert process.returncode is None, command
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except ConnectionError:
            return False
        writer.close()
        return True

    try:
        await until(listens)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def measure(load: Load, server: psutil.Process, broker: psutil.Process) -> Run:
    """Run the load generator, and read what it cost."""
    generator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.door", "generate"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    before = _cpu(server), _cpu(broker)
    said, _ = await generator.communicate(msgspec.json.encode(load))
    answered = msgspec.json.decode(said, type=Answered)
    rate = answered.requests / answered.seconds
    served = rate * (answered.seconds + WARM_SECONDS)
    return Run(
        rate=rate,
        p50=answered.p50,
        p99=answered.p99,
        server=(_cpu(server) - before[0]) / served * 1e6,
        broker=(_cpu(broker) - before[1]) / served * 1e6,
        generator=answered.cpu / answered.requests * 1e6,
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def row(courier: str, size: int, server: str, runs: list[Run], ratio: str) -> list[str]:
    """Return a line of the table: the medians of a server's runs, and the spread of its rates."""
    rates = sorted(run.rate for run in runs)
    p50, p99, own, broker = (
        median(getattr(run, field) for run in runs) for field in ("p50", "p99", "server", "broker")
    )
    rate = f"{median(rates):,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"
    return [courier, f"{size:,}", server, rate, f"{p50:.1f} ms", f"{p99:.1f} ms", f"{own:.0f} · {broker:.0f}", ratio]


async def compare(name: str, load: Load, servers: Mapping[str, Any], broker: psutil.Process, rounds: int) -> Rows:
    """Measure both servers in turn; return a line for each."""
    runs: dict[str, list[Run]] = {server: [] for server in servers}
    for number in range(rounds):
        for server, (port, process) in servers.items():
            first = (number + 1) * 10**9
            runs[server].append(await measure(msgspec.structs.replace(load, port=port, first=first), process, broker))
    ratios = sorted(door.rate / plain.rate for plain, door in zip(*runs.values(), strict=True))
    ratio = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    size = len(load.body)
    return [row(name, size, server, own, "" if server == BARE else ratio) for server, own in runs.items()]


def bodies() -> dict[str, bytes]:
    """Return a webhook of each courier, from its examples, as it may come thousands of times for other parcels."""
    delivery, item = sample("dash/logistic/verified.json"), sample("kiriminaja/express/shipped_packages.json")
    names = msgspec.json.decode(delivery)["deliveryID"], msgspec.json.decode(item)["data"][0]["order_id"]
    return {
        courier: body.replace(name.encode(), NUMBER)
        for courier, body, name in zip(("dash", "kiriminaja"), (delivery, item), names, strict=True)
    }


async def main(rounds: int, seconds: float) -> str:
    """Measure each courier's webhooks; return a table."""
    rows: Rows = []
    secret = token_hex(16)
    shown = {"dash": f"X-Dash-Secret: {secret}", "kiriminaja": f"Authorization: Bearer {secret}"}
    bare_port, door_port = free_ports(2)
    choice = for_tests(os.environ)
    async with services(choice, None, lambda line: print(line, file=sys.stderr)) as stack:
        system = await open_system(stack.kafka_bootstrap_servers, stack.database_url, "bench.", PARTITIONS)
        with tempfile.TemporaryDirectory() as spool:
            system.set(
                WAYBILL_DASH_SECRETS=secret,
                WAYBILL_KIRIMINAJA_TOKENS=secret,
                WAYBILL_INGEST_SPOOL_DIR=spool,
                WAYBILL_INGEST_PORT=str(door_port),
                WAYBILL_INGEST_ADMIN_PORT="0",
            )
            ingest = "import sys; from cli.main import main; sys.exit(main(['ingest']))"
            async with (
                serving(bare_port, system.environ, "-m", "bench.door", "bare", str(bare_port)) as plain,
                serving(door_port, system.environ, "-c", ingest) as door,
            ):
                servers = {BARE: (bare_port, plain), "door": (door_port, door)}
                for courier, body in bodies().items():
                    load = Load(0, f"/webhooks/{courier}", shown[courier], body, seconds, 0)
                    rows += await compare(courier, load, servers, _broker(), rounds)
    return markdown(HEAD, rows)


def _broker() -> psutil.Process:
    """Return the process of the embedded broker."""
    (broker,) = (each for each in psutil.Process().children(recursive=True) if "java" in each.name())
    return broker


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bare", port]:
            uvloop.run(bare(int(port)))
        case ["generate"]:
            load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
            sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(generate(load))))
        case given:
            text = f"Measured on {described()}.\n\n{asyncio.run(main(ROUNDS, SECONDS))}"
            publish(SECTION, text, write=given == ["--write"])
