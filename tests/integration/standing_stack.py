"""A run for the tests to kill: starts embedded services, says where they are, stands until its input ends.

The argument is the directory of its data, or nothing for fresh ones.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from devstack import Choice, Embedded, services


class Standing(msgspec.Struct):
    """Where the services of this run are."""

    kafka_bootstrap_servers: str
    database_url: str
    pids: dict[str, int]


async def main(*directory: str) -> None:
    data_dir = Path(directory[0]) if directory else None
    async with services(Choice(Embedded(), Embedded()), data_dir, lambda _: None) as stack:
        embedded: Any = stack
        pids = {"kafka": embedded.kafka.pid, "postgres": embedded.postgres.pid}
        standing = Standing(stack.kafka_bootstrap_servers, stack.database_url, pids)
        sys.stdout.write(msgspec.json.encode(standing).decode() + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
