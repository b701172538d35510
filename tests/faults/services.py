"""The real services as processes of their own, to be killed, frozen and started again."""

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from processor.protocol.crash_points import Step
from tests import forking
from tests.faults.release import Release
from tests.waiting import DEADLINE, until

LOG_SHOWN: Final = 6_000
STOP_SECONDS: Final = 10.0
START_SECONDS: Final = DEADLINE
"""How long a start may take on a busy machine: a second or two on an idle one."""


class Service:
    """One service: the same command and environment at every start; one log for all of its lives."""

    def __init__(self, command: str, environ: Mapping[str, str], log: Path) -> None:
        self.frozen = False
        self.starts = 0
        self.process: forking.Started | None = None
        self.release: Release | None = None
        """Whose code its next life runs. None: today's."""
        self._command = command
        self._environ = environ
        self._log = log

    async def start(self, *, freeze_at: Step | None = None, nth: int = 1) -> None:
        """Start it. A processor may be told to freeze itself at a step."""
        command = (
            ["cli.main", self._command]
            if freeze_at is None
            else ["tests.integration.dying_processor", freeze_at, str(nth), signal.SIGSTOP.name]
        )
        with self._log.open("ab") as log:
            start = forking.start if self.release is None else self.release.start
            self.process = await start(*command, environ=self._environ, stderr=log, stdout=log)
        self.starts += 1

    @property
    def name(self) -> str:
        return self._log.stem

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def kill(self) -> None:
        """SIGKILL it."""
        assert self.process is not None
        if self.running:
            self.process.kill()
        await self.process.wait()
        self.frozen = False

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def wake(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    async def froze_itself(self, seconds: float) -> None:
        """Wait until it has stopped at its step."""

        async def stopped() -> bool:
            assert self.process is not None
            assert self.running, f"ended:\n{self.log_tail()}"
            return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

        await until(stopped, seconds)
        self.frozen = True

    async def stop(self) -> int:
        """SIGTERM it. Return the exit code, which must come in time."""
        assert self.process is not None
        self.process.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()

    async def said(self, word: str, times: int) -> None:
        """Wait until it has said a word so often, in all of its lives."""

        async def heard() -> bool:
            assert self.running, f"ended:\n{self.log_tail()}"
            return self.log().count(word) >= times

        await until(heard, START_SECONDS)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self) -> str:
        return f"--- {self._log.name}\n{self.log()[-LOG_SHOWN:]}"
