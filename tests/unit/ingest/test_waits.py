"""How long a send waits."""

import asyncio

import pytest

from ingest import waits
from ingest.waits import Wait, Waits


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(waits, "SUSPECT_SECONDS", 0.02)


class Looked:
    """All waits, and how many were slow."""

    def __init__(self) -> None:
        self.slow = 0
        self.all = Waits(self.tell)

    def tell(self) -> None:
        self.slow += 1

    def wait(self, seconds: float) -> Wait:
        return Wait(self.all, self.all.now(), seconds)


@pytest.fixture
async def looked() -> Looked:
    return Looked()


async def test_a_wait_ends_by_a_timeout(looked: Looked) -> None:
    with pytest.raises(TimeoutError), looked.wait(0.05):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert looked.slow == 1, "it is told once"


async def test_what_is_in_time_is_left_alone(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SUSPECT_SECONDS", 60)
    for _ in range(3):
        with looked.wait(60):
            await asyncio.sleep(0.01)
    assert looked.slow == 0


async def test_a_deadline_that_is_over_ends_it_at_the_next_look(looked: Looked) -> None:
    with pytest.raises(TimeoutError), Wait(looked.all, looked.all.now() - 10, 2):
        await asyncio.Event().wait()


async def test_another_cancellation_is_one(looked: Looked) -> None:
    async def waiting() -> None:
        with looked.wait(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_inside_comes_out(looked: Looked) -> None:
    with pytest.raises(KeyError), looked.wait(60):
        raise KeyError


async def test_it_can_be_extended(looked: Looked) -> None:
    with Wait(looked.all, looked.all.now() - 59.99, 60) as wait:
        wait.extend()
        await asyncio.sleep(0.05)


async def test_the_waits_for_a_producer_can_be_ended(looked: Looked) -> None:
    async def waiting(producer: object) -> str:
        try:
            with looked.wait(60) as wait:
                wait.producer = producer  # type: ignore[assignment]
                await asyncio.sleep(0.02)
        except TimeoutError:
            return "ended"
        return "done"

    mine, others = object(), object()
    tasks = [asyncio.create_task(waiting(producer)) for producer in (mine, None, others)]
    await asyncio.sleep(0)
    looked.all.end((mine, None))  # type: ignore[arg-type]
    assert await asyncio.gather(*tasks) == ["ended", "ended", "done"]


async def test_a_wait_in_a_wait_ends_alone(looked: Looked) -> None:
    with looked.wait(60):
        with pytest.raises(TimeoutError), looked.wait(0.01):
            await asyncio.Event().wait()
        await asyncio.sleep(0)
