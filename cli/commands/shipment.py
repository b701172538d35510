"""`waybill shipment`: looking at shipments. What changes them is in `shipment_decisions.py`
and `shipment_ask.py`."""

import argparse
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec

from cli.commands import shipment_ask, shipment_decisions
from cli.exit_codes import DONE
from cli.operating import operate
from cli.terminal.arguments import length, offer_json, offer_personal, positive
from cli.terminal.output import complain, say, say_json
from cli.terminal.several import say_several
from cli.terminal.tables import say_table, short_time
from operators.shared.errors import SeveralError
from operators.shared.finding import find_shipment
from operators.shared.operator_log import note, operator_name
from operators.views.shipments import Listed, ShownObservation, ShownShipment, newest, stale, view
from runtime.postgres import OPERATOR, Pool, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.vocabulary import Status

LIMIT: Final = 100
"""How many shipments are listed unless told otherwise: a few screens."""

_HIDDEN: Final = ("shipment_id", "personal")


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    show = verbs.add_parser("show", help="one shipment: snapshot, every observation, every event")
    show.add_argument("shipment", metavar="S", help="its id, reference, order or AWB")
    offer_personal(show)
    offer_json(show)
    show.set_defaults(command=partial(operate, _show))

    listing = verbs.add_parser(
        "list", help="those that changed last, newest last; with --stale-for those silent longest, first"
    )
    listing.add_argument(
        "--status",
        type=_statuses,
        action="extend",
        metavar="STATUS",
        help="only these, comma-separated; may be repeated",
    )
    listing.add_argument("--courier", choices=tuple(COURIERS), help="only this courier's")
    listing.add_argument(
        "--stale-for",
        type=length,
        metavar="DURATION",
        help="only those that are not final and have had no event for so long, such as 6h or 3d",
    )
    listing.add_argument("--limit", type=positive, default=LIMIT, metavar="N", help=f"how many (default: {LIMIT})")
    offer_json(listing)
    listing.set_defaults(command=partial(operate, _list))

    shipment_decisions.offer(verbs)
    shipment_ask.offer(verbs)


def _statuses(text: str) -> list[str]:
    words = [word.strip().upper() for word in text.split(",")]
    for word in words:
        if word not in Status.__members__:
            raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(Status)}")
    return words


async def _show(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print a shipment."""
    async with await open_pool(settings, OPERATOR, 2) as pool:
        try:
            shipment_id = await find_shipment(pool, arguments.shipment)
        except SeveralError as error:
            if arguments.json:
                ids = [each.shipment_id for each in error.matches]
                say_json([await _view(settings, pool, each, arguments) for each in ids])
            else:
                say_several(error)
            return DONE
        found = await _view(settings, pool, shipment_id, arguments)
    if arguments.json:
        say_json(found)
    else:
        _tell(found)
    return DONE


async def _view(settings: Settings, pool: Pool, shipment_id: str, arguments: argparse.Namespace) -> ShownShipment:
    if arguments.show_personal:
        async with pool.acquire() as connection:
            detail = {"shipment": shipment_id}
            await note(connection, operator_name(settings), "shipment show --show-personal", detail)
    return await view(pool, shipment_id, show_personal=arguments.show_personal)


async def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print a list of shipments."""
    which = (arguments.status, arguments.courier, arguments.limit)
    async with await open_pool(settings, OPERATOR, 1) as pool, pool.acquire() as connection:
        if arguments.stale_for is None:
            found = await newest(connection, *which)
        else:
            found = await stale(connection, *which, datetime.now(UTC) - arguments.stale_for)
    if arguments.json:
        say_json(found)
        return DONE
    say_table(
        ("shipment", "service", "status", "version", "occurred", "changed", "remarks"),
        [
            (
                each.shipment_id,
                each.service,
                each.status,
                each.version,
                short_time(each.occurred_at),
                short_time(each.updated_at),
                _remark(each),
            )
            for each in found
        ],
    )
    if len(found) == arguments.limit:
        complain(f"there may be more: --limit {arguments.limit}")
    return DONE


def _remark(listed: Listed) -> str | None:
    words = [word for word, at in (("erased", listed.erased_at), ("retired", listed.retired_at)) if at]
    return ", ".join(words) or None


def _tell(found: ShownShipment) -> None:
    say(found.shipment_id)
    snapshot = found.snapshot
    if snapshot is None:
        say("  no status yet: nothing it was told of has one")
    else:
        if snapshot["retired_at"]:
            say(f"  retired at {snapshot['retired_at']}: its history was given up after long silence")
        if snapshot["erased_at"]:
            say(f"  erased at {snapshot['erased_at']}: its personal data is gone, and none is taken in")
        for name, value in _told(snapshot | (snapshot["personal"] or {})):
            say(f"  {name:18}  {value if isinstance(value, str) else msgspec.json.encode(value).decode()}")
    if found.observations:
        say("")
        say("observations, in the order they were applied")
        say_table(_OBSERVATION, [_observation(each) for each in found.observations])
    if found.events:
        say("")
        say("events")
        say_table(_EVENT, [_event(each) for each in found.events])


def _told(snapshot: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in snapshot.items() if name not in _HIDDEN and value not in (None, [])]


_OBSERVATION: Final = (
    "received",
    "occurred",
    "said",
    "status",
    "source",
    "outcome",
    "counts",
    "raw",
    "replay of",
    "why",
)
_EVENT: Final = ("version", "type", "status", "transition", "skipped", "recorded", "raw")
_COUNTS: Final = {True: "accepted", False: "refused", None: None}


def _observation(each: ShownObservation) -> tuple[object, ...]:
    decided = each.decided
    about = f"{each.anomaly_kind} {each.anomaly}" if each.anomaly else f"{each.outcome} v{each.version}"
    guessed = "" if each.occurred_at_source == "courier" else f" ({each.occurred_at_source})"
    return (
        short_time(each.received_at),
        f"{short_time(each.occurred_at)}{guessed}",
        each.courier_status,
        each.status,
        each.source,
        about if each.anomaly or each.version else each.outcome,
        _COUNTS[each.counts],
        each.raw if not each.incarnation else f"{each.raw} of log {each.incarnation}",
        each.replay_of,
        decided and f"{decided.by}: {decided.reason}{f' ({decided.anomaly})' if decided.anomaly else ''}",
    )


def _event(event: dict[str, Any]) -> tuple[object, ...]:
    before, status = event["previous_status"], event["status"]
    return (
        event["version"],
        event["type"].removeprefix("shipment."),
        status if before in {None, status} else f"{before} → {status}",
        event["transition"],
        ", ".join(event["skipped"]) or None,
        short_time(event["recorded_at"]),
        f"{event['raw']['partition']}:{event['raw']['offset']}",
    )
