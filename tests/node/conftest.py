"""Node with the locked packages: installed once for a lock file, into the user's cache, which all runs share."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
OLDEST: Final = 20
"""The oldest Node that the locked packages run on."""

INSTALL_SECONDS: Final = 300
"""How long the packages, some 30 MB, may take to come and to be unpacked. Half a minute, the first time."""

RUN_SECONDS: Final = 120
"""How long a program may take. Seconds."""

_UNREACHABLE: Final = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|ENOTCACHED")
_UNTRIED: Final = "no generator of TypeScript and no AsyncAPI parser has seen the schemas"


class Node:
    """Runs programs beside the locked packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where `node_modules` and the programs are, and where results may be written."""

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run a program, which succeeds; return what it prints."""
        done = subprocess.run(
            ["node", self.folder / program, *arguments],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            cwd=self.folder,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Node, where the machine has one that is new enough and the packages can be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(f"Node with npm is not installed (Debian's packages nodejs and npm): {_UNTRIED}")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=RUN_SECONDS, check=True)
    if int(version.stdout.removeprefix("v").partition(".")[0]) < OLDEST:
        pytest.skip(f"Node is {version.stdout.strip()}, older than {OLDEST}: {_UNTRIED}")
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(_packages() / "node_modules")
    for program in HERE.glob("*.mjs"):
        shutil.copy(program, folder)
    return Node(folder)


def _packages() -> Path:
    """Return the folder with the packages of the lock file. The first run that asks makes it, others wait."""
    lock_file = HERE / "package-lock.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill"
    cache.mkdir(parents=True, exist_ok=True)
    packages = cache / f"node-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]}"
    with (cache / "node.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not packages.exists():
            work = Path(tempfile.mkdtemp(prefix=".node-", dir=cache))
            try:
                _install(work)
                work.rename(packages)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return packages


def _install(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
        cwd=folder,
    )
    if done.returncode and _UNREACHABLE.search(done.stderr):
        pytest.skip(f"npm cannot reach its registry: {_UNTRIED}")
    assert done.returncode == 0, done.stderr
