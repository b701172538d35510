"""`waybill replay`: raw records read again with today's code, stored events published again."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from cli.commands.replay_range import RANGE, REPUBLISH, offer_range, selected
from cli.commands.replay_told import masked_prospect, say_end, say_job, say_prospect, told_job, told_prospect
from cli.exit_codes import DONE, FAILED, USAGE
from cli.operating import change, operate
from cli.signals import until_signalled
from cli.terminal.arguments import offer_json, offer_personal, positive
from cli.terminal.consent import agreed, can_ask, offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from cli.terminal.replay_progress import planning, shown
from cli.terminal.tables import say_table
from operators.replay.jobs import Mode, newest
from operators.replay.range import Selection
from operators.replay.replays import came_of, cancel, look, pause, start, work
from operators.replay.republish import is_ours, target_partitions
from operators.shared.operator_log import note, operator_name
from runtime.postgres import OPERATOR, Pool, open_pool
from runtime.settings import Settings
from schemas.times import format_time

SHOWN: Final = 20
"""Shipments, events and jobs that are listed unless `--limit` says otherwise."""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    plan = verbs.add_parser("plan", help="what a replay would do; changes nothing", epilog=RANGE)
    offer_range(plan)
    plan.add_argument("--limit", type=positive, metavar="N", default=SHOWN, help=f"list at most N of a kind ({SHOWN})")
    offer_personal(plan)
    offer_json(plan)
    plan.set_defaults(command=_plan)

    run = verbs.add_parser("run", help="do it, in the foreground", epilog=RANGE)
    offer_range(run)
    run.add_argument(
        "--to-topic", metavar="T", help="republish: the topic, which must exist and must not be one of Waybill's"
    )
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


def _plan(arguments: argparse.Namespace) -> int:
    selection = selected(arguments)
    if selection is None:
        return USAGE
    return operate(lambda settings, arguments: _show_plan(settings, arguments, selection), arguments)


def _run(arguments: argparse.Namespace) -> int:
    selection = selected(arguments)
    if selection is None or not can_ask(arguments):
        return USAGE
    if (arguments.mode == REPUBLISH) != (arguments.to_topic is not None):
        complain("--mode republish and --to-topic go together")
        return USAGE
    return operate(lambda settings, arguments: _run_job(settings, arguments, selection), arguments)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Pool]:
    async with await open_pool(settings, OPERATOR, 2) as pool:
        yield pool


async def _show_plan(settings: Settings, arguments: argparse.Namespace, selection: Selection) -> int:
    async with _database(settings) as pool:
        if arguments.show_personal:
            async with pool.acquire() as connection:
                await note(connection, operator_name(settings), "replay plan --show-personal", {"range": selection})
        with planning() as tell:
            prospect = await look(settings, pool, Mode(arguments.mode), selection, tell, planned=True)
    if not arguments.show_personal:
        prospect = masked_prospect(prospect)
    if arguments.json:
        say_json(told_prospect(prospect))
    else:
        say_prospect(prospect, arguments.limit)
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
        with planning() as tell:
            found = await look(settings, pool, Mode(arguments.mode), selection, tell, planned=not arguments.yes)
        prospect = masked_prospect(found)
        code = unconfirmed(arguments, lambda: say_prospect(prospect, SHOWN), told_prospect(prospect))
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
        say_end(ended)
    return DONE if ended.status == "done" else FAILED


async def _resume_job(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        job, outcomes = await came_of(pool, arguments.job)
        if arguments.dry_run:
            say_job(job, outcomes, json=arguments.json)
            return DONE
        return await _work(settings, pool, arguments.job, arguments, resumed_by=operator_name(settings))


async def _pause_job(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        job, outcomes = await came_of(pool, arguments.job)
        if not arguments.dry_run:
            await pause(pool, arguments.job, operator_name(settings))
            job, outcomes = await came_of(pool, arguments.job)
        say_job(job, outcomes, json=arguments.json)
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
        say_job(job, outcomes, json=arguments.json)
    return DONE


async def _list_jobs(settings: Settings, arguments: argparse.Namespace) -> int:
    async with _database(settings) as pool:
        jobs = await newest(pool, arguments.limit)
    if arguments.json:
        say_json([told_job(job) for job in jobs])
    elif not jobs:
        say("no job")
    else:
        say_table(
            ("job", "mode", "status", "appended", "left", "to topic", "operator", "began"),
            [
                (
                    job.job,
                    job.mode,
                    job.standing,
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
    say_job(job, outcomes, json=arguments.json)
    return DONE
