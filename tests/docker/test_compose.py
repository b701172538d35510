"""compose.yaml as an operator brings it up, until one webhook has become an event."""

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from deploy.dashboards import DASHBOARDS
from devstack import tools
from devstack.containers import KAFKA_IMAGE, POSTGRES_IMAGE
from devstack.ports import free_ports
from tests.conftest import lacking

pytestmark = pytest.mark.docker

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = (KAFKA_IMAGE, POSTGRES_IMAGE, "python:3.13-slim")
UP_SECONDS: Final = 900.0
"""The first time, images are fetched and ours is built."""

READY_SECONDS: Final = 120.0
EVENT_SECONDS: Final = 60.0
DASH_SECRET: Final = secrets.token_urlsafe(16)


class System:
    """The system in containers, under a project name of its own."""

    def __init__(self, compose: list[str]) -> None:
        self.door_port, self.kafka_port, self.prometheus_port, self.grafana_port = free_ports(4)
        self._command = [*compose, "--project-name", f"waybill-test-{secrets.token_hex(4)}"]
        self._environment = {
            **os.environ,
            "POSTGRES_PASSWORD": secrets.token_urlsafe(16),
            "WAYBILL_DASH_SECRETS": DASH_SECRET,
            "WAYBILL_KIRIMINAJA_TOKENS": "",
            "WAYBILL_COMPOSE_INGEST_PORT": str(self.door_port),
            "WAYBILL_COMPOSE_KAFKA_PORT": str(self.kafka_port),
            "WAYBILL_COMPOSE_PROMETHEUS_PORT": str(self.prometheus_port),
            "WAYBILL_COMPOSE_GRAFANA_PORT": str(self.grafana_port),
        }

    def run(self, *arguments: str) -> str:
        done = run([*self._command, *arguments], self._environment)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout[-8000:]}"
        return done.stdout


def run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
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


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """Compose v2 where Docker has it, else version 1."""
    if not tools.docker_answers():
        lacking("no Docker engine answers")
    if not shutil.which("docker"):
        lacking("Docker's command line is not installed")
    if run(["docker", "compose", "version"], os.environ).returncode == 0:
        return ["docker", "compose"]
    if not shutil.which("docker-compose"):
        lacking("Docker Compose is not installed")
    return ["docker-compose"]


@pytest.fixture(scope="module")
def images() -> None:
    for image in IMAGES:
        if run(["docker", "image", "inspect", image], os.environ).returncode:
            pull = run(["docker", "pull", "--quiet", image], os.environ)
            if pull.returncode:
                lacking(f"the image {image} cannot be fetched: {pull.stdout[-300:]}")


@pytest.fixture(scope="module")
def system(compose: list[str], images: None) -> Iterator[System]:
    system = System(compose)
    try:
        system.run("up", "--build", "--detach")
        yield system
    finally:
        system.run("--profile", "observe", "down", "--volumes", "--timeout", "15")


async def until_accepted(system: System, body: bytes) -> None:
    """Post a webhook as a courier would: again until the door takes it."""
    url = f"http://127.0.0.1:{system.door_port}/webhooks/dash"
    async with aiohttp.ClientSession(headers={"X-Dash-Secret": DASH_SECRET}) as session:
        while True:
            try:
                async with session.post(url, data=body) as answer:
                    if answer.status == 200:
                        return
                    assert answer.status == 503, await answer.text()
            except aiohttp.ClientConnectionError:
                pass  # not up yet
            await asyncio.sleep(0.5)


async def first_event(system: System) -> dict[str, Any]:
    reader = AIOKafkaConsumer(
        "shipment.events",
        bootstrap_servers=f"127.0.0.1:{system.kafka_port}",
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await reader.start()
    try:
        record = await reader.getone()
    finally:
        await reader.stop()
    assert record.value is not None
    event: dict[str, Any] = msgspec.json.decode(record.value)
    return event


async def test_webhook_becomes_an_event(system: System) -> None:
    body = {
        "deliveryID": "DE-1",
        "providerOrderID": "O-1",
        "status": "PREPARING",
        "failedCount": 0,
        "updatedAt": "2026-11-01T08:00:00Z",
    }
    async with asyncio.timeout(READY_SECONDS):
        await until_accepted(system, msgspec.json.encode(body))
    async with asyncio.timeout(EVENT_SECONDS):
        event = await first_event(system)
    assert (event["shipment_id"], event["courier_status"], event["version"]) == ("dash:DE-1", "PREPARING", 1)


def test_services_run_as_ordinary_users(system: System) -> None:
    for service in ("kafka", "ingest", "processor"):
        assert system.run("exec", "-T", service, "id", "-u").strip() not in {"", "0"}


async def test_prometheus_scrapes_the_services_and_grafana_shows_them(system: System) -> None:
    system.run("--profile", "observe", "up", "--detach", "prometheus", "grafana")
    scraped = f"http://127.0.0.1:{system.prometheus_port}/api/v1/query?query=up"
    search = f"http://127.0.0.1:{system.grafana_port}/api/search?tag=waybill"
    async with aiohttp.ClientSession() as session, asyncio.timeout(READY_SECONDS):
        jobs: set[str] = set()
        while jobs != {"waybill-ingest", "waybill-processor"}:
            found = await answered(session, scraped)
            jobs = (
                {each["metric"]["job"] for each in found["data"]["result"] if each["value"][1] == "1"}
                if found
                else set()
            )
            await asyncio.sleep(0.5)
        while len(dashboards := await answered(session, search) or ()) < len(DASHBOARDS):
            await asyncio.sleep(0.5)
        assert {each["uid"] for each in dashboards} == {each.name for each in DASHBOARDS}
        async with session.post(f"http://127.0.0.1:{system.grafana_port}/api/dashboards/db", json={}) as answer:
            assert answer.status in {401, 403}, "nobody may change anything"


async def answered(session: aiohttp.ClientSession, url: str) -> Any:
    """Return the JSON at an address; None while nobody answers there."""
    try:
        async with session.get(url) as answer:
            return await answer.json() if answer.status == 200 else None
    except aiohttp.ClientConnectionError:
        return None


def test_missing_secrets_are_named(compose: list[str]) -> None:
    for missing in ("POSTGRES_PASSWORD", "WAYBILL_DASH_SECRETS", "WAYBILL_KIRIMINAJA_TOKENS"):
        given = {"POSTGRES_PASSWORD": "x", "WAYBILL_DASH_SECRETS": "x", "WAYBILL_KIRIMINAJA_TOKENS": "x"}
        clean = {name: value for name, value in os.environ.items() if name not in given}
        done = run([*compose, "config"], clean | {name: value for name, value in given.items() if name != missing})
        assert done.returncode != 0
        assert missing in done.stdout
