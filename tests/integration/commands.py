"""Commands of Waybill run by the test's own process: starting Python anew takes longer than most of them do."""

import asyncio
import io
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import msgspec

from cli.main import main

_ONE_AT_A_TIME: Final = ThreadPoolExecutor(1)
"""The environment and the standard streams are the process's."""


class Said(msgspec.Struct, frozen=True):
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self
        return msgspec.json.decode(self.out)


async def run_here(environ: Mapping[str, str], *arguments: str, within: float) -> Said:
    """Run a command to its end in a thread, with nobody at a keyboard. Log lines are not in what it said.

    It may take `within` seconds from its turn on.
    """
    running = _ONE_AT_A_TIME.submit(_run, environ, arguments)
    while not (running.running() or running.done()):
        await asyncio.sleep(0.01)
    return await asyncio.wait_for(asyncio.wrap_future(running), within)


def _run(environ: Mapping[str, str], arguments: tuple[str, ...]) -> Said:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        Path(os.devnull).open() as nobody,
        patch.dict(os.environ, environ),
        patch.object(sys, "stdin", nobody),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code: Any = main(arguments)
        except SystemExit as left:  # of the parser of arguments
            code = left.code
    said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))
    return Said(code, said, complained)
