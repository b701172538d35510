"""Fresh systems for a measurement, on one broker and one database."""

import os
import platform
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from devstack import Stack, for_tests, services
from tests.integration.system import System, open_system


def sample(name: str) -> bytes:
    """Read one of the couriers' example bodies."""
    courier, _, rest = name.partition("/")
    return files("schemas.couriers").joinpath(courier, "samples", rest).read_bytes()


def described() -> str:
    """Return what machine this is, for the page of a measurement."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, Python {platform.python_version()}"


@asynccontextmanager
async def bench_stack(data_dir: Path | None = None) -> AsyncIterator[Stack]:
    """Start a broker and a database. Where their data does not fit into memory, it is kept in a directory."""
    async with services(for_tests(os.environ), data_dir, lambda line: print(line, file=sys.stderr)) as stack:
        yield stack


@asynccontextmanager
async def bench_systems(*prefixes: str) -> AsyncIterator[list[System]]:
    """Start a broker and a database and make an empty system on them for each prefix. One of them may process."""
    async with bench_stack() as stack:
        yield [await open_system(stack.kafka_bootstrap_servers, stack.database_url, prefix) for prefix in prefixes]


@asynccontextmanager
async def empty_database(url: str, name: str) -> AsyncIterator[str]:
    """Give the address of an empty database beside the server's own. It is dropped at the end."""
    server = await asyncpg.connect(url)
    try:
        await server.execute(f'create database "{name}"')
        await server.execute("checkpoint")  # what an engine before left to be written is not this one's
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            await server.execute(f'drop database "{name}" with (force)')
    finally:
        await server.close()
