"""Tables: drawn on a terminal, aligned columns elsewhere."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from cli.output import say

NOTHING: Final = "–"
"""Stands for a value that is not there."""

GAP: Final = "  "


def printable(text: str) -> str:
    """Return a text on one line, without what would command a terminal: couriers write what they like."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def say_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table. None is shown as a dash."""
    texts = [[NOTHING if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(headings, texts)
        return
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for row in [headings, *texts]:
        say(GAP.join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _draw(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.box import SIMPLE  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings, box=SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # as it stands: a courier's text is no markup
    Console(highlight=False).print(table)
