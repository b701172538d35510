"""A service's lifecycle as an SVG picture, with the way a parcel took through it. Pure.

Statuses stand in rows: as many arrows from the start as it takes to get there. What the parcel took is drawn bold; a
status that it was in is filled, one that was skipped dashed. Colours are the style sheet's.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from schemas.drawing import edge_label
from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Status

BOX: Final = (148, 30)
GAP: Final = (26, 40)
MARGIN: Final = 34

LANE: Final = 6
"""Between lines that pass a row side by side."""

CROWDED: Final = 30
"""How far out of its way a line goes so as not to lie on another."""


class Way(msgspec.Struct, frozen=True):
    """How a parcel moved once: from a status (none: it began) to another, over those skipped."""

    before: str | None
    skipped: tuple[str, ...]
    status: str


class _Drawing(msgspec.Struct, frozen=True):
    lifecycle: Lifecycle
    rows: list[list[Status]]
    places: dict[Status, tuple[float, float]]
    width: float
    height: float


def draw(lifecycle: Lifecycle, ways: Iterable[Way], current: str | None) -> str:
    """Return the picture as an SVG element."""
    steps = list(ways)
    taken = {pair for way in steps for pair in pairwise(_through(way))}
    been = {way.status for way in steps} | {way.before for way in steps if way.before}
    skipped = {status for way in steps for status in way.skipped} - been
    drawing = _placed(lifecycle, [each for each in Status if each in been | skipped | {current}])
    told = " → ".join(dict.fromkeys(status for way in steps for status in _through(way))) or "none yet"
    size = f'viewBox="0 0 {drawing.width:g} {drawing.height:g}" width="{drawing.width:g}" height="{drawing.height:g}"'
    parts = [
        f'<svg class="lifecycle" role="img" {size} xmlns="http://www.w3.org/2000/svg">',
        f"<title>The lifecycle of {escape(lifecycle.courier)} {lifecycle.service}; the way taken: {told}</title>",
    ]
    arrows = [(start, end) for start, ends in lifecycle.edges.items() for end in ends]
    others = [(Status(one), Status(two)) for one, two in sorted(taken) if (one, two) not in set(arrows)]
    lines = _lines(drawing, [*arrows, *others])
    parts += [
        _arrow(drawing, pair, lines[pair], taken=pair in taken, usual=pair in arrows)
        for pair in sorted(lines, key=lambda pair: pair in taken)
    ]
    parts += [
        _box(drawing, status, _kind(status, been, skipped, current), final=lifecycle.is_final(status))
        for status in drawing.places
    ]
    return "".join([*parts, "</svg>"])


def _through(way: Way) -> Iterator[str]:
    if way.before is not None:
        yield way.before
    yield from way.skipped
    yield way.status


def _kind(status: Status, been: set[str], skipped: set[str], current: str | None) -> str:
    if status == current:
        return "current"
    return "been" if status in been else "skipped" if status in skipped else "unseen"


def _placed(lifecycle: Lifecycle, met: Sequence[Status]) -> _Drawing:
    """Give each status its place; those met stand there though the table may not know them."""
    rows = _rows(lifecycle)
    unknown = sorted({each for each in met if all(each not in row for row in rows)})
    if unknown:
        rows.append(unknown)
    most = max(map(len, rows))
    width = 2 * MARGIN + most * BOX[0] + (most - 1) * GAP[0]
    places: dict[Status, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        used = len(row) * BOX[0] + (len(row) - 1) * GAP[0]
        for column, status in enumerate(row):
            x = (width - used) / 2 + column * (BOX[0] + GAP[0])
            places[status] = (x, 8 + number * (BOX[1] + GAP[1]))
    return _Drawing(lifecycle, rows, places, width, 16 + len(rows) * (BOX[1] + GAP[1]) - GAP[1])


def _rows(lifecycle: Lifecycle) -> list[list[Status]]:
    """Return statuses by how many arrows lead to them from the start; those it does not lead to begin again below."""
    rows: list[list[Status]] = []
    placed: set[Status] = set()
    for start in lifecycle.edges:
        row = [] if start in placed else [start]
        while row:
            rows.append(row)
            placed.update(row)
            after = (end for status in row for end in lifecycle.edges.get(status, ()) if end not in placed)
            row = list(dict.fromkeys(after))
    return rows


def _arrow(drawing: _Drawing, pair: tuple[Status, Status], line: str, *, taken: bool, usual: bool) -> str:
    start, end = pair
    label = edge_label(drawing.lifecycle, start, end) if usual else "not in the table"
    name = f"{start} to {end}{f': {label}' if label else ''}"
    kind = "arrow taken" if taken else "arrow"
    return f'<path class="{kind}" d="{line}"><title>{name}</title></path>'


def _lines(drawing: _Drawing, arrows: Iterable[tuple[Status, Status]]) -> dict[tuple[Status, Status], str]:
    """Return the line of each arrow. No line passes behind a box, and where there is room no two on each other."""
    taken: set[tuple[int, float]] = set()
    return {(start, end): _line(drawing, start, end, taken) for start, end in arrows}


def _line(drawing: _Drawing, start: Status, end: Status, taken: set[tuple[int, float]]) -> str:
    (x1, y1), (x2, y2) = drawing.places[start], drawing.places[end]
    half, height = BOX[0] / 2, BOX[1]
    first, last = (next(n for n, row in enumerate(drawing.rows) if each in row) for each in (start, end))
    if first == last:
        return _along(drawing, start, end, below=first < len(drawing.rows) - 1)
    down = 1 if last > first else -1
    aside = 0 if down > 0 else half / 3  # an arrow back stands beside the one there
    leave, arrive = (height, 0) if down > 0 else (0, height)
    x, y = x1 + half + aside, y1 + leave
    goal = (x2 + half + aside, y2 + arrive)
    parts = [f"M{x:g} {y:g}"]
    for row in range(first + down, last, down):
        straight = x + (goal[0] - x) / (abs(last - row) + 1)
        lane = min(_lanes(drawing, row), key=lambda each: abs(each - straight) + CROWDED * ((row, each) in taken))
        taken.add((row, lane))
        top = drawing.places[drawing.rows[row][0]][1]
        enter, left = (top, top + height) if down > 0 else (top + height, top)
        parts.append(f"{_curve(x, y, lane, enter)}L{lane:g} {left:g}")
        x, y = lane, left
    return "".join([*parts, _curve(x, y, *goal), _head(*goal, 0, down)])


def _along(drawing: _Drawing, start: Status, end: Status, *, below: bool) -> str:
    """Return the line between two boxes of a row, a third of a box beside their middles."""
    (x1, y), (x2, _) = drawing.places[start], drawing.places[end]
    half, side = BOX[0] / 2, 1 if below else -1
    aside = half / 3 if x2 > x1 else -half / 3
    left, right, edge = x1 + half + aside, x2 + half - aside, y + (BOX[1] if below else 0)
    bend = edge + side * (GAP[1] - 8)
    return f"M{left:g} {edge:g}C{left:g} {bend:g} {right:g} {bend:g} {right:g} {edge:g}{_head(right, edge, 0, -side)}"


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a curve between two heights, which it does not leave."""
    bend = (y2 - y1) / 2
    return f"C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"


