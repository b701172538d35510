"""Apache Kafka and PostgreSQL in Docker, through testcontainers."""

import asyncio
import hashlib
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

import asyncpg
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from devstack.errors import StartError, ToolError
from devstack.home import Home
from devstack.kafka import BROKER_SETTINGS, TOOLS
from devstack.kafka import READY as KAFKA_READY
from devstack.ports import HOST, kept_ports
from devstack.postgres import DATABASE, ROLE, SERVER_SETTINGS
from devstack.process import Command, Process, Stop

KAFKA_IMAGE: Final = "apache/kafka:4.1.1"
POSTGRES_IMAGE: Final = "postgres:18"

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 8
LOOK_SECONDS: Final = 0.2
"""How often a starting container is looked at."""

KAFKA_PORT: Final = 9092
TOOLS_LISTENER: Final = "localhost:19092"
"""Inside the container, the address clients are given leads elsewhere."""

POSTGRES_PORT: Final = 5432


class _Container:
    """One container of ours: on a loopback port, with its data in a volume, removed however this process ends."""

    def __init__(self, image: str, home: Home) -> None:
        self._image = image
        self._home = home
        self._name = f"waybill-{secrets.token_hex(6)}"
        self._docker: Any = None
        self._reaper: Process | None = None
        (self.host_port,) = kept_ports(home.path / "ports", 1)

    @property
    def place(self) -> str:
        return f"in Docker ({self._image}), {HOST}:{self.host_port}"

    async def start(self, port: int, data: str, environment: Mapping[str, str], command: list[str] | None) -> None:
        self._reaper = Process.start(
            Command(
                arguments=[sys.executable, "-P", str(Path(__file__).with_name("reaper.py")), self._name],
                log=self._home.path / "reaper.log",
                stop=Stop(SIGTERM, grace=STOP_SECONDS * 2),
                remove=self._home.to_remove,
                lock=self._home.lock,
            )
        )
        try:
            await asyncio.to_thread(self._start, port, data, environment, command)
        except DockerException as error:
            raise StartError(f"{self._image} could not be started: {error}") from error

    def _start(self, port: int, data: str, environment: Mapping[str, str], command: list[str] | None) -> None:
        container = DockerContainer(self._image, env=dict(environment), name=self._name, command=command)  # type: ignore[arg-type]  # the Docker API takes a list
        ports: Any = {f"{port}/tcp": (HOST, self.host_port)}
        container.ports = ports
        if not self._home.is_fresh:
            container.with_volume_mapping(self._volume(), data, "rw")
        try:
            container.start()
        except DockerException:
            container.get_docker_client().client.close()
            raise
        self._docker = container

    async def stop(self) -> None:
        if self._docker is not None:
            await asyncio.to_thread(self._stop)
        if self._reaper is not None:
            await self._reaper.stop()

    def _stop(self) -> None:
        if not self._home.is_fresh:
            self._docker.get_wrapped_container().stop(timeout=STOP_SECONDS)
        self._docker.stop()

    async def kill(self) -> None:
        await asyncio.to_thread(self._docker.get_wrapped_container().kill)

    async def restart(self) -> None:
        await asyncio.to_thread(self._docker.get_wrapped_container().restart, timeout=STOP_SECONDS)

    async def exec(self, command: list[str]) -> str:
        result = await asyncio.to_thread(self._docker.exec, command)
        said = str(result.output.decode(errors="replace"))
        if result.exit_code:
            raise ToolError(f"{command[0]} failed:\n{said}")
        return said

    async def said(self) -> str:
        out, err = await asyncio.to_thread(self._docker.get_logs)
        return str((out + err).decode(errors="replace"))

    async def running(self) -> bool:
        container = self._docker.get_wrapped_container()
        await asyncio.to_thread(container.reload)
        return str(container.status) in {"created", "running", "restarting"}

    def _volume(self) -> str:
        """Name the volume after a word kept in the home: a deleted home gives new data."""
        word = self._home.path / "volume"
        if not word.exists():
            path = hashlib.sha256(str(self._home.path.resolve()).encode()).hexdigest()[:8]
            word.write_text(f"waybill-{self._home.path.name}-{path}-{secrets.token_hex(4)}")
        return word.read_text().strip()


