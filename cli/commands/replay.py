"""`waybill replay`: raw records read again with today's code, stored events published again."""

import argparse
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec

from cli.exit_codes import DONE, FAILED, USAGE
from cli.operating import change, operate
from cli.signals import until_signalled
from cli.terminal.arguments import moment, offer_json, offer_personal, positive
from cli.terminal.consent import agreed, can_ask, offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from cli.terminal.replay_progress import shown
from cli.terminal.tables import NOTHING, say_table
from operators.replay.jobs import Job, Mode, newest
from operators.replay.preview import Change, ReplayPlan, masked
from operators.replay.range import Selection, Stretch, contradiction
from operators.replay.replays import Prospect, came_of, cancel, look, pause, start, work
from operators.replay.reprocess import Ended
from operators.replay.republish import is_ours, target_partitions
from operators.shared.operator_log import note, operator_name
from runtime.postgres import OPERATOR, Pool, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.records import coordinates
from schemas.times import format_time

SHOWN: Final = 20
"""Shipments, events and jobs that are listed unless `--limit` says otherwise."""

REPROCESS: Final = "reprocess"
REPUBLISH: Final = "republish"

_RANGE: Final = """\
RANGE: --since and --until go by the time received, all ends are exclusive, and all that is given must hold.
Records that replays or operators appended are passed over.
"""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    plan = verbs.add_parser("plan", help="what a replay would do; changes nothing", epilog=_RANGE)
    _offer_range(plan)
    plan.add_argument("--limit", type=positive, metavar="N", default=SHOWN, help=f"list at most N of a kind ({SHOWN})")
    offer_personal(plan)
    offer_json(plan)
    plan.set_defaults(command=_plan)

    run = verbs.add_parser("run", help="do it, in the foreground", epilog=_RANGE)
    _offer_range(run)
    run.add_argument("--to-topic", metavar="T", help="republish: the topic, which must exist and be none of ours")
    run.add_argument("--rate", type=positive, metavar="N", help="records a second, at most")
    offer_change(run)
    offer_json(run)
    run.set_defaults(command=_run)

    listed = verbs.add_parser("list", help="the jobs, newest first")
    listed.add_argument("--limit", type=positive, metavar="N", default=SHOWN, help=f"at most N ({SHOWN})")
    offer_json(listed)
    listed.set_defaults(command=partial(operate, _list_jobs))

    for verb, what, handler in (
        ("status", "how far a job is, and what came of it", partial(operate, _show_job)),
        ("pause", "have a job stop; it can be resumed", partial(operate, _pause_job)),
        ("resume", "go on with a job where it was, in the foreground", partial(operate, _resume_job)),
        ("cancel", "have a job stop for good", partial(change, _cancel_job)),
    ):
        parser = verbs.add_parser(verb, help=what)
        parser.add_argument("job", metavar="JOB")
        if verb != "status":
            offer_change(parser)
        offer_json(parser)
        parser.set_defaults(command=handler)


def _offer_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=moment, metavar="T", help="received at T or later (a time, or 2h, 3d ago)")
    parser.add_argument("--until", type=moment, metavar="T", help="received before T")
    parser.add_argument(
        "--from-offset", type=_at, action="append", default=[], metavar="P:O", help="from offset O of partition P on"
    )
    parser.add_argument(
        "--until-offset", type=_at, action="append", default=[], metavar="P:O", help="before offset O of partition P"
    )
    parser.add_argument(
        "--partition", type=_partition, action="append", default=[], metavar="P", help="this partition; repeatable"
    )
    parser.add_argument("--all", action="store_true", help="everything there is")
    parser.add_argument("--shipment", metavar="S", help="only this shipment's: its id, reference, order or AWB")
    parser.add_argument("--courier", choices=tuple(COURIERS), help="only this courier's")
    parser.add_argument(
        "--mode",
        choices=(REPROCESS, REPUBLISH),
        default=REPROCESS,
        help="reprocess (default): read raw records again, emit real differences; republish: stored events as they are",
    )


