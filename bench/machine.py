"""Fresh systems for a measurement, on one broker and one database."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from devstack import for_tests, services
from tests.integration.system import System, open_system


def sample(name: str) -> bytes:
    """Read one of the couriers' example bodies."""
    courier, _, rest = name.partition("/")
    return files("schemas.couriers").joinpath(courier, "samples", rest).read_bytes()


@asynccontextmanager
async def bench_systems(*prefixes: str) -> AsyncIterator[list[System]]:
    """Start a broker and a database and make an empty system on them for each prefix. One of them may process."""
    async with services(for_tests(os.environ), None, lambda line: print(line, file=sys.stderr)) as stack:
        yield [await open_system(stack.kafka_bootstrap_servers, stack.database_url, prefix) for prefix in prefixes]
