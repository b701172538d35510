"""Replays from their beginning to their end: what one would do, starting, working, pausing, resuming, cancelling."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from operators.replay.jobs import (
    UNFINISHED,
    Asked,
    Job,
    Mode,
    Status,
    begin,
    find,
    move,
    new_name,
    outcomes,
    taken,
    to_background,
)
from operators.replay.preview import ReplayPlan, plan_replay
from operators.replay.progress import Tell
from operators.replay.range import Selection
from operators.replay.reader import AppliedOffsets, applied_offsets, open_replay_log
from operators.replay.reprocess import Ended, reprocess
from operators.replay.republish import RepublishCounts, plan_republish, republish
from operators.replay.stored_events import StoredEvents, event_stretches
from operators.shared.errors import OperatorError
from operators.shared.finding import find_shipment
from operators.shared.operator_log import note
from runtime.postgres import Pool
from runtime.settings import Settings


class Prospect(msgspec.Struct, frozen=True):
    """What a selection comes to as of now. `waiting` records of it the processor has yet to read."""

    mode: Mode
    asked: Asked
    waiting: int
    plan: ReplayPlan | RepublishCounts | None


async def look(
    settings: Settings, pool: Pool, mode: Mode, selection: Selection, tell: Tell, *, planned: bool
) -> Prospect:
    """Find out what a selection comes to, and if `planned` what would be done, record by record. Changes nothing.

    `tell` hears how far the plan is.

    Raises:
        OperatorError: the selection names what there is not, or the database belongs to another log.

    """
    if selection.shipment is not None:
        shipment_id = await find_shipment(pool, selection.shipment)
        selection = msgspec.structs.replace(selection, shipment=shipment_id)
    if mode is Mode.REPUBLISH:
        return await _look_at_events(pool, selection, tell, planned=planned)
    async with open_replay_log(settings, pool) as log:
        found = await log.find(selection)
        now = datetime.now(UTC)
        plan = await plan_replay(settings, pool, log, selection, found, now, tell) if planned else None
        asked = Asked(selection, tuple(found.stretches), _incarnations(await log.applied()))
    return Prospect(mode, asked, found.waiting, plan)


async def _look_at_events(pool: Pool, selection: Selection, tell: Tell, *, planned: bool) -> Prospect:
    applied = await applied_offsets(pool)
    if unknown := sorted(selection.named - applied.keys()):
        raise OperatorError(f"of partition {unknown[0]} nothing is stored")
    ends = {partition: each.next_offset for partition, each in applied.items()}
    stretches = event_stretches(selection, ends, applied.keys())
    stored = StoredEvents(pool, selection, _incarnations(applied))
    plan = await plan_republish(stored, stretches, tell) if planned else None
    return Prospect(Mode.REPUBLISH, Asked(selection, tuple(stretches), _incarnations(applied)), 0, plan)


def _incarnations(applied: Mapping[int, AppliedOffsets]) -> dict[int, int]:
    return {partition: each.incarnation for partition, each in applied.items()}


async def start(
    pool: Pool,
    prospect: Prospect,
    operator: str,
    *,
    to_topic: str | None,
    rate: int | None,
    background: bool = False,
    why: str | None = None,
    name: str | None = None,
) -> str:
    """Write a new job and return its name. `work` does the rest, or a service, in the `background`.

    Asked for twice by one `name`, it is written once.
    """
    job = name or new_name(datetime.now(UTC))
    async with pool.acquire() as connection, connection.transaction():
        asked = msgspec.structs.replace(prospect.asked, background=background)
        if not await begin(connection, job, prospect.mode, asked, operator, to_topic=to_topic, rate=rate):
            return job
        detail: dict[str, Any] = {
            "job": job,
            "mode": prospect.mode,
            "range": asked.range,
            "to_topic": to_topic,
            "rate": rate,
        }
        if why is not None:
            detail["why"] = why
        await note(connection, operator, "replay run", detail)
    return job


async def work(
    settings: Settings, pool: Pool, name: str, stop: asyncio.Event, tell: Tell, *, resumed_by: str | None = None
) -> Ended:
    """Work on a job until it is done, or `stop` is set, or another process pauses or cancels it.

    Raises:
        OperatorError: the job cannot be resumed, another process works on it, or it fails.

    """
    async with taken(settings, name) as runner:
        job = await find(pool, name)
        if resumed_by is not None:
            _require(job, "resumed")
            await _require_same_log(pool, job)
            async with pool.acquire() as connection, connection.transaction():
                await move(connection, name, Status.RUNNING, *UNFINISHED)
                await note(connection, resumed_by, "replay resume", {"job": name})
        if job.mode is Mode.REPROCESS:
            return await reprocess(settings, pool, job, runner, stop, tell)
        stored = StoredEvents(pool, job.asked.range, job.asked.incarnations)
        return await republish(settings, stored, job, runner, stop, tell)


async def resume(pool: Pool, name: str, operator: str, why: str | None = None) -> None:
    """Have a job that has not ended go on where it was, worked off by a service.

    Raises:
        OperatorError: it has ended, a process works on it, or it cannot be gone on with.

    """
    job = await find(pool, name)
    if job.status not in UNFINISHED or (job.mode is Mode.REDRIVE and not job.background):
        raise OperatorError(_refusal(job, "resumed"))
    if job.alive:
        raise OperatorError(f"a process works on {name}: `waybill replay pause {name}` ends it")
    if job.mode is not Mode.REDRIVE:
        await _require_same_log(pool, job)
    async with pool.acquire() as connection, connection.transaction():
        if not await to_background(connection, name):
            raise OperatorError(_refusal(await find(pool, name), "resumed"))
        await note(connection, operator, "replay resume", _detail(name, why))


async def pause(pool: Pool, name: str, operator: str, why: str | None = None) -> None:
    """Have a running job stop. Its process sees it within a second.

    Raises:
        OperatorError: it is not running.

    """
    await _set(pool, name, Status.PAUSED, "paused", operator, (Status.RUNNING,), why)


async def cancel(pool: Pool, name: str, operator: str, why: str | None = None) -> None:
    """Have a job stop for good. What it has done stays.

    Raises:
        OperatorError: it has ended.

    """
    await _set(pool, name, Status.CANCELLED, "cancelled", operator, UNFINISHED, why)


async def _set(
    pool: Pool, name: str, to: Status, deed: str, operator: str, before: Sequence[Status], why: str | None
) -> None:
    job = await find(pool, name)
    async with pool.acquire() as connection, connection.transaction():
        foreground = job.mode is Mode.REDRIVE and not job.background
        if foreground or not await move(connection, name, to, *before):
            raise OperatorError(_refusal(job, deed))
        await note(connection, operator, f"replay {'pause' if to is Status.PAUSED else 'cancel'}", _detail(name, why))


def _detail(name: str, why: str | None) -> dict[str, str]:
    return {"job": name} if why is None else {"job": name, "why": why}


def _require(job: Job, deed: str) -> None:
    if job.mode is Mode.REDRIVE and job.background:
        raise OperatorError(f"{job.job} is a redrive of dead letters: the console goes on with it")
    if job.mode is Mode.REDRIVE or job.status not in UNFINISHED:
        raise OperatorError(_refusal(job, deed))


async def _require_same_log(pool: Pool, job: Job) -> None:
    asked, current = job.asked, _incarnations(await applied_offsets(pool))
    if any(current.get(partition) != asked.incarnations.get(partition) for partition in current):
        raise OperatorError(f"the raw topic was made anew since {job.job} began: begin a new job")


def _refusal(job: Job, deed: str) -> str:
    if job.mode is Mode.REDRIVE and not job.background:
        return f"{job.job} is a redrive of dead letters: `waybill dlq redrive` begins a new one"
    return f"{job.job} is {job.status}: it cannot be {deed}"


async def came_of(pool: Pool, name: str) -> tuple[Job, dict[str, int]]:
    """Return a job, and what came of its records so far.

    Raises:
        OperatorError: there is none of this name.

    """
    return await find(pool, name), await outcomes(pool, name)
