"""Numbers over time, and where they go, as SVG pictures. Pure; colours are the style sheet's.

Each picture tells in its title and description what it shows; the page has a table of the same numbers beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape as _escape

from runtime.printable import printable

WIDTH: Final = 720.0
HEIGHT: Final = 160.0
LEFT: Final = 72.0
"""Room for the scale."""

BELOW: Final = 20.0
"""Room for the times."""

ROW: Final = 26.0
"""A row of the small pictures, one for each name."""

LABEL: Final = 210.0
"""Room for a name and a number."""

MAX_NAME: Final = 60
"""Characters of a name in a picture."""

Series = Mapping[str, Sequence[float | None]]
"""Numbers by name, all of the same length; the names are classes of the style sheet, too."""


def bars(title: str, times: Sequence[str], series: Series, unit: str) -> str:
    """Return a picture of bars side by side, the series on top of each other."""
    sums = [sum(values[place] or 0 for values in series.values()) for place in range(len(times))]
    most = top_of(max(sums, default=0))
    wide = (WIDTH - LEFT) / max(1, len(times))
    parts = []
    for place, when in enumerate(times):
        base = HEIGHT
        told = ", ".join(f"{number(values[place] or 0)} {name}" for name, values in series.items())
        parts.append(f'<g class="bar"><title>{escape(when)}: {escape(told)} {escape(unit)}</title>')
        for name, values in series.items():
            tall = (values[place] or 0) / most * HEIGHT
            base -= tall
            if tall:
                parts.append(_rect(LEFT + place * wide, base, max(0.5, wide - 1), tall, name))
        parts.append("</g>")
    return _framed(title, times, "".join(parts), most, unit)


def lines(title: str, times: Sequence[str], series: Series, unit: str) -> str:
    """Return a picture of a line for each series. Where there is no number, the line stops; one alone is a dot."""
    known = [value for values in series.values() for value in values if value is not None]
    most = top_of(max(known, default=0))
    wide = (WIDTH - LEFT) / max(1, len(times))
    parts = []
    for name, values in series.items():
        path, before = [], False
        for place, value in enumerate(values):
            if value is not None:
                x, y = LEFT + (place + 0.5) * wide, HEIGHT - value / most * HEIGHT
                path.append(f"{'L' if before else 'M'}{x:.1f} {y:.1f}" + ("" if before else "h0"))
            before = value is not None
        parts.append(f'<path class="line {_class(name)}" d="{"".join(path)}"><title>{escape(name)}</title></path>')
    return _framed(title, times, "".join(parts), most, unit)


def rows(title: str, times: Sequence[str], series: Series) -> str:
    """Return a picture with a row of bars for each series, all to one scale, its name and sum before it."""
    most = max((value or 0 for values in series.values() for value in values), default=0) or 1
    wide = (WIDTH - LABEL) / max(1, len(times))
    tall = max(1, len(series)) * ROW
    parts = []
    for row, (name, values) in enumerate(series.items()):
        foot = (row + 1) * ROW - 4
        total = number(sum(value or 0 for value in values))
        parts.append(
            f"<g><title>{escape(_short(name))}: {total}</title>{_text(0, foot - 4, f'{_short(name)} {total}')}"
        )
        for place, value in enumerate(values):
            if value:
                high = max(1.0, value / most * (ROW - 6))
                parts.append(_rect(LABEL + place * wide, foot - high, max(0.5, wide - 0.5), high, "event"))
        parts.append(f'<path class="axis" d="M{LABEL:g} {foot:g}H{WIDTH:g}"/></g>')
    return _svg(title, f"{len(series)} rows from {_span(times)}", tall, "".join(parts))


def fan(title: str, start: str, ends: Sequence[tuple[str, str, float]]) -> str:
    """Return a picture of bands from one start to several ends, as wide as their numbers: each has a name and a class.

    What is there is seen, however little it is.
    """
    total = sum(max(0.0, value) for _, _, value in ends) or 1
    tall = max(HEIGHT, len(ends) * (ROW + 4))
    thick = [max(1.0, max(0.0, value) / total * HEIGHT * 0.8) for _, _, value in ends]
    parts = [_rect(110, 10, 12, sum(thick), "start"), _text(0, 24, start), _text(0, 42, number(total if ends else 0))]
    left, right = 10.0, 10.0
    for (name, kind, value), band in zip(ends, thick, strict=True):
        room = max(band, ROW)
        middle = right + room / 2 - band / 2
        curve = f"M122 {left:.1f}C260 {left:.1f} 260 {middle:.1f} 400 {middle:.1f}v{band:.1f}"
        back = f"C260 {middle + band:.1f} 260 {left + band:.1f} 122 {left + band:.1f}z"
        told = f"{_short(name)}: {number(value)}"
        parts.append(f'<path class="band {_class(kind)}" d="{curve}{back}"><title>{escape(told)}</title></path>')
        parts.append(_text(410, right + room / 2 + 4, told))
        left, right = left + band, right + room + 4
    return _svg(title, f"{len(ends)} bands", max(tall, left, right) + 10, "".join(parts))


def top_of(value: float) -> float:
    """Return the end of a scale that has room for a value: 1, 2 or 5 and zeros; 1 where all is 0."""
    if value <= 0:
        return 1.0
    top = 10.0 ** (len(f"{int(value)}") - 1) if value >= 1 else 0.01
    while top < value:
        top *= 2.5 if f"{top:e}"[0] == "2" else 2
    return top


def number(value: float) -> str:
    """Write a number as people read it."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")


def _framed(title: str, times: Sequence[str], inside: str, most: float, unit: str) -> str:
    axis = f'<path class="axis" d="M{LEFT:g} 0V{HEIGHT:g}H{WIDTH:g}"/>'
    scale = _text(LEFT - 4, 11, number(most), "end") + _text(LEFT - 4, HEIGHT, "0", "end")
    marks = ""
    if times:
        marks = _text(LEFT, HEIGHT + 15, times[0]) + _text(WIDTH, HEIGHT + 15, times[-1], "end")
    told = f"{unit}, from {_span(times)}; the scale ends at {number(most)}"
    return _svg(title, told, HEIGHT + BELOW, axis + inside + scale + marks)


def escape(text: str) -> str:
    """Return a text as it may stand in a picture: what has no shape as an escape."""
    return _escape(printable(text))


def _svg(title: str, description: str, tall: float, inside: str) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH:g} {tall:g}" width="{WIDTH:g}" height="{tall:g}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title><desc>{escape(description)}</desc>{inside}</svg>'
    )


def _span(times: Sequence[str]) -> str:
    return f"{times[0]} to {times[-1]}" if times else "no time"


def _rect(x: float, y: float, wide: float, tall: float, kind: str) -> str:
    return f'<rect class="{_class(kind)}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _class(name: str) -> str:
    """Return a name as a class: what others wrote has none."""
    return name.replace(" ", "-") if name.replace(" ", "").isascii() and name.replace(" ", "").isalnum() else "other"


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"
