"""Offsets that join up, and what is left of those that do not."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.offsets import Span, holes, joined, without


def covered(spans: list[Span]) -> set[int]:
    return {offset for each in spans for offset in range(each.start, each.end)}


@pytest.mark.parametrize(
    ("position", "offsets", "missing"),
    [
        (7, [], []),
        (7, [7, 8, 9], []),
        (7, [8], [Span(7, 8)]),
        (7, [7, 9, 12], [Span(8, 9), Span(10, 12)]),
    ],
)
def test_holes_lie_between_the_position_and_the_records(position: int, offsets: list[int], missing: list[Span]) -> None:
    assert holes(position, offsets) == missing


@given(st.integers(0, 5), st.sets(st.integers(5, 30)))
def test_holes_and_records_together_are_every_offset_once(position: int, found: set[int]) -> None:
    offsets = sorted(found)
    missing = holes(position, offsets)
    assert all(each.start < each.end for each in missing)
    assert sorted([*offsets, *covered(missing)]) == list(range(position, (offsets[-1] + 1) if offsets else position))


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 5)).map(lambda pair: Span(pair[0], sum(pair))), max_size=6
)


@given(st.sets(st.integers(0, 30)), spans)
def test_what_is_explained_is_taken_away_and_nothing_else(missing: set[int], explained: list[Span]) -> None:
    left = without(joined(sorted(missing)), explained)
    assert covered(left) == missing - covered(explained)
    assert all(each.start < each.end for each in left)


@given(st.sets(st.integers(0, 30)))
def test_joined_offsets_are_as_few_spans_as_can_be(found: set[int]) -> None:
    spans = joined(sorted(found))
    assert covered(spans) == found
    assert all(one.end < other.start for one, other in pairwise(spans))
