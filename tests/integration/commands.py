"""Commands of Waybill run by the test's own process: starting Python anew takes longer than most of them do."""

import asyncio
import io
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import msgspec

from cli.main import main

_ONE_AT_A_TIME: Final = threading.Lock()
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
    """Run a command to its end in a thread, with nobody at a keyboard. Log lines are not in what it said."""
    return await asyncio.wait_for(asyncio.to_thread(_run, environ, arguments), within)


def _run(environ: Mapping[str, str], arguments: tuple[str, ...]) -> Said:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        _ONE_AT_A_TIME,
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
