"""`waybill reconcile`: couriers are asked about silent shipments; and the report of what webhooks left out."""

import argparse
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from cli.exit_codes import DONE, FAILED, USAGE
from cli.operating import operate
from cli.signals import until_signalled
from cli.starting import start
from cli.terminal.arguments import moment, offer_json
from cli.terminal.output import complain, say, say_json
from cli.terminal.reconcile_progress import shown
from cli.terminal.tables import say_table
from operators.shared.finding import find_shipment
from reconcile.api import couriers_asked, lacking, required
from reconcile.asking import Ended
from reconcile.drift import Report, report
from reconcile.service import ask_once, list_due, run
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.times import format_time

REPORT_SINCE: Final = "24h"


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.description = "Without --once it runs until it is stopped."
    parser.add_argument("--once", action="store_true", help="ask about everybody who is due now, and exit")
    parser.add_argument("--shipment", metavar="S", help="ask about this one now, due or not, and exit")
    parser.add_argument("--courier", choices=sorted(_askable()), help="ask only this courier")
    parser.add_argument("--dry-run", action="store_true", help="only list who would be asked about")
    offer_json(parser)
    parser.set_defaults(command=_reconcile)
    verbs = parser.add_subparsers(metavar="VERB")
    report = verbs.add_parser("report", help="which webhooks never came, how late they are, what was healed")
    report.add_argument("--since", type=moment, default=REPORT_SINCE, metavar="TIME", help=f"default {REPORT_SINCE}")
    offer_json(report)
    report.set_defaults(command=partial(operate, _report))


def _askable() -> tuple[str, ...]:
    return tuple(name for name, courier in COURIERS.items() if courier.tracking)


def _reconcile(arguments: argparse.Namespace) -> int:
    settings = start()
    couriers = couriers_asked(settings)
    wanted = (arguments.courier,) if arguments.courier else _askable()
    chosen = tuple(courier for courier in couriers if courier in wanted)
    if not chosen:
        needed = " or ".join(" and ".join(lacking(settings, courier)) for courier in wanted)
        complain(f"{arguments.courier or 'no courier'} can{'not' if arguments.courier else ''} be asked: set {needed}")
        return USAGE
    for courier in wanted:
        if courier not in chosen and len(missing := lacking(settings, courier)) < len(required(courier)):
            complain(f"{courier} is not asked: {' and '.join(missing)} not set")
    if arguments.dry_run:
        return operate(lambda settings, arguments: _list(settings, chosen, arguments), arguments)
    if arguments.once or arguments.shipment:
        return operate(lambda settings, arguments: _once(settings, chosen, arguments), arguments)
    return run(settings, chosen)


async def _list(settings: Settings, couriers: tuple[str, ...], arguments: argparse.Namespace) -> int:
    name = await _named(settings, arguments)
    found = [due async for due in list_due(settings, couriers) if name in (None, due.shipment_id)]
    if arguments.json:
        say_json({"due": found})
        return DONE
    rows = [
        (due.shipment_id, due.status, format_time(due.silent_since), due.asked_at and format_time(due.asked_at))
        for due in found
    ]
    say_table(("shipment", "status", "silent since", "last asked"), rows)
    say(f"{len(found)} shipments would be asked about")
    return DONE


async def _once(settings: Settings, couriers: tuple[str, ...], arguments: argparse.Namespace) -> int:
    name = await _named(settings, arguments)
    with until_signalled() as stop, shown() as tell:
        ended = await ask_once(settings, couriers, stop, tell, name)
    if arguments.json:
        say_json({**msgspec.to_builtins(ended), "total": ended.total})
    else:
        _say_ended(ended)
    return DONE if ended.is_whole and not stop.is_set() else FAILED


async def _named(settings: Settings, arguments: argparse.Namespace) -> str | None:
    """Return the id of the shipment that was named, if one was."""
    if arguments.shipment is None:
        return None
    async with await open_pool(settings, OPERATOR, 1) as pool:
        return await find_shipment(pool, arguments.shipment)


def _say_ended(ended: Ended) -> None:
    headings = ("courier", "due", "asked", "news", "no news", "not found", "throttled", "failed", "refused", "appended")
    counts = {**ended.counts, "total": ended.total}
    rows = [
        (courier, ended.due.get(courier, sum(ended.due.values())), *msgspec.structs.astuple(count))
        for courier, count in counts.items()
    ]
    say_table(headings, rows)
    for courier, why in ended.given_up.items():
        complain(f"{courier} was not asked about all of them: {why}")


async def _report(settings: Settings, arguments: argparse.Namespace) -> int:
    async with await open_pool(settings, OPERATOR, 1) as pool:
        found = await report(pool, arguments.since, datetime.now(UTC))
    if arguments.json:
        say_json(found)
    else:
        _say_report(found)
    return DONE


def _say_report(found: Report) -> None:
    say(f"recorded since {format_time(found.since)}")
    say("")
    say_table(
        ("courier", "status", "shipments", "only by pull"),
        [(told.courier, told.status, told.shipments, told.only_by_pull) for told in found.statuses],
    )
    say("")
    say_table(
        ("courier", "webhooks", "late p50 s", "p90 s", "p99 s"),
        [(late.courier, late.webhooks, late.p50, late.p90, late.p99) for late in found.lateness],
    )
    say("")
    say_table(("courier", "shipments healed"), [(each.courier, each.shipments) for each in found.healed])
