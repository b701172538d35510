"""One broker and one database server for the whole run; a topic prefix and a database for each test."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from secrets import token_hex
from typing import NoReturn
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient

from devstack import Docker, Kafka, MissingToolError, Postgres, Stack, StartError, for_tests, progress, services
from devstack.choice import TEST_STACK

STACK_LINES = pytest.StashKey[tuple[str, ...]]()


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
    """Start what the machine offers. An engine that cannot get the images is no reason not to test."""
    try:
        choice = for_tests(os.environ)
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


@pytest_asyncio.fixture
async def topic_prefix(kafka_bootstrap_servers: str) -> AsyncIterator[str]:
    """A prefix of this test's own. Its topics are deleted afterwards."""
    prefix = f"t{token_hex(4)}."
    yield prefix
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await admin.start()
    try:
        mine = [topic for topic in await admin.list_topics() if topic.startswith(prefix)]
        if mine:
            await admin.delete_topics(mine)
    finally:
        await admin.close()


@pytest_asyncio.fixture
async def database_url(stack: Stack) -> AsyncIterator[str]:
    """An empty database of this test's own."""
    name = f"test_{token_hex(6)}"
    await _execute(stack.database_url, f"create database {name}")
    yield urlsplit(stack.database_url)._replace(path=f"/{name}").geturl()
    await _execute(stack.database_url, f"drop database {name} with (force)")


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


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
