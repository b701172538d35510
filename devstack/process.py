"""A program under the guard, as the parent sees it. Bound to no event loop: any loop of the process may stop it."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
import psutil

from devstack.errors import StartError

POLL_SECONDS: Final = 0.05
"""How often a condition is looked at while something starts or stops."""

KILL_SECONDS: Final = 10.0
"""SIGKILL works at once; a busy machine may take a while to say so."""

GUARD_SECONDS: Final = 60.0
"""What a guard may take beyond its program's grace: it only deletes a directory, but on a busy disk of many files."""

LOG_TAIL_LINES: Final = 15
"""How much of a program's log an error shows."""


class Stop(msgspec.Struct, frozen=True):
    """How a program is ended: by this signal, and by SIGKILL after `grace` seconds."""

    signal: signal.Signals
    grace: float


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A program and how it is kept.

    Its output is appended to `log`. As root it runs as `user`. The guard deletes `remove` when the parent is gone.
    `lock` is a file descriptor the guard holds open as long as the program lives.
    """

    arguments: Sequence[str]
    log: Path
    stop: Stop
    user: int | None = None
    remove: Path | None = None
    lock: int | None = None
    environment: Mapping[str, str] | None = None


class Process:
    """A running program and its guard."""

    def __init__(self, command: Command, guard: subprocess.Popen[bytes], pid: int, log_start: int) -> None:
        """Use `start`."""
        self.pid = pid
        self._command = command
        self._guard = guard
        self._log_start = log_start

    @classmethod
    def start(cls, command: Command) -> Self:
        """Start the program. Raises StartError when it cannot be executed."""
        log_start = command.log.stat().st_size if command.log.exists() else 0
        with command.log.open("ab") as log:
            guard = subprocess.Popen(  # noqa: S603  (the command is our own)
                [sys.executable, "-IS", str(Path(__file__).with_name("guard.py")), *_guard_options(command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                pass_fds=() if command.lock is None else (command.lock,),
                env=command.environment,
            )
        assert guard.stdout is not None
        with guard.stdout:
            first_line = guard.stdout.readline()
        process = cls(command, guard, int(first_line or 0), log_start)
        if not first_line:
            process._close()
            guard.wait()
            raise StartError(f"{command.arguments[0]} cannot be run:\n{process.log_tail()}")
        return process

    @property
    def running(self) -> bool:
        """Whether the program still runs."""
        return self._guard.poll() is None

    def log(self) -> str:
        """Return what the program said since its start."""
        with self._command.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self) -> str:
        """Return the end of what the program said."""
        return "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])

    async def ready(self, line: str, within: float) -> None:
        """Wait until the log holds `line`, a regular expression. Raises StartError."""
        name = Path(self._command.arguments[0]).name
        deadline = time.monotonic() + within
        while not re.search(line, self.log()):
            if not self.running:
                raise StartError(f"{name} ended while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{name} was not ready within {within:.0f} s:\n{self.log_tail()}")
            await asyncio.sleep(POLL_SECONDS)

    async def finish(self, within: float, watch: Callable[[str], None] | None = None) -> int:
        """Wait for the program's own end and return its exit status. `watch` sees the log as it grows.

        However this is left, the program is ended. Raises StartError when it takes longer than `within` seconds.
        """
        deadline = time.monotonic() + within
        try:
            while self.running:
                if watch:
                    watch(self.log())
                if time.monotonic() > deadline:
                    raise StartError(f"not done within {within:.0f} s:\n{self.log_tail()}")
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await self.stop()
        return self._guard.returncode

    async def stop(self) -> None:
        """End the program in order and wait for its end. Again: nothing."""
        self._close()
        await until(lambda: not self.running, self._command.stop.grace + GUARD_SECONDS, "the end of a guard")

    async def kill(self) -> None:
        """SIGKILL the program and its children at once, as a power cut would."""
        if self.running:
            program = psutil.Process(self.pid)
            victims = [program, *program.children(recursive=True)]
            for victim in victims:
                try:
                    victim.kill()
                except psutil.NoSuchProcess:
                    continue
            await until(
                lambda: not self.running and not any(map(_alive, victims)), KILL_SECONDS, "the end of the killed"
            )
        self._close()

    def _close(self) -> None:
        if self._guard.stdin is not None:
            self._guard.stdin.close()


async def until(condition: Callable[[], bool], within: float, what: str) -> None:
    """Wait for a condition. Raises StartError after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise StartError(f"{what} did not come within {within:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _guard_options(command: Command) -> list[str]:
    options = [f"--stop-signal={command.stop.signal.value}", f"--grace={command.stop.grace}"]
    if command.remove is not None:
        options.append(f"--remove={command.remove}")
    if command.user is not None:
        options.append(f"--user={command.user}")
    return [*options, "--", *command.arguments]
