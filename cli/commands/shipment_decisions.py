"""`waybill shipment set-status` and `waybill shipment erase`."""

import argparse
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from cli.exit_codes import DONE
from cli.operating import change
from cli.terminal.arguments import offer_json, why
from cli.terminal.consent import offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from operators.decisions.decide import (
    DecisionOutcome,
    decide,
    observation_of,
    predicted,
    write,
)
from operators.decisions.erasure import Erasure, forget_letters, what_goes
from operators.decisions.known_shipment import KnownShipment, known_shipment, load_movable
from operators.decisions.set_status import in_words, verdict_on
from operators.shared.operator_log import operator_name
from runtime.appending import open_appender
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings
from schemas.observation import Erase, SetStatus
from schemas.times import format_time
from schemas.topics import Topic
from schemas.vocabulary import Status


def offer(verbs: Any) -> None:
    """Offer the verbs of `waybill shipment` that change one."""
    set_status = verbs.add_parser("set-status", help="say what the shipment's status is, whatever the courier says")
    set_status.add_argument("shipment", metavar="S", help="its id, reference, order or AWB")
    set_status.add_argument("status", metavar="STATUS", type=str.upper, choices=[str(status) for status in Status])
    _offer_decision(set_status)
    set_status.set_defaults(command=partial(change, _set_status))

    erase = verbs.add_parser("erase", help="erase the shipment's personal data, and take in none any more")
    erase.add_argument("shipment", metavar="S", help="its id, reference, order or AWB")
    _offer_decision(erase)
    erase.set_defaults(command=partial(change, _erase))


def _offer_decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", required=True, type=why, metavar="TEXT", help="why; it is kept")
    offer_change(parser)
    offer_json(parser)


def came_of(came: DecisionOutcome) -> None:
    """Say what came of a decision."""
    if came.outcome is None:
        complain("appended, and not applied yet: it is applied as soon as a processor runs")
    elif came.event is None:
        say(came.outcome)
    else:
        event = came.event
        was = f" (was {event.previous_status})" if event.previous_status not in (None, event.status) else ""
        say(f"{event.type} {event.id}: {event.status}{was}")
        for anomaly in event.resolves:
            say(f"  settles {anomaly}")


async def _set_status(settings: Settings, arguments: argparse.Namespace) -> int:
    wanted = Status(arguments.status)
    async with await open_pool(settings, OPERATOR, 2) as pool:
        known = await known_shipment(pool, arguments.shipment)
        shipment, snapshot = await load_movable(pool, known)
        decision = SetStatus(
            shipment_id=known.shipment_id, by=operator_name(settings), reason=arguments.reason, status=wanted
        )
        command = write(known, decision)
        verdict = verdict_on(shipment, known.courier, observation_of(command[1]))
        said = in_words(snapshot, wanted, verdict)
        will = predicted(command[1], shipment, settings)

        def planned() -> None:
            _say_known(known)
            say(said)
            say(f"it would give {will.type}" if will else "no event would come of it")

        shown = {"shipment": known, "legal": verdict.accepted, "table": said, "predicted": will}
        value = {**shown, "dry_run": arguments.dry_run, "came": None}
        if (code := unconfirmed(arguments, planned, value)) is not None:
            return code
        async with open_appender(settings) as appender:
            came = await decide(pool, appender, command, decision, "shipment set-status")
    if arguments.json:
        say_json({**value, "came": came})
    else:
        came_of(came)
    return DONE


async def _erase(settings: Settings, arguments: argparse.Namespace) -> int:
    async with await open_pool(settings, OPERATOR, 2) as pool:
        known = await known_shipment(pool, arguments.shipment)
        goes = await what_goes(pool, settings, known)
        value = {"shipment": known, "erasure": goes, "dry_run": arguments.dry_run, "came": None}
        if (code := unconfirmed(arguments, lambda: _say_erasure(known, goes), value)) is not None:
            return code
        decision = Erase(shipment_id=known.shipment_id, by=operator_name(settings), reason=arguments.reason)
        async with open_appender(settings) as appender:
            came = await decide(pool, appender, write(known, decision), decision, "shipment erase")
        forgotten = await forget_letters(pool, known.shipment_id, settings.assumed_zone, decision.by)
    if arguments.json:
        say_json({**value, "came": {**msgspec.to_builtins(came), "dead_letters": forgotten}})
        return DONE
    came_of(came)
    if forgotten:
        say(f"{forgotten} stored dead letters have lost their bodies")
    return DONE


def _say_known(known: KnownShipment) -> None:
    if known.status is None:
        say(f"{known.shipment_id} has no status yet")
        return
    say(f"{known.shipment_id} ({known.courier} {known.service}) is {known.status}, version {known.version}")
    if known.erased_at is not None:
        say(f"its personal data was erased at {format_time(known.erased_at)}; none was taken in since")


def _say_erasure(known: KnownShipment, goes: Erasure) -> None:
    _say_known(known)
    say(f"personal data goes: {', '.join(goes.fields) or 'none is there'}")
    say(f"  from its row, {goes.observations} observations, {goes.events} stored events and {_state_topic()}")
    if goes.dead_letters:
        say(f"  {goes.dead_letters} stored dead letters about it lose their bodies")
    say("out of reach until its retention ends (Kafka lets whole segments go, up to segment.ms later):")
    for each in goes.beyond:
        say(f"  {each.topic} until {_until(each.until)}")


def _until(moment: datetime | None) -> str:
    return "it is deleted by hand: that topic keeps everything" if moment is None else format_time(moment)


def _state_topic() -> str:
    return str(Topic.STATE)
