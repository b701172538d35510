"""The code of a version before, taken from the history, and run by this Python with today's libraries."""

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.children import environ_with
from tests.forking import Output
from tests.integration.system import System
from tests.waiting import DEADLINE

ROOT: Final = Path(__file__).parents[2]


class Release(msgspec.Struct, frozen=True):
    """One version's code, in a folder of its own."""

    version: str
    commit: str
    folder: Path

    async def start(
        self,
        module: str,
        *arguments: str,
        environ: Mapping[str, str],
        stdout: Output | int = None,
        stderr: Output | int = None,
    ) -> asyncio.subprocess.Process:
        """Start one of its modules as `python -m` does, with these settings and nothing to read."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=self.folder,
            env=environ_with({**environ, "PYTHONPATH": str(self.folder)}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )

    async def waybill(self, environ: Mapping[str, str], *arguments: str) -> bytes:
        """Run one of its commands to its end; return what it printed."""
        pipe = asyncio.subprocess.PIPE
        process = await self.start("cli.main", *arguments, environ=environ, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(DEADLINE):
            said, complained = await process.communicate()
        assert process.returncode == 0, f"{self} {arguments}: {complained.decode()}"
        return said

    def __str__(self) -> str:
        return f"Waybill {self.version} ({self.commit[:7]}) with today's libraries"


async def made_by(release: Release, system: System) -> None:
    """Make schema and topics as that version does."""
    await release.waybill(system.environ, "migrate")
    await release.waybill(system.environ, "topics", "apply")


def newest_release() -> str:
    """Return the commit that changed the version last. Where no history can be read, the test is skipped."""
    need_history()
    return _git("log", "-1", "--format=%H", "-G^version = ", "--", "pyproject.toml").decode().strip()


def need_history() -> None:
    """Skip the test where the code of a version before cannot be had."""
    try:
        if _git("rev-parse", "--is-shallow-repository").strip() != b"false":
            pytest.skip("a shallow clone: the code of the release before is not in it")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the code of the release before cannot be had: {error} {getattr(error, 'stderr', b'').decode()}")


def unpack(commit: str, folder: Path) -> Release:
    """Write a commit's files into a folder. That it is this code that runs there is looked at once."""
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=_git("archive", commit), check=True)
    version = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    release = Release(version, commit, folder)
    found = subprocess.run(
        [sys.executable, "-c", "import runtime; print(runtime.__file__)"],
        cwd=folder,
        env=environ_with({"PYTHONPATH": str(folder)}),
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(folder), f"{release}: {found.stdout} is not its code"
    return release


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout
