"""`waybill anomalies`: what could not simply be applied, and what an operator makes of it."""

import argparse
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from cli.arguments import moment, offer_json, positive, why
from cli.consent import agreed, can_ask, offer_change
from cli.decisions import came_of
from cli.output import say, say_json
from cli.starting import DONE, FAILED, USAGE, operate
from cli.tables import say_table
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.vocabulary import AnomalyKind

if TYPE_CHECKING:
    from operators.anomalies import Standing
    from schemas.observation import Accept, Dismiss


def offer(commands: Any) -> None:
    """Offer `waybill anomalies` and its verbs."""
    anomalies = commands.add_parser("anomalies", help="what could not simply be applied: look, accept, dismiss")
    verbs = anomalies.add_subparsers(metavar="VERB", required=True)

    listed = verbs.add_parser("list", help="the open ones, newest first")
    listed.add_argument("--all", action="store_true", help="also those that are settled, accepted or dismissed")
    listed.add_argument(
        "--kind", action="append", default=[], choices=[str(kind) for kind in AnomalyKind], help="may be repeated"
    )
    listed.add_argument("--courier", action="append", default=[], choices=tuple(COURIERS), help="may be repeated")
    listed.add_argument("--since", type=moment, metavar="TIME", help="only since then (a time, or 2h, 3d ago)")
    listed.add_argument("--shipment", metavar="S", help="of one shipment: its id, order or AWB")
    listed.add_argument("--limit", type=positive, metavar="N", help="at most N")
    offer_json(listed)
    listed.set_defaults(command=_list)

    show = verbs.add_parser("show", help="one of them, and what can be done about it")
    show.add_argument("id")
    offer_json(show)
    show.set_defaults(command=_show)

    for verb, text in (
        ("accept", "make the refused observation count, whatever the table says"),
        ("dismiss", "mark it as needing nothing done"),
    ):
        decide = verbs.add_parser(verb, help=text)
        decide.add_argument("id")
        decide.add_argument("--reason", required=True, type=why, metavar="TEXT", help="why; it is kept")
        offer_change(decide)
        offer_json(decide)
        decide.set_defaults(command=_decide, verb=verb)


# The handlers import what they need when they run.


def _list(arguments: argparse.Namespace) -> int:
    return operate(lambda settings: _list_anomalies(settings, arguments))


def _show(arguments: argparse.Namespace) -> int:
    return operate(lambda settings: _show_anomaly(settings, arguments))


def _decide(arguments: argparse.Namespace) -> int:
    if not can_ask(arguments):
        return USAGE
    return operate(lambda settings: _decide_anomaly(settings, arguments))


async def _list_anomalies(settings: Settings, arguments: argparse.Namespace) -> int:
    from operators.anomalies import AnomalyState, Wanted, anomalies  # noqa: PLC0415
    from operators.decisions import known_shipment  # noqa: PLC0415
    from runtime.postgres import open_pool  # noqa: PLC0415

    found: list[Standing] = []
    async with await open_pool(settings, "operator", 2) as pool:
        shipment = None
        if arguments.shipment:
            async with pool.acquire() as connection:
                shipment = (await known_shipment(connection, arguments.shipment)).shipment_id
        wanted = Wanted(tuple(arguments.kind), tuple(arguments.courier), arguments.since, shipment)
        async with aclosing(anomalies(pool, wanted)) as all_:
            async for each in all_:
                if arguments.all or each.state is AnomalyState.OPEN:
                    found.append(each)
                if len(found) == arguments.limit:
                    break
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


async def _show_anomaly(settings: Settings, arguments: argparse.Namespace) -> int:
    from operators.anomalies import AnomalyState, find  # noqa: PLC0415
    from runtime.postgres import open_pool  # noqa: PLC0415

    async with await open_pool(settings, "operator", 2) as pool:
        standing = await find(pool, arguments.id)
    shown = _shown(standing) | {"remedy": _remedy(standing) if standing.state is AnomalyState.OPEN else None}
    if arguments.json:
        say_json(shown)
        return DONE
    for name, value in shown.items():
        if value is not None:
            say(f"{name:15} {msgspec.json.encode(value).decode() if isinstance(value, dict) else value}")
    return DONE


async def _decide_anomaly(settings: Settings, arguments: argparse.Namespace) -> int:
    from operators.anomalies import find  # noqa: PLC0415
    from operators.decisions import Known, decide, load, predicted, write  # noqa: PLC0415
    from operators.journal import operator_name  # noqa: PLC0415
    from runtime.appending import open_appender  # noqa: PLC0415
    from runtime.postgres import open_pool  # noqa: PLC0415

    async with await open_pool(settings, "operator", 2) as pool:
        standing = await find(pool, arguments.id)
        decision = _decision(standing, operator_name(settings), arguments)
        anomaly = standing.anomaly
        command = write(Known(anomaly.shipment_id, anomaly.courier, standing.account), decision)
        shipment = await load(pool, anomaly.shipment_id)
        will = predicted(command[1], shipment, settings) if shipment else None
        if not arguments.json:
            say(f"{anomaly.shipment_id} is {anomaly.status or 'without a status'}; {_said(standing)} was refused")
            say(f"it would give {will.type}, {will.status}" if will else "no event would come of it")
        if arguments.dry_run:
            if arguments.json:
                say_json({"dry_run": True, "anomaly": _shown(standing), "predicted": will, "came": None})
            return DONE
        if not (arguments.yes or agreed()):
            return FAILED
        async with open_appender(settings) as appender:
            came = await decide(pool, appender, command, decision, f"anomalies {arguments.verb}")
        after = await find(pool, arguments.id)
    if arguments.json:
        say_json({"dry_run": False, "anomaly": _shown(after), "predicted": will, "came": came})
        return DONE
    came_of(came)
    say(f"the anomaly is {after.state}")
    return DONE


def _decision(standing: "Standing", by: str, arguments: argparse.Namespace) -> "Accept | Dismiss":
    from operators.anomalies import INSTEAD, AnomalyState  # noqa: PLC0415
    from operators.errors import OperatorError  # noqa: PLC0415
    from schemas.observation import Accept, Dismiss  # noqa: PLC0415

    anomaly = standing.anomaly
    if standing.state is not AnomalyState.OPEN and (standing.state, arguments.verb) != ("dismissed", "accept"):
        raise OperatorError(f"{anomaly.id} is {standing.state}: nothing is to be decided")
    if arguments.verb == "dismiss":
        return Dismiss(shipment_id=anomaly.shipment_id, by=by, reason=arguments.reason, anomaly_id=anomaly.id)
    if anomaly.kind in INSTEAD:
        raise OperatorError(f"{anomaly.kind} cannot be accepted: {INSTEAD[anomaly.kind]}")
    if standing.record is None:
        raise OperatorError(f"what {anomaly.id} refused is not there any more: `waybill shipment set-status`")
    return Accept(
        shipment_id=anomaly.shipment_id,
        by=by,
        reason=arguments.reason,
        anomaly_id=anomaly.id,
        record=standing.record.hex(),
    )


def _said(standing: "Standing") -> str:
    observed = standing.anomaly.observed
    return f"{observed.courier_status} ({observed.status or 'no status'}) of {observed.occurred_at}"


def _remedy(standing: "Standing") -> str:
    from operators.anomalies import INSTEAD  # noqa: PLC0415

    return INSTEAD.get(standing.anomaly.kind, "`waybill anomalies accept` makes it count, `dismiss` leaves it refused")


def _shown(standing: "Standing") -> dict[str, Any]:
    return {"id": standing.anomaly.id, "state": standing.state, **msgspec.to_builtins(standing.anomaly)}
