"""Plans of replays: made once for everybody who asks the same, one at a time, few kept; and what a range means."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from console.actions.replay import REPLAY, ReplayChoice, selection_of
from console.app import MAX_FORM_BYTES
from console.database import Database
from console.page import Context, WrongQueryError
from console.plans import MOST, Plans
from console.sessions import sealed, unsealed
from operators.replay.jobs import Asked, Mode
from operators.replay.preview import ReplayPlan
from operators.replay.progress import PLANNING, Progress, Tell
from operators.replay.range import Selection, Stretch
from operators.replay.replays import Prospect
from runtime.settings import load_settings
from tests.unit.console.consoles import Answer, Ask, console, context_of
from tests.unit.console.test_actions import QUERIES, WRITES, form_of, origin
from tests.unit.console.test_requests import JSON

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


class Started:
    """Jobs that were asked for, as PostgreSQL keeps them: each name once."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Mode, Any, str]] = {}

    async def __call__(self, _pool: Any, prospect: Prospect, operator: str, *, name: str, **_: Any) -> str:
        self.jobs.setdefault(name, (prospect.mode, prospect.asked, operator))
        return name


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    made = Started()
    monkeypatch.setattr("console.actions.replay.start", made)
    monkeypatch.setattr(Database, "pool", None)
    monkeypatch.setitem(QUERIES, "replay", "?partition=0&rate=5")
    return made


def planning() -> Context:
    """Return a console's context that has planned nothing yet, and plans at once."""
    asking = Asking()
    asking.go_on.set()
    context = context_of(WRITES)
    plans = Plans(context.settings, lambda: None, asking)  # type: ignore[arg-type, return-value]
    return msgspec.structs.replace(context, plans=plans)


async def sent(ask: Ask, other: Ask, changed: dict[str, str]) -> Answer:
    """Look at the plan by one console, and send its form to another."""
    fields, headers = await form_of(ask, REPLAY, {})
    headers |= origin(other)
    return await other(REPLAY.path, "POST", data=fields | changed, headers=headers | JSON)


async def test_a_plan_that_one_console_has_shown_is_done_by_another(started: Started) -> None:
    async with console(context=planning()) as ask, console(context=planning()) as other:
        done = await sent(ask, other, {})
    assert done.status == 200, done.text
    (((mode, asked, operator)),) = started.jobs.values()
    assert (mode, asked.stretches, operator) == (Mode.REPROCESS, STRETCHES, "sari")


async def test_another_plan_than_was_shown_is_not_done(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(context=planning()) as ask, console(context=planning(), key=b"o" * 32) as other:
        fields, headers = await form_of(ask, REPLAY, {})
        forged = fields["agreed"].partition(".")[0] + "." + "0" * 64
        for changed in ({"agreed": "x"}, {"agreed": forged}, {"agreed": ""}, {"rate": "500"}, {"courier": "dash"}):
            assert (await ask(REPLAY.path, "POST", data=fields | changed, headers=headers)).status == 409
        # another key: neither the form nor the plan is its own
        assert (await other(REPLAY.path, "POST", data=fields, headers=headers | origin(other))).status == 403
        monkeypatch.setattr("console.actions.replay.KEPT", timedelta(0))
        assert (await ask(REPLAY.path, "POST", data=fields, headers=headers)).status == 409
    assert started.jobs == {}


async def test_a_plan_agreed_to_twice_is_one_job(started: Started) -> None:
    async with console(context=planning()) as ask:
        fields, headers = await form_of(ask, REPLAY, {})
        done = [await ask(REPLAY.path, "POST", data=fields, headers=headers) for _ in range(2)]
    assert ([each.status for each in done], len(started.jobs)) == ([200, 200], 1)


def test_a_sealed_text_is_of_its_key_and_purpose_and_short() -> None:
    long = msgspec.json.encode([Stretch(number, 10**9, 2 * 10**9) for number in range(500)]).decode()
    text = sealed(b"k", "replay", long)
    assert unsealed(b"k", "replay", text) == long
    assert len(text) < MAX_FORM_BYTES / 2
    assert unsealed(b"k", "redrive", text) is unsealed(b"o", "replay", text) is unsealed(b"k", "replay", "") is None
