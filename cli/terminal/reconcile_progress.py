"""How far the asking is: a bar on a terminal, elsewhere a JSON line now and then. On stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.terminal.console import console
from cli.terminal.output import LINE_SECONDS, progress_is_watched, progress_json
from reconcile.asking import Reached, Tell


@contextmanager
def shown() -> Iterator[Tell]:
    """Give what takes the progress and shows it."""
    if not progress_is_watched():
        yield _Lines().tell
        return
    columns = (TextColumn("asked"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console(stderr=True)) as bar:
        task = bar.add_task("")

        def tell(reached: Reached) -> None:
            count = reached.count
            told = f"{count.news} with news, {count.failed + count.throttled} failed"
            bar.update(task, total=reached.due, completed=count.asked, description=told)

        yield tell


class _Lines:
    """A line now and then."""

    def __init__(self) -> None:
        self._told = monotonic()

    def tell(self, reached: Reached) -> None:
        """Print a line if it is time."""
        now = monotonic()
        if now - self._told < LINE_SECONDS:
            return
        self._told = now
        progress_json({"due": reached.due, **msgspec.to_builtins(reached.count)})
