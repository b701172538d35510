"""Where a chunk of stored outputs ends."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.outputs import chunk_end

OUTPUTS, BYTES = 4, 100


@pytest.mark.parametrize(
    ("sizes", "end"),
    [
        ([], None),
        ([(7, 4, 100)], None),
        ([(7, 9, 900)], None),  # one cause is never cut
        ([(7, 9, 900), (8, 1, 1)], 8),
        ([(7, 2, 10), (9, 2, 10)], None),
        ([(7, 2, 10), (9, 3, 10)], 9),
        ([(7, 1, 60), (8, 1, 40), (9, 1, 1)], 9),
        ([(7, 1, 60), (8, 1, 41)], 8),
    ],
)
def test_a_chunk_ends_before_the_cause_that_is_too_much(sizes: Sequence[tuple[int, int, int]], end: int | None) -> None:
    assert chunk_end(sizes, OUTPUTS, BYTES) == end


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 150))))
def test_chunks_cover_everything_within_the_bounds(counts: list[tuple[int, int]]) -> None:
    left = [(cause, count, size) for cause, (count, size) in enumerate(counts)]
    while left:
        end = chunk_end(left, OUTPUTS, BYTES)
        chunk = [each for each in left if end is None or each[0] < end]
        assert chunk
        if len(chunk) > 1:
            assert sum(count for _, count, _ in chunk) <= OUTPUTS
            assert sum(size for _, _, size in chunk) <= BYTES
        left = left[len(chunk) :]
