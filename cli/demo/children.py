"""The services as child processes of `waybill up`. They end with it, however it ends."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from devstack.process import Command, Process, Stop
from runtime.errors import SetupError

READY_SECONDS: Final = 90.0
"""How long the services may take until they are ready. A few seconds; a busy laptop takes longer."""

STOP_GRACE_SECONDS: Final = 12.0
"""A service stops within 10 s of SIGTERM by itself."""

POLL_SECONDS: Final = 0.1

RUNNING: Final = "running"
"""The part of a readiness that does not come back by itself: a partition was halted for an operator to look at."""

Children = Mapping[str, Process]
"""The running services by name."""


@asynccontextmanager
async def children(admins: Mapping[str, str], environ: Mapping[str, str], logs: Path) -> AsyncIterator[Children]:
    """Run `waybill <name>` for every name until the end of the block; the last one stops first.

    `admins` holds the URLs of the admin ports by name. The block begins when all are ready.

    Raises:
        SetupError: one ends by itself or is not ready in time. The text holds the end of its log.

    """
    running: dict[str, Process] = {}
    async with AsyncExitStack() as opened:
        for name in admins:
            running[name] = _start(name, environ, logs / f"{name}.log")
            opened.push_async_callback(running[name].stop)
        async with aiohttp.ClientSession() as session:
            for name, admin in admins.items():
                await _ready(session, name, admin, running[name])
        yield running


async def watch(running: Children) -> None:
    """Wait until one of the services ends by itself.

    Raises:
        SetupError: that is so. The text holds the end of its log.

    """
    while True:
        for name, process in running.items():
            _require_running(name, process)
        await asyncio.sleep(POLL_SECONDS)


def _start(name: str, environ: Mapping[str, str], log: Path) -> Process:
    log.unlink(missing_ok=True)
    return Process.start(
        Command(
            arguments=[sys.executable, "-m", "cli.main", name],
            log=log,
            stop=Stop(signal.SIGTERM, STOP_GRACE_SECONDS),
            environment=environ,
        )
    )


async def _ready(session: aiohttp.ClientSession, name: str, admin: str, process: Process) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _says_ready(session, name, admin, process):
                _require_running(name, process)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise SetupError(f"{name} is not ready after {READY_SECONDS:.0f} s:\n{process.log_tail()}") from error


async def _says_ready(session: aiohttp.ClientSession, name: str, admin: str, process: Process) -> bool:
    try:
        async with session.get(f"{admin}/readyz") as answer:
            parts = (await answer.json())["parts"]
    except aiohttp.ClientConnectionError:
        return False
    if parts.get(RUNNING) is False:
        raise SetupError(f"{name} stands still. The end of its log:\n{process.log_tail()}")
    return all(parts.values())


def _require_running(name: str, process: Process) -> None:
    if not process.running:
        raise SetupError(f"{name} ended by itself. The end of its log:\n{process.log_tail()}")
