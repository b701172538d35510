"""Apache Kafka without Docker: nodes in KRaft mode, run from their jars."""

import asyncio
import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from types import MappingProxyType
from typing import Final

import msgspec

from devstack.errors import StartError, ToolError
from devstack.home import Home
from devstack.jars import SOURCES, classes_file
from devstack.ports import HOST, is_free, kept_ports
from devstack.process import Command, Process, Stop

READY: Final = r"Kafka Server started"
START_SECONDS: Final = 120.0
"""A start takes 2 to 14 s; a busy machine with a log to recover takes longer."""

STOP_SECONDS: Final = 8.0
LEAVE_SECONDS: Final = 120.0
"""A broker writes its classes in 5 s of processor time."""

FORMAT_SECONDS: Final = 60.0
TOOL_SECONDS: Final = 120.0
START_ATTEMPTS: Final = 3
"""Between our look at a port and the broker's, another program may take it."""

TOOLS: Final = {
    "kafka-acls": "org.apache.kafka.tools.AclCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
}
"""The main classes behind Kafka's own scripts."""

BROKER_SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    # One broker: a single copy of everything, and few internal partitions to make at first use.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group of one laptop does not wait for more members.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # After kill -9 the controller refuses the broker until its old session is over.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # A crashed producer's transaction is aborted within a second of its timeout, not ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    # An idle controller writes no record twice a second for others to see that it lives: a third of what idling costs.
    "metadata.max.idle.interval.ms": "0",
    # Stories and tests write records of made-up times, some older than a topic keeps them: none goes during a run.
    "log.initial.task.delay.ms": str(60 * 60 * 1000),
    "log.retention.check.interval.ms": str(60 * 60 * 1000),
}
"""What the embedded broker and the one in Docker share."""

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For a process that ends before the optimizing compiler and the parallel collector have paid for themselves: a broker
of a laptop or a test run starts, and works, on half the processor time."""

JVM_OPTIONS: Final = ("-Xmx512m", "-XX:+ExitOnOutOfMemoryError", *SHORT_LIVED)


class Member(msgspec.Struct, frozen=True):
    """A broker's place in a cluster, which every other member knows.

    `controllers` are the ports at which the members vote, by their number from 1 on; `port` is for clients.
    """

    cluster_id: str
    number: int
    port: int
    controllers: Sequence[int]

    @property
    def ports(self) -> list[int]:
        """The broker's own: for clients, and as a controller."""
        return [self.port, self.controllers[self.number - 1]]

    def settings(self) -> dict[str, str]:
        """Return what a broker is told of itself and of the others."""
        clients, controllers = (f"{HOST}:{port}" for port in self.ports)
        voters = (f"{number}@{HOST}:{port}" for number, port in enumerate(self.controllers, start=1))
        return {
            "node.id": str(self.number),
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"CLIENTS://{clients},CONTROLLER://{controllers}",
            "advertised.listeners": f"CLIENTS://{clients}",
        }


