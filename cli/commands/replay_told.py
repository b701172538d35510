"""What is printed of replays: what one would do, how far a job is, how it ended."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cli.terminal.output import say, say_json
from cli.terminal.tables import NOTHING, say_table
from operators.replay.jobs import Job, Mode
from operators.replay.overlay import Change
from operators.replay.preview import ReplayPlan, masked
from operators.replay.range import Stretch
from operators.replay.replays import Prospect
from operators.replay.reprocess import Ended
from schemas.times import format_time


def told_job(job: Job) -> dict[str, Any]:
    """Return a job as `--json` gives it."""
    return {
        **msgspec.to_builtins(job),
        "interrupted": job.interrupted,
        "waiting": job.waiting,
        "appended": job.appended,
        "passed_over": job.passed_over,
        "left": job.left,
    }


def say_job(job: Job, outcomes: dict[str, int], *, json: bool) -> None:
    """Print a job, and what came of its records so far."""
    if json:
        say_json({**told_job(job), "outcomes": outcomes})
        return
    say(f"{job.job}: {job.mode}, {job.standing}{f' ({job.detail})' if job.detail else ''}")
    say(f"begun by {job.operator} at {format_time(job.created_at)}, last moved at {format_time(job.updated_at)}")
    say(f"{job.appended} records appended, {job.passed_over} passed over, {job.left} offsets left")
    if job.mode is Mode.REPROCESS:
        say(f"applied: {_counts(outcomes)}")
    say_table(
        ("partition", "next offset", "until", "appended", "passed over"),
        [
            (each.partition, each.next_offset, each.until_offset, each.appended, each.passed_over)
            for each in job.positions
        ],
    )
    if job.waiting:
        say("a console that acts takes it up: WAYBILL_CONSOLE_WRITES=1")
    if job.interrupted or job.status in {"paused", "failed"}:
        say(f"`waybill replay resume {job.job}` goes on")


def say_end(ended: Ended) -> None:
    """Print how a run of a job ended."""
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


def masked_prospect(prospect: Prospect) -> Prospect:
    """Hide the personal data of what a replay would change."""
    plan = prospect.plan
    return msgspec.structs.replace(prospect, plan=masked(plan)) if isinstance(plan, ReplayPlan) else prospect


def told_prospect(prospect: Prospect) -> dict[str, Any]:
    """Return what a replay would do as `--json` gives it; without a plan, its range alone."""
    return {"mode": prospect.mode, "range": prospect.asked.range, **(msgspec.to_builtins(prospect.plan) or {})}


def say_prospect(prospect: Prospect, limit: int) -> None:
    """Print what a replay would do, at most `limit` of a kind."""
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
