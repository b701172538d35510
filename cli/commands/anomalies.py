"""`waybill anomalies`: what could not simply be applied, and what an operator makes of it."""

import argparse
from collections import Counter
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import msgspec

from cli.commands.shipment_decisions import came_of
from cli.exit_codes import DONE, FAILED, USAGE
from cli.operating import change, operate
from cli.terminal.arguments import LISTED, moment, most_listed, offer_json, positive, why
from cli.terminal.consent import offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from cli.terminal.tables import say_table
from operators.decisions.anomalies import (
    AT_ONCE,
    Chosen,
    Standing,
    Wanted,
    anomalies,
    choose,
    decision_on,
    find,
    remedy,
)
from operators.decisions.decide import (
    decide,
    decide_all,
    predicted,
    write,
)
from operators.decisions.known_shipment import KnownShipment, load
from operators.shared.errors import OperatorError
from operators.shared.finding import find_shipment
from operators.shared.operator_log import operator_name
from processor.core.anomaly_states import AnomalyState
from runtime.appending import open_appender
from runtime.postgres import OPERATOR, Pool, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.vocabulary import AnomalyKind

SHOWN: Final = 20
"""Kinds and words that are listed before it is asked."""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    listed = verbs.add_parser("list", help="the open ones, newest first")
    listed.add_argument("--all", action="store_true", help="also those that are settled, accepted or dismissed")
    _offer_filters(listed, f" (default: {LISTED}; with --json all)")
    listed.add_argument("--shipment", metavar="S", help="of one shipment: its id, reference, order or AWB")
    offer_json(listed)
    listed.set_defaults(command=partial(operate, _list))

    show = verbs.add_parser("show", help="some of them, and what can be done about each")
    show.add_argument("ids", metavar="ID", nargs="+")
    offer_json(show)
    show.set_defaults(command=partial(operate, _show))

    for verb, text in (
        ("accept", "make the refused observation count, whatever the table says"),
        ("dismiss", "mark it as needing nothing done"),
    ):
        decide = verbs.add_parser(verb, help=text)
        decide.add_argument(
            "ids", metavar="ID", nargs="*", help="an anomaly; none: all open ones that the options name"
        )
        _offer_filters(decide)
        decide.add_argument("--reason", required=True, type=why, metavar="TEXT", help="why; it is kept")
        offer_change(decide)
        offer_json(decide)
        decide.set_defaults(command=_decide, verb=verb)


def _offer_filters(parser: argparse.ArgumentParser, usual: str = "") -> None:
    kinds = [str(kind) for kind in AnomalyKind]
    parser.add_argument("--kind", action="append", default=[], choices=kinds, help="may be repeated")
    parser.add_argument("--courier", action="append", default=[], choices=tuple(COURIERS), help="may be repeated")
    parser.add_argument(
        "--courier-status", action="append", default=[], metavar="W", help="the courier's word; may be repeated"
    )
    parser.add_argument("--since", type=moment, metavar="TIME", help="only since then (a time, or 2h, 3d ago)")
    parser.add_argument("--limit", type=positive, metavar="N", help=f"at most N, the newest{usual}")


def _wanted(arguments: argparse.Namespace, shipment: str | None = None) -> Wanted:
    return Wanted(
        tuple(arguments.kind), tuple(arguments.courier), tuple(arguments.courier_status), arguments.since, shipment
    )


def _decide(arguments: argparse.Namespace) -> int:
    chosen = (arguments.ids, arguments.kind, arguments.courier, arguments.courier_status, arguments.since)
    if not any(chosen):
        complain("which anomalies? Give their ids, or --kind, --courier, --courier-status or --since")
        return USAGE
    return change(_decide_chosen, arguments)


async def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    found: list[Standing] = []
    limit = most_listed(arguments)
    async with await open_pool(settings, OPERATOR, 2) as pool:
        shipment = await find_shipment(pool, arguments.shipment) if arguments.shipment else None
        async with aclosing(anomalies(pool, _wanted(arguments, shipment))) as all_:
            async for each in all_:
                if arguments.all or each.state is AnomalyState.OPEN:
                    found.append(each)
                if len(found) == limit:
                    break
    if len(found) == limit:
        complain(f"there may be more: --limit {limit}")
    if arguments.json:
        say_json([_shown(each) for each in found])
        return DONE
    if not found:
        say("no anomaly" if arguments.all else "no open anomaly")
        return DONE
    say_table(
        ("recorded", "state", "kind", "status", "courier's word", "id"),
        [
            (told.recorded_at, each.state, told.kind, told.status, told.courier_status, told.id)
            for each in found
            for told in [each.anomaly]
        ],
    )
    return DONE


