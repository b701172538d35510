"""How a partition stands, by what its worker tells: what a doubt, a halt and a claim that works make of it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from processor.core.errors import ClaimLostError
from processor.core.plan import MAX_BATCH
from processor.partition import standing as standing_module
from processor.partition.standing import STEADY_SECONDS, Standing
from processor.protocol.pacing import STUCK_DOUBTS, STUCK_SECONDS
from runtime.metrics import ClaimReason, PartitionActivity

LOST = ClaimLostError("another claim has taken the partition over")


class Clock:
    """A clock that goes on when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(standing_module, "monotonic", clock)
    return clock


@pytest.fixture
def paused() -> list[bool]:
    return []


@pytest.fixture
def standing(paused: list[bool]) -> Standing:
    feed: Any = SimpleNamespace(pause=lambda: paused.append(True))
    return Standing(3, feed)


def doubted(standing: Standing, *, stores_work: bool = True) -> None:
    standing.doubt(LOST, stores_work=stores_work, stopping=False)
    standing.dropped()


def test_a_claim_is_worked_on_and_then_proved(standing: Standing) -> None:
    assert (standing.state, standing.working) == (PartitionActivity.CLAIMING, False)
    standing.claimed(7)
    assert (standing.state, standing.working, standing.position) == (PartitionActivity.CLAIMING, True, 7)
    standing.prove(7)
    assert standing.state is PartitionActivity.WORKING
    standing.dropped()
    assert (standing.state, standing.working) == (PartitionActivity.CLAIMING, False)


def test_doubts_in_a_row_halt_and_a_proved_claim_goes_on(standing: Standing, clock: Clock, paused: list[bool]) -> None:
    for _ in range(STUCK_DOUBTS):
        assert standing.halted is None
        doubted(standing)
        clock.now += STUCK_SECONDS / (STUCK_DOUBTS - 1)
    doubted(standing)
    assert "claiming it has ended in doubt" in (standing.halted or "")
    assert (standing.state, paused) == (PartitionActivity.HALTED, [True])
    standing.claimed(7)
    standing.prove(7)
    assert (standing.state, standing.halted) == (PartitionActivity.WORKING, None)


def test_doubts_while_a_store_is_away_halt_nothing(standing: Standing, clock: Clock) -> None:
    for _ in range(10 * STUCK_DOUBTS):
        doubted(standing, stores_work=False)
        clock.now += STUCK_SECONDS
    assert standing.halted is None


def test_a_doubt_halves_the_batch_in_hand(standing: Standing) -> None:
    standing.claimed(0)
    standing.in_hand = 100
    doubted(standing)
    assert (standing.batch_size, standing.in_hand, standing.reason) == (50, 0, ClaimReason.LOST)
    standing.done(50, 0.1, 15.0)
    assert standing.batch_size == 100
    for _ in range(10):
        standing.done(MAX_BATCH, 0.1, 15.0)
    assert standing.batch_size == MAX_BATCH


async def test_the_claim_behind_a_steady_one_is_tried_at_once(standing: Standing, clock: Clock) -> None:
    """As the first of a row is; each one behind it waits longer."""
    waits: list[int] = []

    async def pause(attempt: int, _stop: asyncio.Event) -> None:
        waits.append(attempt)

    stop = asyncio.Event()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(standing_module, "pause", pause)
        for _ in range(3):
            doubted(standing)
            await standing.pause(stop)
        standing.claimed(0)
        standing.prove(0)
        clock.now += STEADY_SECONDS + 1
        doubted(standing)
        await standing.pause(stop)
    assert waits == [1, 2, 3, 1]