class DockerKafka:
    """A broker in a container."""

    def __init__(self, home: Home) -> None:
        """`home` remembers the port and the volume."""
        self._container = _Container(KAFKA_IMAGE, home)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"{HOST}:{self._container.host_port}"

    @property
    def line(self) -> str:
        """What was chosen, for a person."""
        return f"Kafka: {self._container.place}"

    async def start(self, say: Callable[[str], None]) -> None:
        """Fetch the image if need be, start the broker, wait until it serves. Raises StartError."""
        say(f"Kafka: starting {KAFKA_IMAGE} in Docker (the first time, it fetches the image)")
        settings = {
            **BROKER_SETTINGS,
            "inter.broker.listener.name": "INTERNAL",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": "1@localhost:9093",
            "listeners": f"PLAINTEXT://:{KAFKA_PORT},INTERNAL://{TOOLS_LISTENER},CONTROLLER://localhost:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers},INTERNAL://{TOOLS_LISTENER}",
            "log.dirs": "/var/lib/kafka/data",
        }
        environment = {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in settings.items()}
        environment["KAFKA_HEAP_OPTS"] = "-Xmx512m"
        await self._container.start(KAFKA_PORT, "/var/lib/kafka/data", environment, None)
        await self._ready(starts=1)

    async def stop(self) -> None:
        """End the broker and remove its container."""
        await self._container.stop()

    async def kill(self) -> None:
        """SIGKILL the broker."""
        await self._container.kill()

    async def restart(self) -> None:
        """Start the broker again on the same port and data. Raises StartError."""
        starts = (await self._container.said()).count(KAFKA_READY)
        await self._container.restart()
        await self._ready(starts + 1)

    async def tool(self, name: str, *arguments: str) -> str:
        """Run one of Kafka's own tools, such as `kafka-topics`, and return its output. Raises ToolError."""
        if name not in TOOLS:
            raise KeyError(name)
        return await self._container.exec(
            [f"/opt/kafka/bin/{name}.sh", "--bootstrap-server", TOOLS_LISTENER, *arguments]
        )

    async def _ready(self, starts: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (said := await self._container.said()).count(KAFKA_READY) < starts:
            if time.monotonic() > deadline or not await self._container.running():
                raise StartError(f"Kafka did not start in Docker:\n{said[-2000:]}")
            await asyncio.sleep(LOOK_SECONDS)


class DockerPostgres:
    """A database server in a container."""

    def __init__(self, home: Home) -> None:
        """`home` remembers the port, the password and the volume."""
        self._container = _Container(POSTGRES_IMAGE, home)
        file = home.path / "password"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
        self._password = file.read_text()

    @property
    def database_url(self) -> str:
        """A role that may do everything, and the database `waybill`."""
        return f"postgresql://{ROLE}:{self._password}@{HOST}:{self._container.host_port}/{DATABASE}"

    @property
    def line(self) -> str:
        """What was chosen, for a person."""
        return f"PostgreSQL: {self._container.place}"

    async def start(self, say: Callable[[str], None]) -> None:
        """Fetch the image if need be, start the server, wait until it serves. Raises StartError."""
        say(f"PostgreSQL: starting {POSTGRES_IMAGE} in Docker (the first time, it fetches the image)")
        environment = {"POSTGRES_USER": ROLE, "POSTGRES_PASSWORD": self._password, "POSTGRES_DB": DATABASE}
        settings = [word for name, value in SERVER_SETTINGS.items() for word in ("-c", f"{name}={value}")]
        await self._container.start(POSTGRES_PORT, "/var/lib/postgresql", environment, ["postgres", *settings])
        await self._ready()

    async def stop(self) -> None:
        """End the server and remove its container."""
        await self._container.stop()

    async def kill(self) -> None:
        """SIGKILL the server and its backends."""
        await self._container.kill()

    async def restart(self) -> None:
        """Start the server again on the same port and data. Raises StartError."""
        await self._container.restart()
        await self._ready()

    async def _ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(self.database_url, timeout=START_SECONDS)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if time.monotonic() > deadline or not await self._container.running():
                    said = await self._container.said()
                    raise StartError(f"PostgreSQL did not start in Docker ({error}):\n{said[-2000:]}") from error
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await connection.close()
                return
