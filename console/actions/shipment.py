"""Setting a shipment's status, erasing its personal data, having its courier asked: as `waybill shipment` does it."""

import msgspec

from console.actions.action import Action, Came, Order, Plan
from console.page import Asked, Context
from console.rendering import inside
from operators.decisions.decide import DecisionOutcome, decide, observation_of, predicted, write
from operators.decisions.erasure import forget_letters, what_goes
from operators.decisions.known_shipment import KnownShipment, known_shipment, load_movable
from operators.decisions.set_status import in_words, verdict_on
from operators.requests import asking
from operators.requests.asking import AskRequest
from runtime.appending import open_appender
from schemas.observation import Erase, SetStatus
from schemas.shipment_ids import parse_shipment_id
from schemas.times import format_time
from schemas.topics import Topic
from schemas.vocabulary import Status


class StatusChoice(msgspec.Struct, frozen=True):
    """Which shipment (its id, reference, order or AWB), and which status it is to have."""

    shipment: str
    status: Status


class ShipmentChoice(msgspec.Struct, frozen=True):
    """Which shipment: its id, reference, order or AWB."""

    shipment: str


async def look_at_status(context: Context, choice: StatusChoice, asked: Asked) -> Plan:
    """Say what setting a status would do, and what the courier's table says to it."""
    pool = context.database.pool
    known = await known_shipment(pool, choice.shipment)
    shipment, snapshot = await load_movable(pool, known)
    decision = SetStatus(shipment_id=known.shipment_id, by=asked.who.name, reason="a look", status=choice.status)
    _, record = write(known, decision)
    verdict = verdict_on(shipment, known.courier, observation_of(record))
    will = predicted(record, shipment, context.settings)
    gives = f"it would give {will.type}" if will else "no event would come of it"
    return Plan((*_said(known), in_words(snapshot, choice.status, verdict), gives), possible=True, event=will)


async def set_status(context: Context, choice: StatusChoice, asked: Asked, order: Order) -> Came:
    """Set a shipment's status."""
    pool = context.database.pool
    known = await known_shipment(pool, choice.shipment)
    await load_movable(pool, known)
    decision = SetStatus(shipment_id=known.shipment_id, by=asked.who.name, reason=order.reason, status=choice.status)
    async with open_appender(context.settings) as appender:
        came = await decide(pool, appender, write(known, decision, order.command_id), decision, "shipment set-status")
    return _came(came)


async def look_at_erasure(context: Context, choice: ShipmentChoice, _asked: Asked) -> Plan:
    """Say what an erasure reaches, what it does not, and the event that would come of it."""
    pool = context.database.pool
    known = await known_shipment(pool, choice.shipment)
    goes = await what_goes(pool, context.settings, known)
    told = [
        *_said(known),
        f"personal data goes: {', '.join(goes.fields) or 'none is there'}",
        f"from its row, {goes.observations} observations, {goes.events} stored events and {Topic.STATE}",
        *([f"{goes.dead_letters} stored dead letters about it lose their bodies"] if goes.dead_letters else []),
        "out of reach until its retention ends (Kafka lets whole segments go, up to segment.ms later):",
    ]
    for each in goes.beyond:
        until = "until it is deleted by hand" if each.until is None else f"until {format_time(each.until)}"
        told.append(f"{each.topic} {until}")
    return Plan(tuple(told), possible=True)


async def erase(context: Context, choice: ShipmentChoice, asked: Asked, order: Order) -> Came:
    """Erase a shipment's personal data, also from stored dead letters about it."""
    pool, settings = context.database.pool, context.settings
    known = await known_shipment(pool, choice.shipment)
    decision = Erase(shipment_id=known.shipment_id, by=asked.who.name, reason=order.reason)
    async with open_appender(settings) as appender:
        came = await decide(pool, appender, write(known, decision, order.command_id), decision, "shipment erase")
    forgotten = await forget_letters(pool, known.shipment_id, settings.assumed_zone, decision.by)
    return _came(came, *([f"{forgotten} stored dead letters have lost their bodies"] if forgotten else []))


async def look_at_ask(context: Context, choice: ShipmentChoice, _asked: Asked) -> Plan:
    """Say what would be asked, of whom, and what the courier said last."""
    pool = context.database.pool
    prospect = await asking.look(pool, choice.shipment)
    known = prospect.shipment
    told = [
        *_said(known),
        f"{known.courier} would be asked what it knows of {parse_shipment_id(known.shipment_id).reference}",
        "what was not known of its answer is appended as raw records",
        asking.last_in_words(prospect),
    ]
    if not prospect.is_asking:
        told.append("no `waybill reconcile` runs: it waits until one does")
    if (waits := prospect.waiting) is not None:
        told.append(f"{waits.operator} asked for it at {format_time(waits.requested_at)}")
        told.append(asking.in_words(waits, is_asking=prospect.is_asking))
    return Plan(tuple(told), possible=prospect.waiting is None)


async def ask(context: Context, choice: ShipmentChoice, asked: Asked, order: Order) -> Came:
    """Have the reconcile service ask a shipment's courier, and wait a moment for the answer."""
    pool = context.database.pool
    prospect = await asking.look(pool, choice.shipment)
    request = await asking.request(pool, prospect, asked.who.name, order.reason, order.command_id)
    if prospect.is_asking:
        request = await asking.answered(pool, request)
    return Came(_asked_in_words(request, is_asking=prospect.is_asking), whole=request.ended_at is not None)


def _asked_in_words(request: AskRequest, *, is_asking: bool) -> tuple[str, ...]:
    """Say how a request stands that was asked for just now."""
    told = asking.in_words(request, is_asking=is_asking)
    return (told,) if request.ended_at is not None else (told, "the shipment's page shows the answer when it is there")


def _said(known: KnownShipment) -> list[str]:
    if known.status is None:
        return [f"{known.shipment_id} has no status yet"]
    told = [f"{known.shipment_id} ({known.courier} {known.service}) is {known.status}, version {known.version}"]
    if known.erased_at is not None:
        told.append(f"its personal data was erased at {format_time(known.erased_at)}; none was taken in since")
    return told


def _came(came: DecisionOutcome, *more: str) -> Came:
    said = came.outcome or "appended, and not applied yet: it is applied as soon as a processor runs"
    return Came((said, *more), came.outcome is not None, came.event)


def _back(choice: StatusChoice | ShipmentChoice) -> str:
    return inside("/shipments", choice.shipment)


SET_STATUS = Action(
    "set-status",
    "Set a shipment's status",
    "Says what a shipment's status is, whatever its courier says.",
    StatusChoice,
    look_at_status,
    set_status,
    _back,
)

ERASE = Action(
    "erase",
    "Erase a shipment's personal data",
    "Erases a shipment's personal data, and takes in none any more.",
    ShipmentChoice,
    look_at_erasure,
    erase,
    _back,
)

ASK = Action(
    "ask",
    "Ask the courier",
    "Has the reconcile service, which has the couriers' keys and keeps their limits, ask about a shipment now.",
    ShipmentChoice,
    look_at_ask,
    ask,
    _back,
)