class EmbeddedKafka:
    """A broker in its own directory."""

    def __init__(
        self,
        java: Path,
        jars: Path,
        home: Home,
        extra: Mapping[str, str] = MappingProxyType({}),
        formatting: Sequence[str] = (),
        member: Member | None = None,
        leaves: Path | None = None,
    ) -> None:
        """`java` is at least version 17, `jars` holds Kafka's libraries.

        `extra` settings go before our own. `formatting` holds more arguments for the storage's formatting. A broker
        that is no `member` of a cluster is one by itself, on ports that it finds free. One that `leaves` a file writes
        its classes into it when it is stopped.
        """
        self._java = java
        self._jars = jars
        self._home = home
        self._extra = extra
        self._formatting = formatting
        self._given = member
        self._member: Member | None = member
        self._leaves = leaves
        self._process: Process | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        assert self._member is not None, "not started"
        return f"{HOST}:{self._member.port}"

    @property
    def line(self) -> str:
        """What was chosen, for a person."""
        return f"Kafka: embedded {self._home.place}, {self.bootstrap_servers}"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    async def start(self, say: Callable[[str], None]) -> None:
        """Format the storage if it is new, start the broker, wait until it serves. Raises StartError."""
        for attempt in range(1, START_ATTEMPTS + 1):
            member = self._member = self._given or self._alone()
            self._write_settings(member)
            if not self._is_formatted():
                say("Kafka: preparing the storage")
                await self._format(member.cluster_id)
            say(f"Kafka: starting on {self.bootstrap_servers}")
            try:
                await self._run()
            except StartError:
                if self._given or attempt == START_ATTEMPTS or all(map(is_free, member.ports)):
                    raise
            else:
                return

    async def stop(self) -> None:
        """End the broker in order."""
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL the broker."""
        assert self._process is not None, "not started"
        await self._process.kill()

    async def restart(self) -> None:
        """Start the broker again on the same port and data. Raises StartError."""
        await self.stop()
        await self._run()

    async def tool(self, name: str, *arguments: str) -> str:
        """Run one of Kafka's own tools, such as `kafka-topics`, and return its output. Raises ToolError."""
        process = await asyncio.create_subprocess_exec(
            *self.java_command(TOOLS[name]),
            *("--bootstrap-server", self.bootstrap_servers, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), TOOL_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ToolError(f"{name} failed:\n{said.decode(errors='replace')}")
        return said.decode(errors="replace")

    def java_command(self, main: str) -> list[str]:
        """Return what runs a class of Kafka's, such as one of `TOOLS`."""
        return [str(self._java), *SHORT_LIVED, *self._classpath(), main]

    async def _run(self) -> None:
        leaving = [] if self._leaves is None else [f"-XX:ArchiveClassesAtExit={self._leaves}"]
        program = (*self._classpath(), "kafka.Kafka", str(self._settings))
        self._process = Process.start(self._command(*JVM_OPTIONS, *leaving, *program))
        try:
            self._home.remember(self._process.pid)
            await self._process.ready(READY, START_SECONDS)
        except BaseException:
            await self._process.stop()
            raise

    def _alone(self) -> Member:
        port, controller = kept_ports(self._home.path / "ports", 2)
        return Member(new_cluster_id(), 1, port, [controller])

    async def _format(self, cluster_id: str) -> None:
        storage = Process.start(
            self._command(
                *SHORT_LIVED,
                *self._classpath(),
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster_id}",
                f"--config={self._settings}",
                *self._formatting,
            )
        )
        if await storage.finish(FORMAT_SECONDS):
            raise StartError(f"Kafka's storage could not be formatted:\n{storage.log_tail()}")

    def _command(self, *arguments: str) -> Command:
        return Command(
            arguments=[str(self._java), *arguments],
            log=self._home.path / "kafka.log",
            stop=self._stop,
            remove=self._home.to_remove,
            lock=self._home.lock,
        )

    @property
    def _stop(self) -> Stop:
        if self._leaves is not None:
            return Stop(SIGTERM, LEAVE_SECONDS)
        return Stop(SIGKILL if self._home.is_fresh else SIGTERM, STOP_SECONDS)

    def _classpath(self) -> list[str]:
        kept = classes_file(self._java, self._jars)
        shared = [f"-XX:SharedArchiveFile={kept}"] if kept.exists() and kept.stat().st_size else []
        return [f"-Dlog4j2.configurationFile={SOURCES / 'log4j2.properties'}", *shared, "-cp", f"{self._jars}/*"]

    @property
    def _settings(self) -> Path:
        return self._home.path / "server.properties"

    def _is_formatted(self) -> bool:
        return (self._home.path / "data" / "meta.properties").exists()

    def _write_settings(self, member: Member) -> None:
        settings = {
            **BROKER_SETTINGS,
            **member.settings(),
            "log.dirs": str((self._home.path / "data").resolve()),
            **self._extra,
        }
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def new_cluster_id() -> str:
    """Return an id as Kafka makes them: 16 random bytes."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
