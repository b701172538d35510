"""Replays, as `waybill replay`: the exact plan, then a job that the console's process works off; pausing, resuming."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from console.actions.action import Action, Came, ImpossibleError, Order, Plan
from console.page import Asked, Context, WrongQueryError
from console.pages.anomalies import read_since
from console.plans import KEPT
from operators.replay.jobs import Asked as ReplayAsked
from operators.replay.jobs import Job, Mode, find
from operators.replay.range import Selection, contradiction
from operators.replay.replays import Prospect, cancel, pause, resume, start
from operators.replay.republish import is_ours, target_partitions
from runtime.postgres import Pool
from schemas.couriers import COURIERS
from schemas.records import coordinates


class ReplayChoice(msgspec.Struct, frozen=True):
    """A RANGE as `waybill replay` takes it. `from_offset` and `until_offset` are P:O; `rate` is records a second."""

    since: str | None = None
    before: str | None = None
    from_offset: tuple[str, ...] = ()
    until_offset: tuple[str, ...] = ()
    partition: tuple[str, ...] = ()
    all: bool = False
    shipment: str | None = None
    courier: str | None = None
    mode: Mode = Mode.REPROCESS
    to_topic: str | None = None
    rate: int | None = None


class Agreed(msgspec.Struct, frozen=True):
    """What was planned, and so is agreed to: for which range, what it came to, and when."""

    choice: ReplayChoice
    asked: ReplayAsked
    planned_at: datetime


class JobChoice(msgspec.Struct, frozen=True):
    """Which job."""

    job: str


def selection_of(choice: ReplayChoice) -> Selection:
    """Return what a range means.

    Raises:
        WrongQueryError: it contradicts itself, or means nothing.

    """
    if choice.courier is not None and choice.courier not in COURIERS:
        raise WrongQueryError(f"courier is none of {', '.join(COURIERS)}")
    if choice.mode is Mode.REDRIVE:
        raise WrongQueryError("mode is reprocess or republish")
    if (choice.mode is Mode.REPUBLISH) != (choice.to_topic is not None):
        raise WrongQueryError("mode republish and to_topic go together")
    if choice.rate is not None and choice.rate < 1:
        raise WrongQueryError("rate is at least 1")
    if not all(each.isascii() and each.isdecimal() for each in choice.partition):
        raise WrongQueryError("partition is not a partition")
    selection = Selection(
        everything=choice.all,
        since=read_since(choice.since),
        until=read_since(choice.before),
        from_offsets=_offsets(choice.from_offset),
        until_offsets=_offsets(choice.until_offset),
        partitions=tuple(sorted(set(map(int, choice.partition)))),
        shipment=choice.shipment,
        courier=choice.courier,
    )
    wrong = contradiction(selection)
    if wrong is not None:
        raise WrongQueryError(wrong)
    return selection


def _offsets(texts: tuple[str, ...]) -> dict[int, int]:
    try:
        found = dict(map(coordinates, texts))
    except ValueError as error:
        raise WrongQueryError(str(error)) from error
    if len(found) < len(texts):
        raise WrongQueryError("an offset is given twice for a partition")
    return found


async def look(context: Context, choice: ReplayChoice, _asked: Asked) -> Plan:
    """Say what a replay would do, or how far its plan is."""
    selection = selection_of(choice)
    await _require_target(context, choice)
    seen, progress = await context.plans.plan(choice, choice.mode, selection)
    if seen.found is not None and seen.at is not None:
        agreed = msgspec.json.encode(Agreed(choice, seen.found.asked, seen.at)).decode()
        return Plan(seen.found.words, possible=bool(seen.found.asked.offsets), agreed=agreed)
    if seen.trouble is not None:
        await context.plans.forget(choice)
        return Plan((f"it could not be planned: {seen.trouble}",), possible=False)
    far = "" if progress is None else f": {progress.dealt:,} of {progress.offsets:,} offsets"
    return Plan((f"it is being planned{far}",), possible=False, under_way=True)


async def act(context: Context, choice: ReplayChoice, asked: Asked, order: Order) -> Came:
    """Ask for the very replay that was planned."""
    agreed = _read_agreed(order.agreed)
    if agreed is None or agreed.choice != choice or datetime.now(UTC) - agreed.planned_at > KEPT:
        raise ImpossibleError("its plan is not that of this form, or too old: plan it again")
    await _require_target(context, choice)
    job = await start(
        context.database.pool,
        Prospect(choice.mode, agreed.asked, 0, None),
        asked.who.name,
        to_topic=choice.to_topic,
        rate=choice.rate,
        background=True,
        why=order.reason,
        name=order.job("replay"),
    )
    await context.plans.forget(choice)
    return Came((f"{job} will do it, whatever becomes of this page",), whole=True)


def _read_agreed(text: str | None) -> Agreed | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Agreed)
    except msgspec.DecodeError:
        return None  # another version has planned it


async def _require_target(context: Context, choice: ReplayChoice) -> None:
    if choice.to_topic is None:
        return
    if is_ours(context.settings, choice.to_topic):
        raise WrongQueryError(
            f"nothing is republished to {choice.to_topic}: its subscribers would take old events for new"
        )
    await target_partitions(context.settings, choice.to_topic)


Deed = Callable[[Pool, str, str, str], Awaitable[None]]


def _of_job(name: str, title: str, meaning: str, deed: Deed, able: Callable[[Job], bool]) -> Action:
    async def look_at_job(context: Context, choice: JobChoice, _asked: Asked) -> Plan:
        job = await find(context.database.pool, choice.job)
        return Plan(
            (f"{job.job} is {job.status}: {job.appended:,} records appended, {job.left:,} offsets left",), able(job)
        )

    async def act_on_job(context: Context, choice: JobChoice, asked: Asked, order: Order) -> Came:
        await deed(context.database.pool, choice.job, asked.who.name, order.reason)
        job = await find(context.database.pool, choice.job)
        return Came((f"{job.job} is {job.status}: {job.appended:,} records appended",), whole=True)

    return Action(name, title, meaning, JobChoice, look_at_job, act_on_job, lambda _choice: "/replays")


REPLAY = Action(
    "replay",
    "Run a replay",
    "Has raw records read again with today's code, or stored events published again to another topic.",
    ReplayChoice,
    look,
    act,
    lambda _choice: "/replays",
)

PAUSE = _of_job(
    "pause", "Pause a job", "Has a job stop; it can be resumed.", pause, lambda job: job.status == "running"
)
RESUME = _of_job(
    "resume",
    "Resume a job",
    "Has a job go on where it was, by the console's process.",
    resume,
    lambda job: job.status in {"running", "paused", "failed"} and not job.alive,
)
CANCEL = _of_job(
    "cancel",
    "Cancel a job",
    "Has a job stop for good. What it has done stays.",
    cancel,
    lambda job: job.status in {"running", "paused", "failed"},
)
