"""How far a replay is: a bar with rate and time left on a terminal, elsewhere a JSON line now and then. On stderr."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from cli.terminal.console import console
from cli.terminal.output import LINE_SECONDS, progress_is_watched, progress_json
from operators.replay.progress import Progress as Reached
from operators.replay.progress import Tell


@contextmanager
def shown() -> Iterator[Tell]:
    """Give what takes a job's progress and shows it."""
    if progress_is_watched():
        with _bar() as tell:
            yield tell
        return
    lines = _Lines(told=0.0)
    yield lines.tell
    lines.end()


@contextmanager
def planning() -> Iterator[Tell]:
    """Give what takes a plan's progress and shows it, if it takes long."""
    if progress_is_watched():
        with _bar(transient=True) as tell:
            yield tell
        return
    yield _Lines(told=monotonic()).tell


@contextmanager
def _bar(*, transient: bool = False) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=transient) as bar:
        yield _Bar(bar).tell


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Show records a second."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "–/s")


class _Bar:
    """One line for offsets that are dealt with, one for records that are yet to be applied."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, Any] = {}
        self._most = 0

    def tell(self, reached: Reached) -> None:
        """Move the bar."""
        if reached.doing not in self._tasks:
            self._tasks[reached.doing] = self._bar.add_task(" ".join(filter(None, (reached.job, reached.doing))))
            self._most = reached.pending
        total, done = reached.offsets, reached.dealt
        if reached.pending:
            total, done = self._most, self._most - reached.pending
        self._bar.update(self._tasks[reached.doing], total=total, completed=done)


class _Lines:
    """A line now and then, and at the end. `told`: when the last one was told, as far as that counts."""

    def __init__(self, told: float) -> None:
        self._began, self._told = 0.0, told
        self._first: Reached | None = None
        self._last: Reached | None = None

    def tell(self, reached: Reached) -> None:
        """Print a line if it is time."""
        now = monotonic()
        if self._first is None:
            self._first, self._began = reached, now
        if now - self._told >= LINE_SECONDS:
            self._print(reached, now)
            self._told, self._last = now, None
        else:
            self._last = reached

    def end(self) -> None:
        """Print what was told last."""
        if self._last is not None:
            self._print(self._last, monotonic())

    def _print(self, reached: Reached, now: float) -> None:
        assert self._first is not None
        seconds = now - self._began
        speed = (reached.dealt - self._first.dealt) / seconds if seconds else 0.0
        left = (reached.offsets - reached.dealt) / speed if speed else None
        line = {
            **msgspec.to_builtins(reached),
            "rate": round(speed, 1),
            "seconds_left": None if left is None else round(left, 1),
        }
        progress_json(line)
