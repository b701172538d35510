"""When dead letters are a flood, and when they are not."""

import pytest

from processor.flood import Window, is_flood, slid

SIZE = 1_000


def after(*batches: tuple[int, int]) -> Window:
    window = Window()
    for records, dead in batches:
        window = slid(window, records, dead, SIZE)
    return window


@pytest.mark.parametrize(
    "batches",
    [
        [(5, 5)],
        [(999, 999)],
        [(2_000, 1_000)],
        [(500, 500), (500, 0)],
        [(1, 1), (9, 0)] * 500,
        [(300, 300), *[(100, 0)] * 30],
    ],
)
def test_garbage_and_bursts_are_no_flood(batches: list[tuple[int, int]]) -> None:
    for end in range(1, len(batches) + 1):
        assert not is_flood(after(*batches[:end]), SIZE, 0.5)


@pytest.mark.parametrize(
    "batches",
    [[(1_000, 501)], [(2_000, 2_000)], [(100_000, 0), *[(100, 100)] * 6, (400, 0), (1, 1)][1:], [(1, 1)] * 1_000],
)
def test_a_full_window_of_mostly_dead_letters_is(batches: list[tuple[int, int]]) -> None:
    assert is_flood(after(*batches), SIZE, 0.5)


def test_old_batches_are_let_go() -> None:
    window = after((100_000, 0), *[(100, 100)] * 10)
    assert (window.records, window.dead) == (1_000, 1_000)
    assert is_flood(window, SIZE, 0.5)


def test_one_never_halts() -> None:
    assert not is_flood(after((5_000, 5_000)), SIZE, 1.0)


def test_nought_halts_at_the_first_in_a_full_window() -> None:
    assert is_flood(after((5_000, 1)), SIZE, 0.0)
    assert not is_flood(after((5_000, 0)), SIZE, 0.0)
