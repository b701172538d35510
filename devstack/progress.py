"""Progress of a long start: one living line in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Give a function that shows a line of progress on stderr until the next one comes or the block ends."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
        return
    shown = ""

    def say(text: str) -> None:
        nonlocal shown
        step = text.rstrip("0123456789 ")
        if step != shown:
            shown = step
            print(text, file=sys.stderr, flush=True)  # noqa: T201  (progress is for a person)

    yield say
