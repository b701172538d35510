"""What is compared: each engine, and how it is started on a backlog of raw records."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from devstack import tools
from runtime import migrations
from tests.forking import Started
from tests.integration.system import System

PEERS: Final = Path(__file__).with_name("peers")
"""Their programs, requirements and builds."""

PYTHON: Final = PEERS / ".venv" / "bin" / "python"
STREAMS: Final = PEERS / "kafka_streams"

KAFKA_STREAMS: Final = "Kafka Streams `exactly_once_v2`"

BUILD_SECONDS: Final = 600.0
"""Maven fetches 95 MB at first."""

LOG_SHOWN: Final = 10_000
"""Characters of an engine's log that are shown when it fails."""

SAID_LINES: Final = 5
"""How much of what Maven said is told."""


class Place(msgspec.Struct, frozen=True):
    """Where an engine works: an empty database, a group of its own, the topic of the backlog, one for its events."""

    system: System
    group: str
    raw: str
    events: str
    database_url: str


class Running(msgspec.Struct, frozen=True):
    """An engine at work: its consumer group, its processes, and what they said."""

    group: str
    processes: Sequence[Started]
    log: Callable[[], str] = str

    @property
    def pids(self) -> list[int]:
        """The numbers of its processes."""
        return [process.pid for process in self.processes]

    def check(self) -> None:
        """Raise ChildProcessError when a process has ended."""
        if any(process.returncode is not None for process in self.processes):
            raise ChildProcessError(f"{self.group} has ended:\n{self.log()}")


class Engine(msgspec.Struct, frozen=True):
    """One line of the comparison."""

    name: str
    guarantee: str
    start: Callable[[Place], AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def _waybill(place: Place, processors: int) -> AsyncIterator[Running]:
    own = {"WAYBILL_DATABASE_URL": place.database_url, "WAYBILL_PROCESSOR_GROUP_ID": place.group}
    system = System({**place.system.environ, **own})
    await migrations.migrate(system.settings)
    async with AsyncExitStack() as opened:
        started = [await opened.enter_async_context(system.processor()) for _ in range(processors)]
        yield Running(system.settings.group_id, started)


@asynccontextmanager
async def _peer(place: Place, command: tuple[str | Path, ...], environ: Mapping[str, str]) -> AsyncIterator[Running]:
    """Run a peer's program. It is killed at the end: what it did is thrown away."""
    with tempfile.TemporaryDirectory(prefix="waybill-peer-") as directory, tempfile.TemporaryFile("w+") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={
                **os.environ,
                "KAFKA": place.system.settings.kafka_bootstrap_servers,
                "GROUP": place.group,
                "RAW_TOPIC": place.raw,
                "EVENTS_TOPIC": place.events,
                "DATABASE_URL": place.database_url,
                "STATE_DIR": directory,
                **environ,
            },
            cwd=directory,
            stdout=log,
            stderr=log,
        )

        def said() -> str:
            log.seek(0)
            return log.read()[-LOG_SHOWN:]

        try:
            yield Running(place.group, [process], said)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _python(program: str, **environ: str) -> Callable[[Place], AbstractAsyncContextManager[Running]]:
    return partial(_peer, command=(PYTHON, PEERS / program), environ=environ)


class Skipped(Exception):  # noqa: N818  (no error: a machine may lack what one engine needs)
    """An engine cannot run here, for this reason."""


def kafka_streams() -> Engine:
    """Build the Kafka Streams program and return it as an engine.

    Raises:
        Skipped: Java or Maven is missing, or Maven cannot fetch or build.

    """
    java, maven = tools.java(), tools.maven()
    if java is None or maven is None:
        raise Skipped(f"Kafka Streams needs Java {tools.JAVA_AT_LEAST} and Maven (`mvn`)")
    build = ["package", "dependency:copy-dependencies", "-DoutputDirectory=target/libs", "-DincludeScope=runtime"]
    try:
        built = subprocess.run(
            [maven, "--batch-mode", "--quiet", *build],
            cwd=STREAMS,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Skipped(f"Maven was not done with Kafka Streams within {BUILD_SECONDS:.0f} s") from error
    if built.returncode:
        said = "\n".join(built.stdout.splitlines()[-SAID_LINES:])
        raise Skipped(f"Maven could not fetch or build Kafka Streams:\n{said}")
    classpath = f"{STREAMS}/target/peer.jar:{STREAMS}/target/libs/*"
    command = (java, "-Xmx1g", "-cp", classpath, "waybill.peers.ExactlyOnce")
    return Engine(
        KAFKA_STREAMS,
        "exactly once within Kafka; no database",
        partial(_peer, command=command, environ={}),
    )


WAYBILL: Final = Engine(
    "Waybill, one processor", "exactly once, parcels' rules, PostgreSQL", partial(_waybill, processors=1)
)
TWO_PROCESSORS: Final = Engine("Waybill, two processors", "the same", partial(_waybill, processors=2))
FASTSTREAM_BATCH: Final = Engine(
    "FastStream, batches of 500", "at least once, no order rules, PostgreSQL", _python("faststream_batch.py")
)
FASTSTREAM_SINGLE: Final = Engine("FastStream, one by one", "the same", _python("faststream_single.py"))
QUIXSTREAMS: Final = Engine(
    "quixstreams exactly-once, 5 s",
    "exactly once within Kafka; no database",
    _python("quixstreams_exactly_once.py", COMMIT_INTERVAL="5"),
)
QUIXSTREAMS_OFTEN: Final = Engine(
    "quixstreams exactly-once, 0.1 s", "the same", _python("quixstreams_exactly_once.py", COMMIT_INTERVAL="0.1")
)
ENGINES: Final = (WAYBILL, TWO_PROCESSORS, FASTSTREAM_BATCH, FASTSTREAM_SINGLE, QUIXSTREAMS, QUIXSTREAMS_OFTEN)
"""What needs no Maven, in the order in which they run."""
