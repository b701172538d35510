"""Waiting grows with each try, and stops growing."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.backoff import doubled

seconds = st.floats(min_value=0.001, max_value=1e6)


@given(first=seconds, times=st.integers(0, 10**9), longest=seconds)
def test_a_wait_doubles_up_to_its_bound(first: float, times: int, longest: float) -> None:
    wait = doubled(first, times, longest)
    assert wait <= longest
    assert wait == longest or wait == first * 2.0**times
    assert doubled(first, times + 1, longest) == min(longest, 2 * wait)
    assert doubled(first, 0, longest) == min(first, longest)
