"""How long a webhook takes from the courier's request to the committed event, at steady rates through the door.

python -m bench.latency [--write]
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex
from statistics import quantiles
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec

from bench.machine import bench_systems, described, sample
from bench.page import markdown, publish
from devstack.ports import free_ports
from runtime import kafka
from schemas.topics import Topic
from tests.integration.system import System
from tests.waiting import until

RATES: Final = (25, 500)
"""Webhooks a second: two million a day, and a rush."""

SECONDS: Final = 20

SECTION: Final = "latency"


@asynccontextmanager
async def door(system: System) -> AsyncIterator[str]:
    """Run the door; give the address of Dash's webhook."""
    (port,) = free_ports(1)
    environ = {**system.environ, "WAYBILL_INGEST_PORT": str(port), "WAYBILL_INGEST_ADMIN_PORT": "0"}
    command = "import sys; from cli.main import main; sys.exit(main(['ingest']))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, env=environ, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}/webhooks/dash"
    finally:
        process.terminate()
        await process.wait()


async def main() -> str:
    """Measure each rate in turn; return a table."""
    secret = token_hex(16)
    rows = []
    async with bench_systems("bench.") as (system,):
        system.environ["WAYBILL_DASH_SECRETS"] = secret
        async with system.processor(), door(system) as url, aiohttp.ClientSession() as client:
            for rate in RATES:
                took = await delays(system, client, url, secret, rate)
                cuts = [f"{cut * 1000:.0f} ms" for cut in quantiles(took, n=100)]
                rows.append([f"{rate}", f"{len(took):,}", cuts[49], cuts[98], f"{max(took) * 1000:.0f} ms"])
    return markdown(["requests/s", "webhooks", "p50", "p99", "longest"], rows)


async def delays(system: System, client: aiohttp.ClientSession, url: str, secret: str, rate: int) -> list[float]:
    """Return the seconds that each webhook took, but for the first one."""
    reader = kafka.new_reader(system.settings, "bench", system.settings.topic(Topic.EVENTS))
    await kafka.start(reader)
    sent: dict[str, float] = {}
    took: dict[str, float] = {}
    listening = asyncio.create_task(_listen(reader, sent, took))
    try:
        await _send(client, url, secret, sent, took, rate)
    finally:
        listening.cancel()
        await kafka.stop(reader)
    _, *warm = took.values()
    return warm


async def _send(
    client: aiohttp.ClientSession,
    url: str,
    secret: str,
    sent: dict[str, float],
    took: dict[str, float],
    rate: int,
) -> None:
    example = msgspec.json.decode(sample("dash/logistic/verified.json"))

    async def post(number: int) -> bool:
        name = f"DE-{rate}-{number}"
        sent[name] = monotonic()
        body = msgspec.json.encode({**example, "deliveryID": name})
        try:
            async with client.post(url, data=body, headers={"X-Dash-Secret": secret}) as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    await until(lambda: post(-1))
    await until(lambda: _seen(took, 1))
    started = monotonic()
    async with asyncio.TaskGroup() as posts:
        for number in range(rate * SECONDS):
            await asyncio.sleep(max(0.0, started + number / rate - monotonic()))
            posts.create_task(post(number))
    await until(lambda: _seen(took, len(sent)))


async def _seen(took: dict[str, float], count: int) -> bool:
    return len(took) >= count


async def _listen(reader: Any, sent: dict[str, float], took: dict[str, float]) -> None:
    async for record in reader:
        name = msgspec.json.decode(record.value)["courier_ref"]
        if name in sent:
            took[name] = monotonic() - sent[name]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    chosen = parser.parse_args()
    text = f"Measured on {described()}.\n\n{asyncio.run(main())}"
    publish(SECTION, text, write=chosen.write)
