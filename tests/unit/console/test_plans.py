"""Plans of replays: made once for everybody who asks the same, one at a time, few kept; and what a range means."""

import asyncio
from typing import Any

import pytest

from console.actions.replay import ReplayChoice, selection_of
from console.page import WrongQueryError
from console.plans import MOST, Plans
from operators.replay.jobs import Asked, Mode
from operators.replay.preview import ReplayPlan
from operators.replay.progress import PLANNING, Progress, Tell
from operators.replay.range import Selection, Stretch
from operators.replay.replays import Prospect
from runtime.settings import load_settings

STRETCHES = (Stretch(0, 5, 15, gone=5),)
PLAN = ReplayPlan(7, ["dash:1"], 1, 2, 3, 4, STRETCHES, {"event": 7}, [], [], [])


class Asking:
    """Plans when it is told to, and counts how many are being made at once."""

    def __init__(self) -> None:
        self.asked: list[Selection] = []
        self.at_once = self.most = 0
        self.go_on = asyncio.Event()

    async def __call__(self, mode: Mode, selection: Selection, tell: Tell) -> Prospect:
        self.asked.append(selection)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        tell(Progress(None, PLANNING, 3, 10, 0, 0))
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        return Prospect(mode, Asked(selection, STRETCHES, {0: 0}), 4, PLAN)


def choice(number: int) -> ReplayChoice:
    return ReplayChoice(partition=(str(number),))


async def plan(plans: Plans, number: int) -> Any:
    asked = choice(number)
    return await plans.plan(asked, asked.mode, selection_of(asked))


async def test_a_plan_is_made_once_for_everybody_and_tells_how_far_it_is() -> None:
    asking = Asking()
    plans = Plans(load_settings({}), lambda: None, asking)  # type: ignore[arg-type, return-value]
    waiting = [asyncio.create_task(plan(plans, 0)) for _ in range(3)]
    while not asking.asked:
        await asyncio.sleep(0)
    asking.go_on.set()
    found = [(await each)[0].found for each in waiting]
    assert len(asking.asked) == 1
    assert found[0].words[:3] == (
        "10 offsets of 1 partitions are looked through",
        "5 offsets before them are there no more: retention took them",
        "4 records the processor has yet to read: it reads them with today's code",
    )
    assert "7 records of 1 shipments would be read again" in found[0].words[3]
    _, progress = await plan(plans, 0)
    assert (progress.dealt, progress.offsets) == (3, 10)
    await plans.forget(choice(0))
    await plan(plans, 0)
    assert len(asking.asked) == 2
    await plans.close()


async def test_plans_are_made_one_at_a_time_and_few_are_kept() -> None:
    asking = Asking()
    plans = Plans(load_settings({}), lambda: None, asking)  # type: ignore[arg-type, return-value]
    many = [asyncio.create_task(plan(plans, number)) for number in range(MOST + 2)]
    while not asking.asked:
        await asyncio.sleep(0)
    asking.go_on.set()
    await asyncio.gather(*many)
    assert asking.most == 1
    before = len(asking.asked)
    await plan(plans, MOST + 1)
    assert len(asking.asked) == before
    await plan(plans, 0)  # the oldest was let go
    assert len(asking.asked) == before + 1
    await plans.close()


@pytest.mark.parametrize(
    "wrong",
    [
        ReplayChoice(),
        ReplayChoice(all=True, partition=("0",)),
        ReplayChoice(all=True, courier="nobody"),
        ReplayChoice(all=True, mode=Mode.REDRIVE),
        ReplayChoice(all=True, mode=Mode.REPUBLISH),
        ReplayChoice(all=True, to_topic="elsewhere"),
        ReplayChoice(all=True, rate=0),
        ReplayChoice(partition=("-1",)),
        ReplayChoice(from_offset=("x",)),
        ReplayChoice(from_offset=("0:1", "0:2")),
        ReplayChoice(since="soon"),
        ReplayChoice(since="2026-11-02", before="2026-11-01"),
    ],
    ids=str,
)
def test_a_range_that_cannot_be_meant_is_refused(wrong: ReplayChoice) -> None:
    with pytest.raises(WrongQueryError):
        selection_of(wrong)


def test_a_range_means_what_the_command_means_by_it() -> None:
    asked = ReplayChoice(from_offset=("0:1",), until_offset=("0:9",), partition=("0",), courier="dash")
    assert selection_of(asked) == Selection(from_offsets={0: 1}, until_offsets={0: 9}, partitions=(0,), courier="dash")
