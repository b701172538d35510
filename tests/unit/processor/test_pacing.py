"""The size of batches, and the doubts that stop a partition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.plan import MAX_BATCH
from processor.protocol.pacing import (
    BACK_OFF,
    STUCK_DOUBTS,
    STUCK_SECONDS,
    Doubts,
    back_off,
    larger,
    smaller,
)

LIMIT = 15.0
SIZES = st.integers(1, MAX_BATCH)


def test_a_batch_in_doubt_is_followed_by_one_of_half_its_size() -> None:
    assert [smaller(size) for size in (MAX_BATCH, 3, 2, 1)] == [MAX_BATCH // 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("size", "records", "seconds", "after"),
    [
        (500, 500, 0.2, 1_000),  # full, with time to spare
        (500, 500, 14.0, 500),  # twice as many would be given up
        (500, 20, 0.2, 500),  # says nothing about 500
        (MAX_BATCH, MAX_BATCH, 0.2, MAX_BATCH),
        (3_000, 3_000, 0.2, MAX_BATCH),
        (1, 1, 0.2, 2),
    ],
)
def test_a_batch_that_was_done_is_followed_by_a_larger_one_if_it_says_so(
    size: int, records: int, seconds: float, after: int
) -> None:
    assert larger(size, records, seconds, LIMIT) == after


@given(st.floats(1e-5, LIMIT - 0.1), st.floats(0, 0.05))
def test_whatever_a_store_can_do_in_time_a_size_is_found_and_kept(by_record: float, at_least: float) -> None:
    """A store that needs so long for a record, and so long for any batch, is soon given batches that it can finish."""
    size, given_up = MAX_BATCH, 0
    for _ in range(100):
        seconds = at_least + size * by_record
        if seconds > LIMIT:
            size, given_up = smaller(size), given_up + 1
        else:
            size = larger(size, size, seconds, LIMIT)
    assert given_up <= MAX_BATCH.bit_length()
    assert size == MAX_BATCH or size == 1 or at_least + 2 * size * by_record > LIMIT / 4


def test_doubts_stop_a_partition_when_they_are_many_and_over_a_while() -> None:
    doubts = Doubts()
    for each in range(STUCK_DOUBTS):
        assert not doubts.have_stopped(1_000.0)
        doubts = doubts.after(100.0 + each)
    assert not doubts.have_stopped(100.0 + STUCK_SECONDS - 0.1)
    assert doubts.have_stopped(100.0 + STUCK_SECONDS)
    assert not Doubts().after(100.0).have_stopped(100.0 + 10 * STUCK_SECONDS)


@given(st.integers(0, 10**9))
def test_the_wait_grows_up_to_its_longest_however_often_is_tried(attempt: int) -> None:
    first, longest = BACK_OFF
    assert back_off(attempt) <= back_off(attempt + 1) <= longest
    assert back_off(0) == 0
    assert back_off(1) == first
    assert back_off(100) == longest
