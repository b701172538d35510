"""Kafka's jars, and those of other lists: fetched once per user by Maven, shared by every checkout."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Final

from devstack import tools
from devstack.errors import MissingToolError, StartError
from devstack.process import Command, Process, Stop

SOURCES: Final = Path(__file__).with_name("kafka_home")
"""What we give to Kafka: the list of jars and the logging configuration."""

KAFKA: Final = SOURCES / "pom.xml"
"""The list of the jars that a broker needs."""

FETCH_SECONDS: Final = 900.0
"""54 MB over a slow line."""


def cached_jars(pom: Path = KAFKA) -> Path:
    """Name the directory of the jars, there or not. Its key is the list of jars: a change fetches anew."""
    return cache() / f"kafka-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"


def classes_file(java: Path, jars: Path) -> Path:
    """Name the file of a broker's classes, there or not. Its key is the Java: no other reads what one has written."""
    program = java.resolve()
    key = f"{program} {program.stat().st_mtime_ns}"
    return jars / f"classes-{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsa"


def cache() -> Path:
    """Name the directory of what is fetched once per user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill"


async def jars(say: Callable[[str], None], pom: Path = KAFKA) -> Path:
    """Return the directory of the jars that a Maven project lists, fetching them on the first start.

    Raises MissingToolError without Maven and StartError when the jars cannot be fetched.
    """
    cached = cached_jars(pom)
    if not cached.exists():
        await _fetch(pom, cached, say)
    return cached


async def _fetch(pom: Path, cached: Path, say: Callable[[str], None]) -> None:
    maven = tools.maven()
    if maven is None:
        raise MissingToolError("Kafka's jars are fetched by Maven once: install Maven (`mvn`)")
    work = _work_directory(cached)
    try:
        await _copy_dependencies(maven, pom, work, say)
        _publish(work / "libs", cached)
    finally:
        shutil.rmtree(work, ignore_errors=True)


async def _copy_dependencies(maven: Path, pom: Path, work: Path, say: Callable[[str], None]) -> None:
    def watch(log: str) -> None:
        say(f"Kafka: fetching its jars with Maven ({log.count('Downloaded from')} files downloaded)")

    process = Process.start(
        Command(
            arguments=[
                str(maven),
                "--batch-mode",
                f"--file={pom}",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={work / 'libs'}",
                "-DincludeScope=runtime",
            ],
            log=work / "maven.log",
            stop=Stop(SIGTERM, grace=2),
            remove=work,
        )
    )
    if await process.finish(FETCH_SECONDS, watch):
        raise StartError(f"Maven could not fetch Kafka's jars:\n{process.log_tail()}")


def _work_directory(cached: Path) -> Path:
    cached.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".fetching-", dir=cached.parent))


def _publish(fetched: Path, cached: Path) -> None:
    """Put the jars in place in one step. When another start was first, its jars stay."""
    try:
        fetched.rename(cached)
    except OSError:
        if not cached.exists():
            raise
