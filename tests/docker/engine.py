"""Containers of the tests' engine: commands, what they say of themselves, kill -9 from outside."""

import asyncio
import itertools
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from console.identity import FORM_COOKIE, SESSION_COOKIE
from devstack import tools
from devstack.containers import KAFKA_IMAGE, POSTGRES_IMAGE
from tests.conftest import lacking
from tests.waiting import DEADLINE, until

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = (KAFKA_IMAGE, POSTGRES_IMAGE, "python:3.13-slim")
OURS: Final = "waybill:local"

UP_SECONDS: Final = 900.0
"""The first time, images are fetched and ours is built."""

COURIERS: Final = 4
"""How many webhooks are posted at once."""

PAUSE_SECONDS: Final = 0.1
"""Between two webhooks of one courier: what is tried is not how many there can be."""

Inspected = dict[str, Any]
"""What the engine says of a container."""


def run(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=UP_SECONDS,
        check=False,
    )


def done(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """Run a command that must succeed, and return what it says."""
    ended = run(command, environment)
    assert ended.returncode == 0, f"{command}:\n{ended.stdout[-8000:]}"
    return ended.stdout


def compose_command() -> list[str]:
    """Return Compose v2 where Docker has it, else version 1. Skip where there is no engine, or no image to be had."""
    if not tools.docker_answers():
        lacking("no Docker engine answers")
    if not shutil.which("docker"):
        lacking("Docker's command line is not installed")
    for image in IMAGES:
        needs(image)
    if run(["docker", "compose", "version"]).returncode == 0:
        return ["docker", "compose"]
    if not shutil.which("docker-compose"):
        lacking("Docker Compose is not installed")
    return ["docker-compose"]


def needs(image: str) -> None:
    """Fetch an image that is not there. Skip where it is not to be had."""
    if run(["docker", "image", "inspect", image]).returncode:
        pull = run(["docker", "pull", "--quiet", image])
        if pull.returncode:
            lacking(f"the image {image} cannot be fetched: {pull.stdout[-300:]}")


def inspected(container: str) -> Inspected:
    (found,) = msgspec.json.decode(done(["docker", "inspect", container]))
    assert isinstance(found, dict)
    return found


def kill(container: str) -> None:
    """Kill -9 a container's first process. (`docker kill` would count as a stop by hand: nothing comes back then.)"""
    pid = str(inspected(container)["State"]["Pid"])
    helper = ["docker", "run", "--rm", "--pid=host", "--user=0", "--entrypoint=python", OURS]
    done([*helper, "-c", f"import os, signal; os.kill({pid}, signal.SIGKILL)"])


def is_safe(container: str) -> None:
    """Check what the engine lets a container do."""
    found = inspected(container)
    host, name = found["HostConfig"], found["Name"]
    assert host["ReadonlyRootfs"], name
    assert host["CapDrop"] == ["ALL"], name
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), name
    assert host["Memory"] > 0, name
    assert host["NanoCpus"] > 0, name
    assert host["RestartPolicy"]["Name"] in {"unless-stopped", "always"}, name
    users = done(["docker", "exec", container, "cat", "/proc/1/status"])
    assert re.findall(r"^Uid:\s+(\d+)", users, re.MULTILINE)[0] != "0", name
    said = " ".join(found["Config"]["Env"])
    assert not re.search(r"PASSWORD=|postgresql://|SECRETS?=\S", said), name


async def until_accepted(url: str, secret: str, delivery: str, status: str = "PREPARING") -> None:
    """Post a webhook as a courier would: again until the door takes it."""
    body = msgspec.json.encode(
        {
            "deliveryID": delivery,
            "providerOrderID": f"O-{delivery}",
            "status": status,
            "failedCount": 0,
            "updatedAt": "2026-11-01T08:00:00Z",
        }
    )
    async with aiohttp.ClientSession(headers={"X-Dash-Secret": secret}) as session, asyncio.timeout(DEADLINE):
        while True:
            try:
                async with session.post(f"{url}/webhooks/dash", data=body) as answer:
                    if answer.status == 200:
                        return
                    assert answer.status == 503, await answer.text()
            except aiohttp.ClientError:
                pass  # not up yet, or gone
            await asyncio.sleep(0.5)


