"""compose.yaml as an operator brings it up: webhook to event and the console's page, and kill -9 of each container."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from deploy.dashboards import DASHBOARDS
from devstack.ports import free_ports
from tests.docker.engine import (
    compose_command,
    done,
    event_of,
    inspected,
    is_safe,
    kill,
    made_secrets,
    page,
    run,
    until_accepted,
)
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.docker

SERVICES: Final = ("kafka", "postgres", "ingest", "processor", "console", "retention")
PROCESSORS: Final = 2


class System:
    """The system in containers, under a project name of its own."""

    def __init__(self, compose: list[str], directory: Path) -> None:
        ports = dict(zip(("INGEST", "KAFKA", "CONSOLE", "PROMETHEUS", "GRAFANA"), free_ports(5), strict=True))
        self.ports = ports
        self.secrets = made_secrets(directory)
        self.door, self.console = (f"http://127.0.0.1:{ports[name]}" for name in ("INGEST", "CONSOLE"))
        self.kafka = f"127.0.0.1:{ports['KAFKA']}"
        self._command = [*compose, "--project-name", f"waybill-test-{secrets.token_hex(4)}"]
        self._environment = {
            **os.environ,
            "WAYBILL_SECRETS_DIR": str(directory),
            **{f"WAYBILL_COMPOSE_{name}_PORT": str(port) for name, port in ports.items()},
        }

    def run(self, *arguments: str) -> str:
        return done([*self._command, *arguments], self._environment)

    def containers(self, service: str) -> list[str]:
        return self.run("ps", "-q", service).split()

    async def take(self, delivery: str) -> dict[str, Any]:
        """Send a webhook and return its event."""
        await until_accepted(self.door, self.secrets["dash_secrets"], delivery)
        return await event_of(self.kafka, f"dash:{delivery}")


@pytest.fixture(scope="module")
def compose() -> list[str]:
    return compose_command()


@pytest.fixture(scope="module")
def system(compose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(compose, tmp_path_factory.mktemp("secrets"))
    try:
        system.run("up", "--build", "--detach", "--scale", f"processor={PROCESSORS}")
        yield system
    finally:
        system.run("--profile", "observe", "down", "--volumes", "--timeout", "15")


def healthy(container: str) -> bool:
    state = inspected(container)["State"]
    return bool(state["Running"] and state.get("Health", {}).get("Status", "healthy") == "healthy")


def restarted(container: str, restarts: int) -> bool:
    return bool(inspected(container)["RestartCount"] > restarts)


async def test_webhook_becomes_an_event_and_a_page(system: System) -> None:
    event = await system.take("DE-1")
    assert (event["shipment_id"], event["courier_status"], event["version"]) == ("dash:DE-1", "PREPARING", 1)
    assert "O-DE-1" in await page(system.console, "/shipments/dash:DE-1", "admin", system.secrets["password"])


@pytest.mark.parametrize("service", SERVICES)
async def test_a_container_may_do_little_and_gets_healthy(system: System, service: str) -> None:
    containers = system.containers(service)
    assert len(containers) == (PROCESSORS if service == "processor" else 1)
    for container in containers:
        await until(partial(healthy, container))
        is_safe(container)


@pytest.mark.parametrize("service", SERVICES)
async def test_whatever_is_killed_comes_back(system: System, service: str) -> None:
    await system.take(f"DE-before-{service}")
    for container in system.containers(service):
        restarts = inspected(container)["RestartCount"]
        kill(container)
        await until(partial(restarted, container, restarts))
    event = await system.take(f"DE-after-{service}")
    assert event["version"] == 1
    for container in system.containers(service):
        await until(partial(healthy, container))
    shown = await page(system.console, "/shipments", "admin", system.secrets["password"])
    assert f"DE-after-{service}" in shown


async def test_what_the_door_has_taken_is_in_a_volume(system: System) -> None:
    """Kafka is stopped, a webhook is answered, the door's container is thrown away."""
    system.run("stop", "kafka")
    await until_accepted(system.door, system.secrets["dash_secrets"], "DE-spooled")
    system.run("up", "--detach", "--no-deps", "--force-recreate", "ingest")
    system.run("start", "kafka")
    assert (await event_of(system.kafka, "dash:DE-spooled"))["version"] == 1


async def test_prometheus_scrapes_the_services_and_grafana_shows_them(system: System) -> None:
    system.run("--profile", "observe", "up", "--detach", "prometheus", "grafana")
    grafana = f"http://127.0.0.1:{system.ports['GRAFANA']}"
    scraped = f"http://127.0.0.1:{system.ports['PROMETHEUS']}/api/v1/query?query=up"
    async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE):
        jobs: set[str] = set()
        while jobs != {"waybill-ingest", "waybill-processor", "waybill-console"}:
            found = await answered(session, scraped)
            jobs = (
                {each["metric"]["job"] for each in found["data"]["result"] if each["value"][1] == "1"}
                if found
                else set()
            )
            await asyncio.sleep(0.5)
        while len(dashboards := await answered(session, f"{grafana}/api/search?tag=waybill") or ()) < len(DASHBOARDS):
            await asyncio.sleep(0.5)
        assert {each["uid"] for each in dashboards} == {each.name for each in DASHBOARDS}
        async with session.post(f"{grafana}/api/dashboards/db", json={}) as answer:
            assert answer.status in {401, 403}, "nobody may change anything"


async def answered(session: aiohttp.ClientSession, url: str) -> Any:
    """Return the JSON at an address; None while nobody answers there."""
    try:
        async with session.get(url) as answer:
            return await answer.json() if answer.status == 200 else None
    except aiohttp.ClientConnectionError:
        return None


def test_missing_secrets_are_named(compose: list[str], tmp_path: Path) -> None:
    """In a directory without .env."""
    (tmp_path / "compose.yaml").symlink_to(Path(__file__).parents[2] / "compose.yaml")
    clean = {name: value for name, value in os.environ.items() if name != "WAYBILL_SECRETS_DIR"}
    told = run(
        [*compose, "--project-directory", str(tmp_path), "--file", str(tmp_path / "compose.yaml"), "config"], clean
    )
    assert told.returncode != 0
    assert "deploy/compose-secrets.sh" in told.stdout
