"""Tables: drawn on a terminal, aligned columns elsewhere."""

from collections.abc import Iterable, Sequence
from typing import Final

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


def _draw(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.box import SIMPLE  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from cli.terminal.console import console  # noqa: PLC0415

    table = Table(*headings, box=SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # as it stands: a courier's text is no markup
    console().print(table)
