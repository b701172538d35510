"""Tables: drawn on a terminal, aligned columns elsewhere."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from cli.terminal.console import console
from cli.terminal.output import is_watched, say
from runtime.printable import printable

NOTHING: Final = "–"
"""Stands for a value that is not there."""

GAP: Final = "  "


def say_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. None is shown as a dash."""
    texts = [[NOTHING if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if is_watched():
        _draw(headings, texts)
        return
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for row in [headings, *texts]:
        say(GAP.join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def short_time(moment: str) -> str:
    """Leave out the fraction of a second of a time, for a table to fit."""
    return f"{moment[:19]}Z"


def _draw(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*headings, box=SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # as it stands: a courier's text is not markup
    console().print(table)
