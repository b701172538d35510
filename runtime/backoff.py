"""How long to wait before another try: longer each time, up to a bound. Pure."""

from typing import Final

DOUBLINGS: Final = 64
"""More of them lead beyond every bound, and no number grows without one."""


def doubled(first: float, times: int, longest: float) -> float:
    """Return `first` doubled so many times, `longest` at most. Any unit of time."""
    return min(longest, first * 2.0 ** min(times, DOUBLINGS))
