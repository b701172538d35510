"""Captured bodies: read from files, or from standard input."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from operators.trial.report import Body
from runtime.errors import SetupError
from runtime.printable import printable

STANDARD_INPUT: Final = "-"


def read_bodies(files: Sequence[str], limit: int) -> list[Body]:
    """Return what the files hold, in their order. No more than `limit` bytes and one are read of each.

    Raises:
        SetupError: a file cannot be read, or standard input is named twice. The text says which.

    """
    if files.count(STANDARD_INPUT) > 1:
        raise SetupError("standard input can be read once: name - once")
    return [Body(file, _content(file, limit + 1)) for file in files]


def _content(file: str, most: int) -> bytes:
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read(most)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(most)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SetupError(f"{printable(file)} cannot be read: {why}") from error
