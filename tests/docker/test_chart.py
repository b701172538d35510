"""The chart's containers, run by a plain engine as they are rendered: environment, mounts, user, limits, probes."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from devstack.ports import free_ports
from tests.charts import Object, objects, pod_of, render
from tests.docker.engine import (
    OURS,
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
from tests.waiting import until

pytestmark = pytest.mark.docker

VALUES: Final = """
image: {repository: waybill, tag: local}
ingest: {drainSeconds: 180}
settings: {KAFKA_BOOTSTRAP_SERVERS: "kafka:9092", TOPIC_REPLICATION_FACTOR: "1"}
secrets:
  DATABASE_URL: {secret: made, key: database_url}
accounts:
  - name: main
    account: ""
    secrets: {DASH_SECRETS: {secret: made, key: dash_secrets}}
    reconcile:
      enabled: true
      settings: {DASH_API_URL: "http://127.0.0.1:9"}
      secrets:
        DASH_CLIENT_KEY: {secret: made, key: dash_secrets}
        DASH_CLIENT_SECRET: {secret: made, key: dash_secrets}
console:
  enabled: true
  secrets:
    CONSOLE_USERS: {secret: made, key: console_users}
    CONSOLE_SESSION_KEY: {secret: made, key: console_session_key}
"""
"""A Secret `made` with what compose.yaml's script has written."""

SERVICES: Final = ("ingest", "processor", "reconcile", "console")
UNITS: Final = {"Mi": "m", "Gi": "g"}


