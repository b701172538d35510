"""The picture of a lifecycle with the way a parcel took through it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import permutations
from typing import Final

import pytest

from console.lifecycle_drawing import BOX, Way, draw
from schemas.couriers import COURIERS
from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Status

LIFECYCLES: Final = [each for courier in COURIERS.values() for each in courier.lifecycles.values()]
SVG: Final = "{http://www.w3.org/2000/svg}"


def boxes(picture: str) -> dict[str, tuple[str, float, float]]:
    """Return by status the classes and the place of its box."""
    found = {}
    for group in ET.fromstring(picture).iter(f"{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert text is not None
        assert text.text
        found[text.text] = (group.get("class", ""), float(rect.get("x", "nan")), float(rect.get("y", "nan")))
    return found


def arrows(picture: str, *, taken: bool) -> set[str]:
    kind = "arrow taken" if taken else "arrow"
    paths = (path for path in ET.fromstring(picture).iter(f"{SVG}path") if path.get("class") == kind)
    return {(path.findtext(f"{SVG}title") or "").partition(":")[0] for path in paths}


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda each: f"{each.courier} {each.service}")
def test_every_status_and_arrow_of_the_table_is_drawn_once_and_no_box_lies_on_another(lifecycle: Lifecycle) -> None:
    picture = draw(lifecycle, [], None)
    found = boxes(picture)
    assert found.keys() == lifecycle.statuses
    edges = {f"{start} to {end}" for start, ends in lifecycle.edges.items() for end in ends}
    assert arrows(picture, taken=False) == edges
    size = ET.fromstring(picture)
    width, height = float(size.get("width", "0")), float(size.get("height", "0"))
    places = [(x, y) for _, x, y in found.values()]
    assert all(0 <= x <= width - BOX[0] and 0 <= y <= height - BOX[1] for x, y in places)
    for number, (x, y) in enumerate(places):
        assert all(abs(x - a) >= BOX[0] or abs(y - b) >= BOX[1] for a, b in places[number + 1 :])
    assert {status for status, (kind, *_) in found.items() if "final" in kind} == {
        status for status in lifecycle.statuses if lifecycle.is_final(status)
    }


def points(line: str) -> Iterator[tuple[float, float]]:
    """Give points along a line of straight and curved pieces, without its head."""
    here = (0.0, 0.0)
    shaft, *_ = line.removeprefix("M").partition("M")
    for command, numbers in re.findall(r"([MLC]?)([-\d. ]+)", shaft):
        given = [float(each) for each in numbers.split()]
        ends = list(zip(given[::2], given[1::2], strict=True))
        assert len(ends) == (3 if command == "C" else 1)
        one, two, end = ends if command == "C" else (here, ends[0], ends[0])
        for step in range(21 if command else 0):
            t = step / 20
            parts = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
            around = (here, one, two, end)
            yield (
                sum(part * x for part, (x, _) in zip(parts, around, strict=True)),
                sum(part * y for part, (_, y) in zip(parts, around, strict=True)),
            )
        here = end


def assert_nothing_lies_behind_a_box(picture: str, kind: str) -> None:
    found = boxes(picture)
    size = ET.fromstring(picture)
    width, height = float(size.get("width", "0")), float(size.get("height", "0"))
    for path in size.iter(f"{SVG}path"):
        if path.get("class") != kind:
            continue
        name = path.findtext(f"{SVG}title")
        passed = list(points(path.get("d", "")))
        assert len(passed) > 20
        for x, y in passed:
            assert 0 <= x <= width, name
            assert 0 <= y <= height, name
            behind = [
                status
                for status, (_, left, top) in found.items()
                if left + 0.5 < x < left + BOX[0] - 0.5 and top + 0.5 < y < top + BOX[1] - 0.5
            ]
            assert behind == [], name


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda each: f"{each.courier} {each.service}")
def test_no_arrow_passes_behind_a_box(lifecycle: Lifecycle) -> None:
    assert_nothing_lies_behind_a_box(draw(lifecycle, [], None), "arrow")
    for start, end in [*permutations(sorted(lifecycle.statuses), 2)][::7]:  # an operator may set any status
        assert_nothing_lies_behind_a_box(draw(lifecycle, [Way(start, (), end)], end), "arrow taken")


def test_the_way_is_drawn_with_what_was_skipped() -> None:
    (lifecycle,) = [each for each in LIFECYCLES if (each.courier, each.service) == ("dash", "logistic")]
    ways = [
        Way(None, (), "CREATED"),
        Way("CREATED", ("VERIFIED",), "PENDING_DELIVERY"),
        Way("PENDING_DELIVERY", (), "IN_DELIVERY"),
        Way("IN_DELIVERY", (), "FAILED"),
        Way("FAILED", (), "PENDING_DELIVERY"),
    ]
    picture = draw(lifecycle, ways, "PENDING_DELIVERY")
    kinds = {status: kind.split()[1] for status, (kind, *_) in boxes(picture).items()}
    assert {kind: {each for each in kinds if kinds[each] == kind} for kind in ("current", "been", "skipped")} == {
        "current": {"PENDING_DELIVERY"},
        "been": {"CREATED", "IN_DELIVERY", "FAILED"},
        "skipped": {"VERIFIED"},
    }
    assert arrows(picture, taken=True) == {
        "CREATED to VERIFIED",
        "VERIFIED to PENDING_DELIVERY",
        "PENDING_DELIVERY to IN_DELIVERY",
        "IN_DELIVERY to FAILED",
        "FAILED to PENDING_DELIVERY",
    }


def test_what_the_table_does_not_know_is_drawn_too() -> None:
    """An operator may set any status; what an older table knew may be gone."""
    (lifecycle,) = [each for each in LIFECYCLES if (each.courier, each.service) == ("dash", "express")]
    other = next(status for status in Status if status not in lifecycle.statuses)
    picture = draw(lifecycle, [Way(None, (), "DELIVERED"), Way("DELIVERED", (), str(other))], str(other))
    assert boxes(picture)[str(other)][0].startswith("status current")
    assert arrows(picture, taken=True) == {f"DELIVERED to {other}"}
    assert draw(lifecycle, [Way(None, (), "NOWHERE")], "NOWHERE").startswith("<svg")
