"""A service's own directory: held by one run at a time, freed of what a killed run left."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

import psutil

from devstack.errors import DevstackError, InUseError
from devstack.process import until

RELEASE_SECONDS: Final = 20.0
"""How long the guard of a killed run may take to end its program."""

MEMORY: Final = Path("/dev/shm")  # noqa: S108
"""Where Linux keeps files in memory. Containers often have 64 MB of it only."""

MEMORY_BYTES: Final = 4 * 2**30
"""What must be free there and in memory: the data of both services of a long run take some hundred MB."""


class Home:
    """A directory of one service. Kept under `path`, or fresh in the system's temporary directory."""

    def __init__(self, path: Path, *, fresh: bool, lock: int) -> None:
        """Use `kept` or `fresh`."""
        self.path = path
        self.is_fresh = fresh
        self.lock = lock

    @classmethod
    async def kept(cls, path: Path) -> Self:
        """Hold a directory that stays. Raises InUseError while another run holds it."""
        lock = _open_lock(path)
        try:
            await _hold(lock, path)
        except BaseException:
            os.close(lock)
            raise
        home = cls(path, fresh=False, lock=lock)
        home._end_leftover()
        return home

    @classmethod
    def fresh(cls, service: str) -> Self:
        """Make a directory that goes with this run."""
        directory = memory_directory() or public_temporary_directory()
        path = Path(tempfile.mkdtemp(prefix=f"waybill-{service}-", dir=directory))
        return cls(path, fresh=True, lock=_open_lock(path))

    def release(self) -> None:
        """Let go of the directory; delete it if it is fresh."""
        os.close(self.lock)
        if self.is_fresh:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def to_remove(self) -> Path | None:
        """What the guard deletes when this process is gone."""
        return self.path if self.is_fresh else None

    @property
    def place(self) -> str:
        """The directory as a person would name it."""
        if self.is_fresh:
            return "in memory" if self.path.parent == MEMORY else "in a temporary directory"
        path = self.path.resolve()
        here = Path.cwd()
        return f"under {path.relative_to(here) if path.is_relative_to(here) else path}"

    def remember(self, pid: int) -> None:
        """Note the program's process id, for a run after a killed one."""
        (self.path / "pid").write_text(f"{pid}\n")

    def _end_leftover(self) -> None:
        """End a program whose guard was killed too: the lock is ours, yet it still runs on this directory."""
        file = self.path / "pid"
        text = file.read_text().strip() if file.exists() else ""
        if not text.isdecimal():
            return
        try:
            program = psutil.Process(int(text))
            if any(str(self.path.resolve()) in word for word in program.cmdline()):
                program.kill()
                program.wait(RELEASE_SECONDS)
        except psutil.NoSuchProcess:
            pass
        file.unlink()


def _open_lock(path: Path) -> int:
    try:
        path.mkdir(parents=True, exist_ok=True)
        return os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DevstackError(f"{path} cannot be used: {error.strerror}") from error


async def _hold(lock: int, path: Path) -> None:
    if not _try_lock(lock):
        holder = os.pread(lock, 20, 0).decode().strip()
        if holder.isdecimal() and psutil.pid_exists(int(holder)):
            raise InUseError(f"{path} is in use by process {holder}: stop that run first, or let it finish stopping")
        await until(lambda: _try_lock(lock), RELEASE_SECONDS, f"the end of a killed run's service in {path}")
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def memory_directory() -> Path | None:
    """Return a directory in memory, if there is one with room for a service's throw-away data.

    What is synced there is synced at once: a commit, a new database and its end take a tenth of the time, and a killed
    service finds everything again. Only a power cut would lose it, and nobody looks for throw-away data after one.
    """
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return None
    room = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return MEMORY if room >= MEMORY_BYTES else None


def public_temporary_directory() -> Path:
    """The system's temporary directory, or for root one that an unprivileged user can reach."""
    configured = Path(tempfile.gettempdir())
    return configured if os.geteuid() != 0 or is_reachable(configured) else Path("/var/tmp")  # noqa: S108


def is_reachable(path: Path) -> bool:
    """Tell whether any user may enter this directory."""
    resolved = path.resolve()
    return all(part.stat().st_mode & 0o001 for part in (resolved, *resolved.parents))