class Cluster:
    """Kafka and PostgreSQL of compose.yaml, and beside them the chart's pods."""

    def __init__(self, compose: list[str], directory: Path) -> None:
        self.directory = directory
        kafka, self.door_port, self.console_port = free_ports(3)
        self.kafka = f"127.0.0.1:{kafka}"
        self.made = made_secrets(directory / "made")
        self.project = f"waybill-chart-{secrets.token_hex(4)}"
        self._compose = [*compose, "--project-name", self.project]
        self._environment = {
            **os.environ,
            "WAYBILL_SECRETS_DIR": str(directory / "made"),
            "WAYBILL_COMPOSE_KAFKA_PORT": str(kafka),
        }
        values = directory / "values.yaml"
        values.write_text(VALUES)
        self.pods: dict[str, Object] = {}
        for each in objects(render(values)):
            if (pod := pod_of(each)) is not None:
                self.pods[each["metadata"]["labels"]["app.kubernetes.io/component"]] = pod["spec"]
        self._volumes: set[str] = set()

    def compose(self, *arguments: str) -> None:
        done([*self._compose, *arguments], self._environment)

    def is_healthy(self, store: str) -> bool:
        (container,) = done([*self._compose, "ps", "-q", store], self._environment).split()
        return bool(inspected(container)["State"]["Health"]["Status"] == "healthy")

    def name(self, component: str) -> str:
        return f"{self.project}-{component}"

    def command(self, component: str, container: Object, *more: str) -> list[str]:
        """Return what runs a container as Kubernetes would."""
        pod = self.pods[component]
        user, own, limits = pod["securityContext"], container["securityContext"], container["resources"]["limits"]
        memory = limits["memory"]
        flags = [
            *("--network", f"{self.project}_default"),
            *("--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--group-add", str(user["fsGroup"])),
            *(["--read-only"] if own["readOnlyRootFilesystem"] else []),
            *(word for dropped in own["capabilities"]["drop"] for word in ("--cap-drop", dropped)),
            *([] if own["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]),
            *("--memory", memory[:-2] + UNITS[memory[-2:]], "--cpus", limits["cpu"]),
            *(word for each in container["env"] for word in ("--env", f"{each['name']}={each['value']}")),
        ]
        volumes = {each["name"]: each for each in pod["volumes"]}
        for mount in container["volumeMounts"]:
            flags += self._mounted(component, mount, volumes.get(mount["name"]))
        return ["docker", "run", *flags, *more, container["image"], *container["args"]]

    def _mounted(self, component: str, mount: Object, volume: Object | None) -> list[str]:
        path = mount["mountPath"]
        if volume is None:  # claimed
            name = f"{self.project}-{mount['name']}"
            self._volumes.add(name)
            return ["--volume", f"{name}:{path}"]
        if "emptyDir" in volume:
            return ["--tmpfs", path]
        held = self.directory / component / mount["name"]
        held.mkdir(parents=True, exist_ok=True)
        for source in volume["projected"]["sources"]:
            for item in source["secret"]["items"]:
                file = held / item["path"]
                if not file.exists():
                    file.write_text(self.made[item["key"]])
                    file.chmod(0o444)
        return ["--volume", f"{held}:{path}:ro"]

    def job(self, component: str) -> None:
        """Run a pod's containers one after the other, to their ends."""
        pod = self.pods[component]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            done(self.command(component, container, "--rm"))

    def start(self, component: str) -> None:
        """Start a service. Kubernetes' restarts are the engine's here."""
        (container,) = self.pods[component]["containers"]
        port = {"ingest": (self.door_port, 8080), "console": (self.console_port, 9466)}.get(component)
        published = ["--publish", f"127.0.0.1:{port[0]}:{port[1]}"] if port else []
        name = ["--name", self.name(component), "--detach", "--restart", "always"]
        done(self.command(component, container, *name, *published))

    def passes(self, component: str, probe: str) -> bool:
        """Ask what a probe asks."""
        (container,) = self.pods[component]["containers"]
        asked = container[probe]["httpGet"]
        (port,) = (each["containerPort"] for each in container["ports"] if each["name"] == asked["port"])
        script = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}{asked['path']}', timeout=5)"
        return run(["docker", "exec", self.name(component), "python", "-c", script]).returncode == 0

    async def take(self, delivery: str) -> dict[str, Any]:
        await until_accepted(f"http://127.0.0.1:{self.door_port}", self.made["dash_secrets"], delivery)
        return await event_of(self.kafka, f"dash:{delivery}")

    def remove(self) -> None:
        for component in SERVICES:
            run(["docker", "rm", "--force", "--volumes", self.name(component)])
        for volume in self._volumes:
            run(["docker", "volume", "rm", "--force", volume])
        self.compose("down", "--volumes", "--timeout", "15")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    compose = compose_command()
    cluster = Cluster(compose, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.compose("build", "migrate")
        cluster.compose("up", "--detach", "kafka", "postgres")
        for store in ("kafka", "postgres"):
            asyncio.run(until(partial(cluster.is_healthy, store)))
        cluster.job("setup")
        for component in SERVICES:
            cluster.start(component)
        yield cluster
    finally:
        cluster.remove()


def test_it_is_the_image_that_was_built(cluster: Cluster) -> None:
    assert {container["image"] for pod in cluster.pods.values() for container in pod["containers"]} == {OURS}


@pytest.mark.parametrize("component", SERVICES)
async def test_a_container_may_do_little_and_passes_its_probes(cluster: Cluster, component: str) -> None:
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        await until(partial(cluster.passes, component, probe))
    is_safe(cluster.name(component))


async def test_webhook_becomes_an_event_and_a_page(cluster: Cluster) -> None:
    event = await cluster.take("DE-1")
    assert (event["courier_status"], event["version"]) == ("PREPARING", 1)
    url = f"http://127.0.0.1:{cluster.console_port}"
    assert "O-DE-1" in await page(url, "/shipments/dash:DE-1", "admin", cluster.made["password"])


@pytest.mark.parametrize("component", SERVICES)
async def test_whatever_is_killed_comes_back(cluster: Cluster, component: str) -> None:
    name = cluster.name(component)
    before = inspected(name)["RestartCount"]
    kill(name)
    await until(lambda: inspected(name)["RestartCount"] > before)
    await until(lambda: cluster.passes(component, "readinessProbe"))
    assert (await cluster.take(f"DE-after-{component}"))["version"] == 1


def test_retention_and_the_second_phase_of_migrations_run(cluster: Cluster) -> None:
    cluster.job("retention")
    cluster.job("after")


async def test_a_door_drains_its_spool_before_it_ends(cluster: Cluster) -> None:
    """What Kubernetes runs before it stops a pod ends when what was spooled is in Kafka, and so does the door then."""
    (container,) = cluster.pods["ingest"]["containers"]
    cluster.compose("stop", "kafka")
    door = f"http://127.0.0.1:{cluster.door_port}"
    await until_accepted(door, cluster.made["dash_secrets"], "DE-spooled")
    before = container["lifecycle"]["preStop"]["exec"]["command"]
    draining = asyncio.create_task(asyncio.to_thread(run, ["docker", "exec", cluster.name("ingest"), *before]))
    await until_accepted(door, cluster.made["dash_secrets"], "DE-meanwhile")
    assert not draining.done()
    cluster.compose("start", "kafka")
    ended = await draining
    assert ended.returncode == 0, ended.stdout
    grace = cluster.pods["ingest"]["terminationGracePeriodSeconds"]
    done(["docker", "stop", "--time", str(grace), cluster.name("ingest")])
    assert inspected(cluster.name("ingest"))["State"]["ExitCode"] == 0
    for delivery in ("DE-spooled", "DE-meanwhile"):
        assert (await event_of(cluster.kafka, f"dash:{delivery}"))["version"] == 1