def _at(text: str) -> tuple[int, int]:
    try:
        return coordinates(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _partition(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no partition")
    return int(text)


def _plan(arguments: argparse.Namespace) -> int:
    selection = _selection(arguments)
    if selection is None:
        return USAGE
    return operate(lambda settings, arguments: _show_plan(settings, arguments, selection), arguments)


def _run(arguments: argparse.Namespace) -> int:
    selection = _selection(arguments)
    if selection is None or not can_ask(arguments):
        return USAGE
    if (arguments.mode == REPUBLISH) != (arguments.to_topic is not None):
        complain("--mode republish and --to-topic go together")
        return USAGE
    return operate(lambda settings, arguments: _run_job(settings, arguments, selection), arguments)


def _selection(arguments: argparse.Namespace) -> Selection | None:
    """Return what is meant; complain where that cannot be."""
    for name, given in (("--from-offset", arguments.from_offset), ("--until-offset", arguments.until_offset)):
        if len(dict(given)) < len(given):
            complain(f"{name} is given twice for a partition")
            return None
    selection = Selection(
        everything=arguments.all,
        since=arguments.since,
        until=arguments.until,
        from_offsets=dict(arguments.from_offset),
        until_offsets=dict(arguments.until_offset),
        partitions=tuple(sorted(set(arguments.partition))),
        shipment=arguments.shipment,
        courier=arguments.courier,
    )
    wrong = contradiction(selection)
    if wrong is not None:
        complain(wrong)
        return None
    return selection


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Pool]:
    async with await open_pool(settings, OPERATOR, 2) as pool:
        yield pool


async def _show_plan(settings: Settings, arguments: argparse.Namespace, selection: Selection) -> int:
    async with _database(settings) as pool:
        if arguments.show_personal:
            async with pool.acquire() as connection:
                await note(connection, operator_name(settings), "replay plan --show-personal", {"range": selection})
        prospect = await look(settings, pool, Mode(arguments.mode), selection, planned=True)
    if not arguments.show_personal:
        prospect = _masked(prospect)
    if arguments.json:
        say_json(_told_prospect(prospect))
    else:
        _say_prospect(prospect, arguments.limit)
    return DONE


async def _run_job(settings: Settings, arguments: argparse.Namespace, selection: Selection) -> int:
    topic = arguments.to_topic
    if topic is not None:
        if is_ours(settings, topic):
            complain(f"nothing is republished to {topic}: its subscribers would take old events for new")
            return USAGE
        await target_partitions(settings, topic)
    async with _database(settings) as pool:
        # Whoever says --yes has decided: the plan, which reads everything, is for those who have yet to.
        prospect = _masked(await look(settings, pool, Mode(arguments.mode), selection, planned=not arguments.yes))
        code = unconfirmed(arguments, lambda: _say_prospect(prospect, SHOWN), _told_prospect(prospect))
        if code is not None:
            return code
        job = await start(pool, prospect, operator_name(settings), to_topic=topic, rate=arguments.rate)
        return await _work(settings, pool, job, arguments)


async def _work(
    settings: Settings, pool: Pool, job: str, arguments: argparse.Namespace, *, resumed_by: str | None = None
) -> int:
    if not arguments.json:
        say(f"job {job}")
    with until_signalled() as stop, shown() as tell:
        ended = await work(settings, pool, job, stop, tell, resumed_by=resumed_by)
    if arguments.json:
        say_json(ended)
    else:
        _say_end(ended)
    return DONE if ended.status == "done" else FAILED


async def _resume_job(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        job, outcomes = await came_of(pool, arguments.job)
        if arguments.dry_run:
            _say_job(job, outcomes, json=arguments.json)
            return DONE
        return await _work(settings, pool, arguments.job, arguments, resumed_by=operator_name(settings))


async def _pause_job(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        job, outcomes = await came_of(pool, arguments.job)
        if not arguments.dry_run:
            await pause(pool, arguments.job, operator_name(settings))
            job, outcomes = await came_of(pool, arguments.job)
        _say_job(job, outcomes, json=arguments.json)
    return DONE


async def _cancel_job(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        job, outcomes = await came_of(pool, arguments.job)
        if not arguments.json and job.status != "done":
            say(f"{job.job} ends here: {job.appended} records were appended, which stays, {job.left} offsets are left")
        if not (arguments.yes or arguments.dry_run or agreed()):
            return FAILED
        if not arguments.dry_run:
            await cancel(pool, arguments.job, operator_name(settings))
            job, outcomes = await came_of(pool, arguments.job)
        _say_job(job, outcomes, json=arguments.json)
    return DONE


async def _list_jobs(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        jobs = await newest(pool, arguments.limit)
    if arguments.json:
        say_json([_told(job) for job in jobs])
    elif not jobs:
        say("no job")
    else:
        say_table(
            ("job", "mode", "status", "appended", "left", "to topic", "operator", "began"),
            [
                (
                    job.job,
                    job.mode,
                    _standing(job),
                    job.appended,
                    job.left,
                    job.to_topic,
                    job.operator,
                    format_time(job.created_at),
                )
                for job in jobs
            ],
        )
    return DONE


async def _show_job(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        job, outcomes = await came_of(pool, arguments.job)
    _say_job(job, outcomes, json=arguments.json)
    return DONE


def _told(job: Job) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(job),
        "interrupted": job.interrupted,
        "appended": job.appended,
        "passed_over": job.passed_over,
        "left": job.left,
    }


def _standing(job: Job) -> str:
    return "interrupted" if job.interrupted else str(job.status)


def _say_job(job: Job, outcomes: dict[str, int], *, json: bool) -> None:
    if json:
        say_json({**_told(job), "outcomes": outcomes})
        return
    say(f"{job.job}: {job.mode}, {_standing(job)}{f' ({job.detail})' if job.detail else ''}")
    say(f"begun by {job.operator} at {format_time(job.created_at)}, last moved at {format_time(job.updated_at)}")
    say(f"{job.appended} records appended, {job.passed_over} passed over, {job.left} offsets left")
    if job.mode == REPROCESS:
        say(f"applied: {_counts(outcomes)}")
    say_table(
        ("partition", "next offset", "until", "appended", "passed over"),
        [
            (each.partition, each.next_offset, each.until_offset, each.appended, each.passed_over)
            for each in job.positions
        ],
    )
    if job.interrupted or job.status in {"paused", "failed"}:
        say(f"`waybill replay resume {job.job}` goes on")


def _say_end(ended: Ended) -> None:
    say(f"{ended.status}: {ended.appended} records appended, {ended.passed_over} passed over")
    if ended.outcomes:
        say(f"applied: {_counts(ended.outcomes)}")
    if ended.gone:
        say(f"{ended.gone} offsets were gone from the log before they could be read")
    if ended.pending:
        say(f"{ended.pending} records are not applied yet: they are as soon as a processor runs")
    if ended.status == "paused":
        say(f"`waybill replay resume {ended.job}` goes on")


def _counts(counts: Any) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing"


def _masked(prospect: Prospect) -> Prospect:
    plan = prospect.plan
    return msgspec.structs.replace(prospect, plan=masked(plan)) if isinstance(plan, ReplayPlan) else prospect


def _told_prospect(prospect: Prospect) -> dict[str, Any]:
    return {"mode": prospect.mode, "range": prospect.asked.range, **(msgspec.to_builtins(prospect.plan) or {})}


def _say_prospect(prospect: Prospect, limit: int) -> None:
    plan = prospect.plan
    for stretch in prospect.asked.stretches:
        _say_stretch(stretch)
    if prospect.waiting:
        say(f"{prospect.waiting} records of the range wait for the processor, which reads them with its code anyway")
    if plan is None:
        say(f"at most {prospect.asked.offsets} offsets are looked through")
    elif isinstance(plan, ReplayPlan):
        _say_plan(plan, limit)
    else:
        say(f"{plan.records} stored events of {len(plan.shipments)} shipments would be published again")
        _say_some("shipments", plan.shipments, limit, str)


def _say_stretch(stretch: Stretch) -> None:
    say(f"partition {stretch.partition}: offsets {stretch.start} until {stretch.end}")
    if stretch.gone:
        say(f"  {stretch.gone} offsets before {stretch.start} are gone from the log, and what was there with them")


def _say_plan(plan: ReplayPlan, limit: int) -> None:
    say(f"{plan.records} records of {len(plan.shipments)} shipments would be read again")
    passed = {
        "records of earlier replays": plan.rereadings,
        "operators' decisions": plan.decisions,
        "records that cannot be read today either": plan.unreadable,
    }
    for what, count in passed.items():
        if count:
            say(f"{count} {what} are passed over")
    say(f"they would come to: {_counts(plan.outcomes)}")
    say(f"{len(plan.changes)} shipments would change; {len(plan.events)} events, {len(plan.anomalies)} anomalies come")
    _say_some("changes", plan.changes, limit, _change)
    _say_some("events", plan.events, limit, lambda event: f"{event.id} {event.type} {event.status} (raw {event.raw})")
    _say_some("anomalies", plan.anomalies, limit, lambda each: f"{each.id} {each.courier_status}")


def _say_some(what: str, found: Sequence[Any], limit: int, shown: Callable[[Any], str]) -> None:
    for each in found[:limit]:
        say(f"  {shown(each)}")
    if len(found) > limit:
        say(f"  … and {len(found) - limit} more {what}: --limit, or --json for all")


def _change(change: Change) -> str:
    fields = "; ".join(
        f"{name}: {_value(values.old)} → {_value(values.new)}"
        for name, values in change.fields.items()
        if not {_value(values.old), _value(values.new)} <= {NOTHING}
    )
    return f"{change.shipment_id} version {change.version.old} → {change.version.new}: {fields}"


def _value(value: Any) -> str:
    return NOTHING if value is None or value == () else str(value)
