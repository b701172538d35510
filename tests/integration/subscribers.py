"""The example subscribers: made ready to run, and run."""

import asyncio
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from devstack import tools
from devstack.errors import MissingToolError, StartError
from devstack.jars import cache, jars
from tests.children import LOG_SHOWN, environ_with, logged
from tests.waiting import DEADLINE

EXAMPLES: Final = Path(__file__).parents[2] / "examples"

FETCH_SECONDS: Final = 600.0
"""What fetching or building may take on a busy machine, the first time."""


class LackingError(Exception):
    """This machine has not what a language needs: its tools, or a way to its packages."""


async def python(_place: Path) -> list[str]:
    """Run by the tests' own Python: its packages are among theirs."""
    return [sys.executable, str(EXAMPLES / "python/subscriber.py")]


async def java(_place: Path) -> list[str]:
    """Run from source, with the jars of its list."""
    found = tools.java()
    if found is None:
        raise LackingError(f"no Java {tools.JAVA_AT_LEAST} or newer")
    try:
        libraries = await jars(lambda _: None, EXAMPLES / "java/pom.xml")
    except (MissingToolError, StartError) as error:
        raise LackingError(f"the Java subscriber's jars cannot be fetched: {error}") from error
    quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    return [str(found), *quick, "-cp", f"{libraries}/*", str(EXAMPLES / "java/Parcels.java")]


async def typescript(place: Path) -> list[str]:
    """Compiled by the compiler of its lock file."""
    node = _tool("node")
    shutil.copytree(EXAMPLES / "typescript", place, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    (place / "node_modules").symlink_to(await node_modules())
    await run([node, "node_modules/typescript/bin/tsc"], place)
    return [node, str(place / "build/parcels.js")]


async def node_modules() -> Path:
    """Return the packages of the TypeScript subscriber's lock file, installed once per user."""
    npm = _tool("npm")
    locked = EXAMPLES / "typescript/package-lock.json"
    installed = cache() / f"typescript-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    if not installed.exists():
        installed.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".installing-", dir=installed.parent))
        try:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(locked.with_name(file), work)
            await _fetch([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], work)
            shutil.move(work, installed)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return installed / "node_modules"


async def go(place: Path) -> list[str]:
    """Built by the machine's Go, whose cache makes every time but the first quick."""
    compiler = _tool("go")
    await _fetch([compiler, "mod", "download"], EXAMPLES / "go")
    program = place / "parcels"
    await run([compiler, "build", "-o", str(program), "."], EXAMPLES / "go")
    return [str(program)]


LANGUAGES: Final[Mapping[str, Callable[[Path], Awaitable[list[str]]]]] = {
    "python": python,
    "java": java,
    "typescript": typescript,
    "go": go,
}
"""How each subscriber is made ready: each gives the command that runs it."""


def subscriber(
    command: list[str], environ: Mapping[str, str]
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """Run a subscriber; it is gone afterwards."""
    return logged(
        " ".join(command),
        lambda log: asyncio.create_subprocess_exec(
            *command, env=environ_with(environ), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        ),
    )


def jdbc(database_url: str) -> str:
    """Return a database's address as Java's driver takes it."""
    login, _, rest = database_url.removeprefix("postgresql://").rpartition("@")
    user, _, password = login.partition(":")
    return f"jdbc:postgresql://{rest}?user={user}&password={password}"


async def ended(process: asyncio.subprocess.Process) -> int:
    """Wait for a process' own end; return its exit code."""
    return await asyncio.wait_for(process.wait(), DEADLINE)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LackingError(f"no {name}")
    return found


async def _fetch(command: list[str], place: Path) -> None:
    """Run what needs a way to the packages."""
    try:
        await run(command, place)
    except AssertionError as error:
        raise LackingError(f"packages cannot be fetched: {error}") from error


async def run(command: list[str], place: Path, given: bytes = b"") -> str:
    """Run a program to its end; return what it said. `given` is its standard input."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=place,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(given), FETCH_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{' '.join(command)}: {said.decode()[-LOG_SHOWN:]}"
    return said.decode()
