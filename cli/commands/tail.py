"""`waybill tail`."""

import argparse
from contextlib import aclosing
from datetime import datetime
from typing import Final

import msgspec

from cli.exit_codes import DONE, USAGE
from cli.operating import operate
from cli.terminal.arguments import moment, offer_json, offer_personal
from cli.terminal.output import complain, say, say_json_line
from operators.shared.finding import find_shipment, is_id
from operators.shared.operator_log import note, operator_name
from operators.views.tail import Choice, Edge, ShownRecord, follow
from operators.views.told_records import told
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.topics import Topic

TOPICS: Final = {
    "events": Topic.EVENTS,
    "state": Topic.STATE,
    "anomalies": Topic.ANOMALIES,
    "dlq": Topic.DEAD_LETTERS,
    "raw": Topic.RAW,
}


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.add_argument("--topic", choices=TOPICS, default="events", help="which one (default: events)")
    parser.add_argument(
        "--since",
        type=_since,
        default="latest",
        metavar="earliest|latest|TIME",
        help="where to begin: a time is RFC 3339, or a duration ago such as 2h (default: latest)",
    )
    parser.add_argument("--shipment", metavar="S", help="only this one, by id, reference, order or AWB")
    parser.add_argument("--courier", choices=tuple(COURIERS), help="only this courier's")
    parser.add_argument(
        "--type",
        metavar="T",
        help="only this: an event's type, an anomaly's kind, a dead letter's reason, a raw source",
    )
    parser.add_argument("--until-end", action="store_true", help="stop at the end that the topic has now")
    offer_personal(parser)
    offer_json(parser)
    parser.set_defaults(command=_tail)


def _since(text: str) -> datetime | str:
    return text if text in {"earliest", "latest"} else moment(text)


def _tail(arguments: argparse.Namespace) -> int:
    if arguments.topic == "state" and arguments.type:
        complain("a state has no type: leave --type out, or take --topic events")
        return USAGE
    try:
        return operate(_follow, arguments)
    except KeyboardInterrupt:
        return DONE


async def _follow(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print records as they come, until the end if that is asked for."""
    choice = await _choice(settings, arguments)
    async with aclosing(follow(settings, choice, complain)) as records:
        async for shown in records:
            if arguments.json:
                say_json_line(shown)
            else:
                say(line(shown, choice))
    return DONE


async def _choice(settings: Settings, arguments: argparse.Namespace) -> Choice:
    shipment = arguments.shipment
    if arguments.show_personal or (shipment is not None and not is_id(shipment)):
        async with await open_pool(settings, OPERATOR, 1) as pool:
            shipment = shipment and await find_shipment(pool, shipment, known=False)
            if arguments.show_personal:
                detail = {"topic": arguments.topic, "since": str(arguments.since), "shipment": shipment}
                async with pool.acquire() as connection:
                    await note(connection, operator_name(settings), "tail --show-personal", detail)
    since = arguments.since
    return Choice(
        topic=TOPICS[arguments.topic],
        since=since if isinstance(since, datetime) else Edge(since),
        shipment=shipment,
        courier=arguments.courier,
        type=arguments.type,
        until_end=arguments.until_end,
        show_personal=arguments.show_personal,
    )


def line(shown: ShownRecord, choice: Choice) -> str:
    """Write a record in a line."""
    value = shown.value if isinstance(shown.value, dict) else {}
    parts = ["  ".join(told(choice.topic, shown))]
    if choice.show_personal and "personal" in value:
        parts.append(msgspec.json.encode(value["personal"]).decode())
    return "  ".join([shown.timestamp, shown.key or "(no key)", *parts, f"at {shown.partition}:{shown.offset}"])
