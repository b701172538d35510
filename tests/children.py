"""Processes that tests start: their environment, and their logs, which are shown when a test fails."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol, TextIO, TypeVar

LOG_SHOWN: Final = 10_000
"""Characters of a process' log that are shown when a test fails."""


_OURS: Final = {**os.environ, "SSL_CERT_FILE": os.devnull}
"""As it was in the beginning: a command that a test runs in its own process has `os.environ` for itself meanwhile, and
another test's child, started beside it, must not see its settings.

No child reads the authorities that this machine trusts, which takes a tenth of its start: tests have their own."""


def environ_with(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that has these settings."""
    return _OURS | dict(settings)


class Running(Protocol):
    """A process, as asyncio shows its own."""

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs."""

    def kill(self) -> None:
        """End it at once."""

    async def wait(self) -> int:
        """Wait for its end."""


P = TypeVar("P", bound=Running)


@asynccontextmanager
async def logged(name: str, start: Callable[[TextIO], Awaitable[P]]) -> AsyncIterator[P]:
    """Run a process that `start` gives a log to; it is gone afterwards. Its log is shown when the block fails."""
    with tempfile.TemporaryFile("w+") as log:
        process = await start(log)
        try:
            yield process
        except BaseException:
            log.seek(0)
            print(f"--- {name}", log.read()[-LOG_SHOWN:], sep="\n", file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
