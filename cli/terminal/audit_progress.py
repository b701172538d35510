"""How far an audit is: a bar on a terminal, elsewhere a JSON line now and then. On stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.progress import Progress

from cli.terminal.console import console
from cli.terminal.output import LINE_SECONDS, progress_is_watched, progress_json
from operators.audit.report import Reached, Tell


@contextmanager
def shown() -> Iterator[Tell]:
    """Give what takes the progress and shows it."""
    if not progress_is_watched():
        yield _Lines().tell
        return
    with Progress(console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task("audit", total=None)

        def tell(reached: Reached) -> None:
            told = reached.doing if reached.partition is None else f"partition {reached.partition}, {reached.doing}"
            bars.update(bar, description=told, completed=reached.done, total=reached.total)

        yield tell


class _Lines:
    """A line now and then, if the audit takes long."""

    def __init__(self) -> None:
        self._told = monotonic()

    def tell(self, reached: Reached) -> None:
        """Print a line if it is time."""
        now = monotonic()
        if now - self._told >= LINE_SECONDS:
            self._told = now
            progress_json(reached)
