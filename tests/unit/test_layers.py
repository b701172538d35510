"""The layers: the picture is on its page, no arrow leads upwards, and no arrows lead in a circle."""

from graphlib import CycleError
from itertools import chain

import pytest

from tests.unit.layers import PAGE, Arrows, direct, drawing, imports, layers


def test_the_page_has_a_place_for_the_drawing() -> None:
    assert drawing() in PAGE.read_text()


def test_every_arrow_leads_downwards() -> None:
    """So there is no circle either."""
    height = {package: -level for level, layer in enumerate(layers()) for package in layer}
    assert set(chain(*imports())) == height.keys()
    assert {(one, other) for one, other in imports() if height[one] <= height[other]} == set()


@pytest.mark.parametrize(
    ("arrows", "left"),
    [
        ([], []),
        ([("a", "b"), ("b", "c"), ("a", "c")], [("a", "b"), ("b", "c")]),
        (
            [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d")],
            [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")],
        ),
    ],
)
def test_what_follows_from_other_arrows_is_left_out(arrows: Arrows, left: list[tuple[str, str]]) -> None:
    assert direct(arrows) == left


def test_a_circle_is_not_drawn() -> None:
    with pytest.raises(CycleError):
        direct([("a", "b"), ("b", "c"), ("c", "a")])