async def _show(settings: Settings, arguments: argparse.Namespace) -> int:
    async with await open_pool(settings, OPERATOR, 2) as pool:
        found = [await find(pool, each) for each in arguments.ids]
    shown = [_shown(each) | {"remedy": remedy(each)} for each in found]
    if arguments.json:
        say_json(shown if len(shown) > 1 else shown[0])
        return DONE
    for number, each in enumerate(shown):
        if number:
            say("")
        for name, value in each.items():
            if value is not None:
                say(f"{name:15} {msgspec.json.encode(value).decode() if isinstance(value, dict) else value}")
    return DONE


async def _decide_chosen(settings: Settings, arguments: argparse.Namespace) -> int:
    accepting = arguments.verb == "accept"
    async with await open_pool(settings, OPERATOR, 2) as pool:
        limit = arguments.limit or AT_ONCE
        chosen = await choose(pool, arguments.ids, _wanted(arguments), limit, accepting=accepting)
        if arguments.ids and chosen.passed:
            raise OperatorError(f"{chosen.passed[0].id}: {chosen.passed[0].why}")
        if len(arguments.ids) == 1 and chosen.standing:
            return await _decide_one(settings, pool, chosen.standing[0], arguments)
        return await _decide_many(settings, pool, chosen, arguments)


async def _decide_one(settings: Settings, pool: Pool, standing: Standing, arguments: argparse.Namespace) -> int:
    decision = decision_on(standing, operator_name(settings), arguments.reason, accepting=arguments.verb == "accept")
    anomaly = standing.anomaly
    command = write(KnownShipment(anomaly.shipment_id, anomaly.courier, standing.account), decision)
    shipment = await load(pool, anomaly.shipment_id)
    will = predicted(command[1], shipment, settings) if shipment else None

    def planned() -> None:
        say(f"{anomaly.shipment_id} is {anomaly.status or 'without a status'}; {_said(standing)} was refused")
        say(f"it would give {will.type}, {will.status}" if will else "no event would come of it")

    value = {"dry_run": arguments.dry_run, "anomaly": _shown(standing), "predicted": will, "came": None}
    if (code := unconfirmed(arguments, planned, value)) is not None:
        return code
    async with open_appender(settings) as appender:
        came = await decide(pool, appender, command, decision, f"anomalies {arguments.verb}")
    after = await find(pool, anomaly.id)
    if arguments.json:
        say_json({**value, "anomaly": _shown(after), "came": came})
        return DONE
    came_of(came)
    say(f"the anomaly is {after.state}")
    return DONE


async def _decide_many(settings: Settings, pool: Pool, chosen: Chosen, arguments: argparse.Namespace) -> int:
    shown = [_shown(each) for each in chosen.standing]
    value = {"dry_run": arguments.dry_run, "anomalies": shown, "passed_over": chosen.passed, "came": None}
    code = unconfirmed(arguments, lambda: _say_chosen(chosen, arguments), value, anything=bool(chosen.standing))
    if code is not None:
        return code
    by, accepting = operator_name(settings), arguments.verb == "accept"
    decided = []
    for each in chosen.standing:
        decision = decision_on(each, by, arguments.reason, accepting=accepting)
        known = KnownShipment(each.anomaly.shipment_id, each.anomaly.courier, each.account)
        decided.append((write(known, decision), decision))
    async with open_appender(settings) as appender:
        came = await decide_all(pool, appender, decided, f"anomalies {arguments.verb}")
    if arguments.json:
        say_json({**value, "came": came})
    else:
        say(f"{arguments.verb}ed: {', '.join(f'{count} {what}' for what, count in sorted(came.items())) or 'none yet'}")
    if left := len(chosen.standing) - sum(came.values()):
        complain(f"{left} are not applied yet: run this again when a processor runs")
        return FAILED
    return DONE


def _say_chosen(chosen: Chosen, arguments: argparse.Namespace) -> None:
    words = Counter((each.anomaly.courier, each.anomaly.kind, each.anomaly.courier_status) for each in chosen.standing)
    say(f"{len(chosen.standing)} anomalies to {arguments.verb}")
    for (courier, kind, word), count in words.most_common(SHOWN):
        say(f"  {count} of {courier}: {kind}, {word}")
    if len(words) > SHOWN:
        say(f"  … and {len(words) - SHOWN} more words: --dry-run --json shows all")
    for reason, count in Counter(each.why for each in chosen.passed).items():
        say(f"  {count} passed over: {reason}")
    if len(chosen.standing) == (arguments.limit or AT_ONCE):
        complain(f"there may be more: --limit {len(chosen.standing)}")


def _said(standing: Standing) -> str:
    observed = standing.anomaly.observed
    return f"{observed.courier_status} ({observed.status or 'no status'}) of {observed.occurred_at}"


def _shown(standing: Standing) -> dict[str, Any]:
    return {"id": standing.anomaly.id, "state": standing.state, **msgspec.to_builtins(standing.anomaly)}
