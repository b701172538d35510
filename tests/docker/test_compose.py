"""compose.yaml as an operator brings it up: webhook to event and the console's page, and kill -9 of each container."""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import yaml

from deploy.dashboards import DASHBOARDS
from devstack.ports import free_ports
from tests.docker.engine import (
    COURIERS,
    ROOT,
    compose_command,
    couriers,
    done,
    event_of,
    events_of,
    inspected,
    is_safe,
    kill,
    made_secrets,
    needs,
    page,
    run,
    until_accepted,
)
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.docker

SERVICES: Final = ("kafka", "postgres", "ingest", "processor", "reconcile", "console", "retention")
PROCESSORS: Final = 3


class System:
    """The system in containers, under a project name of its own."""

    def __init__(self, compose: list[str], directory: Path) -> None:
        ports = dict(zip(("INGEST", "KAFKA", "CONSOLE", "PROMETHEUS", "GRAFANA"), free_ports(5), strict=True))
        self.ports = ports
        self.secrets = made_secrets(directory)
        self.door, self.console = (f"http://127.0.0.1:{ports[name]}" for name in ("INGEST", "CONSOLE"))
        self.kafka = f"127.0.0.1:{ports['KAFKA']}"
        for name in ("dash_client_key", "dash_client_secret"):
            (directory / name).write_text("made-up")
        project = f"waybill-test-{secrets.token_hex(4)}"
        self._command = [*compose, "--project-name", project, "--profile", "reconcile"]
        self._environment = {
            **os.environ,
            "WAYBILL_SECRETS_DIR": str(directory),
            "WAYBILL_DASH_API_URL": "http://127.0.0.1:9",
            "WAYBILL_COMPOSE_PROCESSORS": str(PROCESSORS),
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
        system.run("up", "--build", "--detach")
        yield system
    finally:
        system.run("--profile", "observe", "down", "--volumes", "--timeout", "15")


async def healthy(container: str) -> bool:
    state = (await asyncio.to_thread(inspected, container))["State"]
    return bool(state["Running"] and state.get("Health", {}).get("Status", "healthy") == "healthy")


async def restarted(container: str, restarts: int) -> bool:
    return bool((await asyncio.to_thread(inspected, container))["RestartCount"] > restarts)


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
    """Under webhooks: each that was answered is one event, and no other shipment has more than one."""
    containers = system.containers(service)
    async with couriers(system.door, system.secrets["dash_secrets"], service) as taken:
        await until(lambda: len(taken) >= COURIERS)
        for container in containers:
            restarts = inspected(container)["RestartCount"]
            await asyncio.to_thread(kill, container)
            await until(partial(restarted, container, restarts))
        for container in containers:
            await until(partial(healthy, container))
        before = len(taken)
        await until(lambda: len(taken) >= before + COURIERS)
    counts = await events_of(system.kafka, taken)
    assert {shipment: count for shipment, count in counts.items() if count != 1} == {}
    last = next(iter(taken))
    assert last in await page(system.console, f"/shipments/{last}", "admin", system.secrets["password"])


async def test_what_the_door_has_taken_is_in_a_volume(system: System) -> None:
    """Kafka is stopped, a webhook is answered, the door's container is thrown away."""
    system.run("stop", "kafka")
    await until_accepted(system.door, system.secrets["dash_secrets"], "DE-spooled")
    system.run("up", "--detach", "--no-deps", "--force-recreate", "ingest")
    system.run("start", "kafka")
    assert (await event_of(system.kafka, "dash:DE-spooled"))["version"] == 1


def start_observing(system: System, service: str) -> str:
    """Start a service of the profile `observe`, and return its address. Skip where its image is not to be had."""
    needs(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][service]["image"])
    system.run("--profile", "observe", "up", "--detach", "--no-deps", service)
    return f"http://127.0.0.1:{system.ports[service.upper()]}"


async def test_prometheus_scrapes_the_services_and_knows_the_rules(system: System) -> None:
    prometheus = start_observing(system, "prometheus")
    jobs = Counter({"waybill-ingest": 1, "waybill-processor": PROCESSORS, "waybill-reconcile": 1, "waybill-console": 1})
    async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE):
        scraped: Counter[str] = Counter()
        while scraped != jobs:
            await asyncio.sleep(0.5)
            found = await answered(session, f"{prometheus}/api/v1/query?query=up==1")
            scraped = Counter(each["metric"]["job"] for each in found["data"]["result"]) if found else Counter()
        rules = await answered(session, f"{prometheus}/api/v1/rules")
    told = {rule["name"]: rule.get("lastError", "") for group in rules["data"]["groups"] for rule in group["rules"]}
    assert told
    assert {name: error for name, error in told.items() if error} == {}


async def test_grafana_shows_the_dashboards_and_nobody_may_change_them(system: System) -> None:
    grafana = start_observing(system, "grafana")
    async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE):
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
    (tmp_path / "compose.yaml").symlink_to(ROOT / "compose.yaml")
    clean = {name: value for name, value in os.environ.items() if name != "WAYBILL_SECRETS_DIR"}
    told = run(
        [*compose, "--project-directory", str(tmp_path), "--file", str(tmp_path / "compose.yaml"), "config"], clean
    )
    assert told.returncode != 0
    assert "deploy/compose-secrets.sh" in told.stdout
