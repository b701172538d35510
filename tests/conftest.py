"""One broker and one database server for each worker of a run; a topic prefix and a database for each test.

Workers share nothing, so a test may kill its services. Tests of one worker follow each other.
"""

import gc
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from secrets import token_hex
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from devstack import (
    Docker,
    Embedded,
    Kafka,
    MissingToolError,
    Postgres,
    Stack,
    StartError,
    for_tests,
    keep_classes,
    progress,
    services,
)
from devstack.choice import TEST_STACK
from devstack.stack import NamedKafka
from runtime import migrations
from runtime.settings import load_settings

_SLOW_IS_FINE: Final = (HealthCheck.too_slow, HealthCheck.data_too_large)

for name, examples, same in (("quick", 25, True), ("full", 200, False), ("thorough", 3_000, False)):
    settings.register_profile(
        name,
        max_examples=examples,
        derandomize=same,
        database=None,
        deadline=None,
        suppress_health_check=_SLOW_IS_FINE,
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
"""How many lives each law is tried on: the same ones every time. `make chaos` takes more, and others each time."""

STACK_LINES = pytest.StashKey[tuple[str, ...]]()
STACK_LINES_KEY: Final = "stack_lines"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(pytestconfig: pytest.Config) -> AsyncIterator[Stack]:
    """The real services, started by the first test that asks."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    async with AsyncExitStack() as opened:
        with capture.global_and_fixture_disabled(), progress() as say:
            running = await _start(opened, say)
        pytestconfig.stash[STACK_LINES] = running.lines
        yield running


def lacking(reason: str) -> NoReturn:
    """Skip what this machine cannot do; fail if the environment insists."""
    if os.environ.get(TEST_STACK):
        pytest.fail(reason)
    pytest.skip(reason)


async def _start(opened: AsyncExitStack, say: Callable[[str], None]) -> Stack:
    """Start what the machine offers. An engine that cannot get the images does not keep from testing."""
    try:
        choice = for_tests(os.environ)
        if choice.kafka == Embedded():
            await keep_classes(say)
        try:
            return await opened.enter_async_context(services(choice, None, say))
        except StartError as error:
            if Docker() not in {choice.kafka, choice.postgres} or os.environ.get(TEST_STACK):
                raise
            say(f"Docker answers, but: {error}")
            embedded = for_tests({**os.environ, TEST_STACK: "embedded"})
            return await opened.enter_async_context(services(embedded, None, say))
    except MissingToolError as error:
        lacking(f"no Kafka or PostgreSQL: {error}")


@pytest.fixture
def kafka_bootstrap_servers(stack: Stack) -> str:
    return stack.kafka_bootstrap_servers


@pytest.fixture
def kafka(stack: Stack) -> Kafka:
    """The broker, for tests that kill it or use its tools. They leave it running."""
    return stack.kafka


@pytest.fixture
def postgres(stack: Stack) -> Postgres:
    """The database server, for tests that kill it. They leave it running."""
    return stack.postgres


@asynccontextmanager
async def own_prefix(stack: Stack) -> AsyncIterator[str]:
    """Give a prefix that nobody has. Its topics go with the broker; on one that stays they are deleted."""
    prefix = f"t{token_hex(4)}."
    yield prefix
    if not isinstance(stack.kafka, NamedKafka):
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap_servers)
    await admin.start()
    try:
        mine = [topic for topic in await admin.list_topics() if topic.startswith(prefix)]
        if mine:
            await admin.delete_topics(mine)
    finally:
        await admin.close()


@pytest_asyncio.fixture
async def topic_prefix(stack: Stack) -> AsyncIterator[str]:
    """A prefix of this test's own."""
    async with own_prefix(stack) as prefix:
        yield prefix


class Databases:
    """Makes databases for one test: empty ones, and copies of one that has the schema of today."""

    def __init__(self, server_url: str, template: str) -> None:
        """`template` is the name of the database to copy."""
        self._server_url = server_url
        self._template = template
        self._prefix = f"test_{token_hex(6)}"
        self._numbers = count(1)

    async def empty(self) -> str:
        """Return the address of a database without tables."""
        return await self._create("")

    async def migrated(self) -> str:
        """Return the address of a database with the schema of today."""
        return await self._create(f" template {self._template}")

    async def drop(self) -> None:
        """Drop them all, and what a test has copied under longer names."""
        connection = await asyncpg.connect(self._server_url)
        try:
            for row in await connection.fetch(
                "select datname from pg_database where starts_with(datname, $1)", self._prefix
            ):
                await connection.execute(f"drop database {row['datname']} with (force)")
        finally:
            await connection.close()

    async def _create(self, like: str) -> str:
        name = f"{self._prefix}_{next(self._numbers)}"
        await _execute(self._server_url, f"create database {name}{like}")
        return _database(self._server_url, name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_database(stack: Stack) -> AsyncIterator[str]:
    """The name of a database with the schema of today, to make copies of: a copy is made faster than the tables."""
    name = f"template_{token_hex(6)}"
    await _execute(stack.database_url, f"create database {name}")
    await migrations.migrate(load_settings({"WAYBILL_DATABASE_URL": _database(stack.database_url, name)}))
    yield name
    await _execute(stack.database_url, f"drop database {name} with (force)")


@pytest_asyncio.fixture
async def databases(stack: Stack, template_database: str) -> AsyncIterator[Databases]:
    """For a test that needs several databases."""
    made = Databases(stack.database_url, template_database)
    yield made
    await made.drop()


@pytest_asyncio.fixture
async def database_url(databases: Databases) -> str:
    """A database of this test's own, with the schema of today."""
    return await databases.migrated()


@pytest_asyncio.fixture
async def empty_database_url(databases: Databases) -> str:
    """A database of this test's own, without any table."""
    return await databases.empty()


def _database(server_url: str, name: str) -> str:
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


async def _execute(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def pytest_configure() -> None:
    """Undo what one test, or who started them all, would leave to others.

    A shell's background job ignores SIGINT, and so would the tests' children. A logger that is kept at its first use
    is heard by no test that listens later; commands that run in this process ask for just that.
    """
    structlog.configure = partial(_configure_structlog, structlog.configure)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _configure_structlog(configure: Callable[..., None], *arguments: Any, **options: Any) -> None:
    configure(*arguments, **{**options, "cache_logger_on_first_use": False})


FAULTS: Final = "faults"
LONG: Final = frozenset({FAULTS, "integration", "upgrade"})
"""Folders whose files take long."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the services. Put what takes long first: at the end it would keep one worker alone.

    First of all come files that may kill the broker: with every topic that a test leaves, its start takes longer. Then
    the longer ones of those folders: what has more lines takes, by and large, more time.
    """
    killing, sizes = set(), {}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "stack" in fixtures:
            item.add_marker(pytest.mark.integration)
        if "kafka" in fixtures or FAULTS in item.path.parts:
            killing.add(item.path)
        if item.path not in sizes:
            sizes[item.path] = item.path.stat().st_size
    items.sort(
        key=lambda item: (LONG.isdisjoint(item.path.parts), item.path not in killing, -sizes[item.path], item.path)
    )


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Each worker takes the next file, but the last worker takes the last one.

    The short files at the end need no services, and keep the processors busy while tests of the others wait for theirs.
    """

    def _assign_work_unit(self, node: Any) -> None:
        if node is self.nodes[-1]:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from looking through thousands of tests again and again: a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker has to tell to the process that writes the summary."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told[STACK_LINES_KEY] = session.config.stash.get(STACK_LINES, ())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker tells; one that crashed tells nothing."""
    told = getattr(node, "workeroutput", {}).get(STACK_LINES_KEY, ())
    node.config.stash[STACK_LINES] = (*node.config.stash.get(STACK_LINES, ()), *told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(STACK_LINES, ()):
        terminalreporter.write_line(line)
    skipped = Counter(_reason(report) for report in terminalreporter.getreports("skipped"))
    if skipped:
        terminalreporter.section(f"NOT RUN: {skipped.total()} tests", red=True, bold=True)
        for reason, count in skipped.most_common():
            terminalreporter.write_line(f"{count:5} × {reason}", red=True)


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)
