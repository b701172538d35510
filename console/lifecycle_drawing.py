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


class Way(msgspec.Struct, frozen=True):
    """How a parcel moved once: from a status (none: it began) to another, over those skipped."""

    before: str | None
    skipped: tuple[str, ...]
    status: str


class _Drawing(msgspec.Struct, frozen=True):
    lifecycle: Lifecycle
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
    for start, end in sorted([*arrows, *others], key=lambda pair: pair in taken):
        parts.append(_arrow(drawing, start, end, taken=(start, end) in taken, usual=(start, end) in arrows))
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
    return _Drawing(lifecycle, places, width, 16 + len(rows) * (BOX[1] + GAP[1]) - GAP[1])


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


def _arrow(drawing: _Drawing, start: Status, end: Status, *, taken: bool, usual: bool) -> str:
    label = edge_label(drawing.lifecycle, start, end) if usual else "not in the table"
    name = f"{start} to {end}{f': {label}' if label else ''}"
    kind = "arrow taken" if taken else "arrow"
    return f'<path class="{kind}" d="{_line(drawing, start, end)}"><title>{name}</title></path>'


def _line(drawing: _Drawing, start: Status, end: Status) -> str:
    (x1, y1), (x2, y2) = drawing.places[start], drawing.places[end]
    half, height = BOX[0] / 2, BOX[1]
    if y2 > y1:  # down: from the lower edge to the upper one
        begin, finish = (x1 + half, y1 + height), (x2 + half, y2)
        bend = (y2 - y1 - height) / 2
        curve = f"C{begin[0]:g} {begin[1] + bend:g} {finish[0]:g} {finish[1] - bend:g} {finish[0]:g} {finish[1]:g}"
        return f"M{begin[0]:g} {begin[1]:g}{curve}{_head(*finish, 0, 1)}"
    if y1 == y2:  # along a row: from lower edge to lower edge, a third of a box beside the middle
        aside = half / 3 if x2 > x1 else -half / 3
        left, right, low = x1 + half + aside, x2 + half - aside, y1 + height
        curve = f"C{left:g} {low + GAP[1] - 8:g} {right:g} {low + GAP[1] - 8:g} {right:g} {low:g}"
        return f"M{left:g} {low:g}{curve}{_head(right, low, 0, -1)}"
    side = 1 if x1 + half >= drawing.width / 2 else -1
    edge = half + side * half
    begin, finish = (x1 + edge, y1 + height / 2), (x2 + edge, y2 + height / 2)
    out = max(begin[0], finish[0]) + 28 if side > 0 else min(begin[0], finish[0]) - 28
    curve = f"C{out:g} {begin[1]:g} {out:g} {finish[1]:g} {finish[0]:g} {finish[1]:g}"
    return f"M{begin[0]:g} {begin[1]:g}{curve}{_head(*finish, -side, 0)}"


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