def _lanes(drawing: _Drawing, row: int) -> Iterator[float]:
    """Give the places where a line may pass a row: between its boxes, and beside them."""
    lefts = sorted(drawing.places[status][0] for status in drawing.rows[row])
    for low, high in zip([0.0, *(left + BOX[0] for left in lefts)], [*lefts, drawing.width], strict=True):
        lane = low + LANE
        while lane <= high - LANE:
            yield lane
            lane += LANE


def _head(x: float, y: float, right: int, down: int) -> str:
    """Return the head of an arrow that goes right, left, down or up."""
    if down:
        return f"M{x - 4:g} {y - 7 * down:g}L{x:g} {y:g}L{x + 4:g} {y - 7 * down:g}"
    return f"M{x - 7 * right:g} {y - 4:g}L{x:g} {y:g}L{x - 7 * right:g} {y + 4:g}"


def _box(drawing: _Drawing, status: Status, kind: str, *, final: bool) -> str:
    x, y = drawing.places[status]
    width, height = BOX
    classes = f"status {kind}{' final' if final else ''}"
    return (
        f'<g class="{classes}"><title>{status}: {_MEANINGS[kind]}{", final" if final else ""}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="6"/>'
        f'<text x="{x + width / 2:g}" y="{y + height / 2:g}">{status}</text></g>'
    )


_MEANINGS: Final = {
    "current": "it stands here",
    "been": "it was here",
    "skipped": "it was here without a webhook",
    "unseen": "it was not here",
}