@asynccontextmanager
async def couriers(url: str, secret: str, name: str) -> AsyncIterator[set[str]]:
    """Post webhooks, each of a shipment of its own, as long as the block runs; give the shipments of those taken."""
    taken: set[str] = set()

    async def courier(number: int) -> None:
        for delivery in (f"DE-{name}-{number}-{count}" for count in itertools.count()):
            await until_accepted(url, secret, delivery)
            taken.add(f"dash:{delivery}")
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        posting = [group.create_task(courier(number)) for number in range(COURIERS)]
        yield taken
        for task in posting:
            task.cancel()


async def event_of(bootstrap_servers: str, shipment: str) -> dict[str, Any]:
    """Wait for a shipment's first event, as a subscriber reads it."""
    async with asyncio.timeout(DEADLINE), subscriber(bootstrap_servers) as reader:
        while (event := await next_event(reader))["shipment_id"] != shipment:
            pass
        return event


async def events_of(bootstrap_servers: str, shipments: Set[str]) -> Counter[str]:
    """Wait for an event of each shipment, and count what is in the topic of each."""
    counts: Counter[str] = Counter()
    async with asyncio.timeout(DEADLINE), subscriber(bootstrap_servers) as reader:
        while not shipments <= counts.keys():
            counts[(await next_event(reader))["shipment_id"]] += 1
        ends = await reader.end_offsets(reader.assignment())
        while any([await reader.position(partition) < end for partition, end in ends.items()]):
            for records in (await reader.getmany(timeout_ms=200)).values():
                counts.update(msgspec.json.decode(record.value)["shipment_id"] for record in records)
    return counts


async def next_event(reader: AIOKafkaConsumer) -> dict[str, Any]:
    record = await reader.getone()
    assert record.value is not None
    event: dict[str, Any] = msgspec.json.decode(record.value)
    return event


@asynccontextmanager
async def subscriber(bootstrap_servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Give a subscriber that reads from the beginning, as soon as there is a broker."""
    reader = await _started_reader(bootstrap_servers)
    try:
        yield reader
    finally:
        await reader.stop()


async def _started_reader(bootstrap_servers: str) -> AIOKafkaConsumer:
    while True:
        reader = AIOKafkaConsumer(
            "shipment.events",
            bootstrap_servers=bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await reader.start()
        except KafkaConnectionError:
            await reader.stop()
            await asyncio.sleep(0.5)
        else:
            return reader


async def page(url: str, path: str, name: str, password: str) -> str:
    """Log in at a console as a browser does, and return a page.

    It is said to be behind TLS, so it believes pages of https alone and says `Secure` of its cookies, which a client of
    plain HTTP would keep to itself: the proxy that ends TLS is left out.
    """

    async def ready() -> bool:
        try:
            async with session.get(f"{url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def cookie(answer: aiohttp.ClientResponse, name: str) -> dict[str, str]:
        found = SimpleCookie("; ".join(answer.headers.getall("Set-Cookie")))
        return {"Cookie": f"{name}={found[name].value}"}

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        await until(ready)
        async with session.get(f"{url}/login") as form:
            token = re.search(r'name="token" value="([^"]+)"', await form.text())
            assert token is not None
            headers = {**cookie(form, FORM_COOKIE), "Origin": url.replace("http:", "https:")}
        given = {"name": name, "password": password, "token": token[1]}
        async with session.post(f"{url}/login", data=given, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            headers = cookie(answer, SESSION_COOKIE)
        async with session.get(f"{url}{path}", headers=headers) as shown:
            assert shown.status == 200, await shown.text()
            return await shown.text()


def made_secrets(directory: Path) -> dict[str, str]:
    """Have the script write the secrets of compose.yaml; return what it made, with the console's `password`."""
    environment = {**os.environ, "WAYBILL_SECRETS_DIR": str(directory)}
    said = done([str(ROOT / "deploy" / "compose-secrets.sh")], environment)
    password = re.search(r"console: admin, password (\S+)", said)
    if password is None:
        pytest.fail(said)
    return {"password": password[1], **{file.name: file.read_text() for file in directory.iterdir()}}
