"""Progress of a long start: one living line in a terminal, plain lines elsewhere."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape

REPEAT_SECONDS: Final = 5.0
"""A step whose figures grow is written this often where lines cannot be overwritten."""


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line of progress on stderr until the next one comes or the block ends."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        with console.status("") as status:
            yield lambda text: status.update(escape(text))
        return
    shown, again = "", 0.0

    def say(text: str) -> None:
        nonlocal shown, again
        step = re.sub(r"\d+", "", text)
        if step != shown or time.monotonic() > again:
            shown, again = step, time.monotonic() + REPEAT_SECONDS
            print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress is for a person)

    yield say
