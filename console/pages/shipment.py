"""`/shipments/ID`: one shipment with everything that is known of it."""

from typing import Any, Final

import msgspec

from console.page import Asked, Context, ForbiddenError, Page
from operators.requests.asking import AskRequest, Requests, in_words, requests_of
from operators.shared.operator_log import note
from operators.views.changes import FieldChange, changes
from operators.views.shipments import ShownObservation, ShownShipment, view
from schemas.couriers import COURIERS
from schemas.shipment_ids import parse_shipment_id
from schemas.times import format_time

OBSERVATIONS: Final = 200
"""Observations on one page, a line each; older ones follow on others."""

EVENTS: Final = 50
"""Events on one page, each with its JSON."""


class ShipmentQuery(msgspec.Struct, frozen=True):
    """`personal` shows personal data to those who may see it, and notes the look.

    `until` shows the observations before that place of the timeline, `events_until` the events up to that version.
    """

    personal: bool = False
    until: int | None = None
    events_until: int | None = None


class Step(msgspec.Struct, frozen=True):
    """A way that a parcel took, from status to status. `skipped` are those whose webhooks never came."""

    version: int
    before: str | None
    skipped: tuple[str, ...]
    status: str
    transition: str | None


class EventStep(msgspec.Struct, frozen=True):
    """An event as it was published, and what it changed since the one before it."""

    event: dict[str, Any]
    changes: list[FieldChange]


class AskLine(msgspec.Struct, frozen=True):
    """An operator's request that the courier is asked. `told` says how it stands; `ended_at` is null while it waits."""

    operator: str
    reason: str
    requested_at: str
    taken_at: str | None
    ended_at: str | None
    outcome: str | None
    told: str


class ShipmentPage(msgspec.Struct, frozen=True):
    """A shipment. `snapshot` is null while no webhook gave it a status.

    `observations` are those from number `observations_from` (0 being the first) of so many in all; `events` likewise.
    `asks` are the newest that operators asked for, the newest first; `ask_waits`: one of them is not answered yet.
    `may_ask`: its courier can be asked about it.
    """

    shipment_id: str
    courier: str
    account: str | None
    reference: str
    shows_personal: bool
    may_show_personal: bool
    snapshot: dict[str, Any] | None
    way: list[Step]
    observations: list[ShownObservation]
    observations_from: int
    observations_in_all: int
    events: list[EventStep]
    events_from: int
    events_in_all: int
    asks: list[AskLine] = []
    ask_waits: bool = False
    may_ask: bool = False


async def load(context: Context, query: ShipmentQuery, asked: Asked) -> ShipmentPage:
    """Return a shipment.

    Raises:
        ForbiddenError: personal data is asked for by somebody who may not see it.

    """
    if query.personal:
        require_personal(asked)
    pool = context.database.pool
    if query.personal:
        async with pool.acquire() as connection:
            await note(connection, asked.who.name, "console shipment, personal", {"shipment": asked.name})
    found = await view(pool, asked.name, show_personal=query.personal)
    account = parse_shipment_id(found.shipment_id).account
    requests = await requests_of(pool, found.shipment_id, account)
    return page_of(found, query, requests, sees_personal=asked.who.sees_personal)


def require_personal(asked: Asked) -> None:
    """Make sure that personal data may be shown.

    Raises:
        ForbiddenError: not to whoever asks, or not to the page that has led there.

    """
    if not asked.who.sees_personal:
        raise ForbiddenError("personal data is shown to those with the role personal only")
    if not asked.own_look:
        raise ForbiddenError("another site has led here: open the page yourself, then show personal data")


def page_of(found: ShownShipment, query: ShipmentQuery, requests: Requests, *, sees_personal: bool) -> ShipmentPage:
    """Return the part of a shipment that one page shows."""
    parts = parse_shipment_id(found.shipment_id)
    until = _end(query.until, found.observations)
    observations = found.observations[max(0, until - OBSERVATIONS) : until]
    steps = [
        EventStep(event, changes(before, event))
        for before, event in zip([None, *found.events], found.events, strict=False)
    ]
    events_until = _end(query.events_until, steps)
    events = steps[max(0, events_until - EVENTS) : events_until]
    return ShipmentPage(
        found.shipment_id,
        parts.courier,
        parts.account,
        parts.reference,
        shows_personal=query.personal,
        may_show_personal=sees_personal,
        snapshot=found.snapshot,
        way=way_of(found.events),
        observations=observations,
        observations_from=until - len(observations),
        observations_in_all=len(found.observations),
        events=events,
        events_from=events_until - len(events),
        events_in_all=len(steps),
        asks=[_ask(each, is_asking=requests.is_asking) for each in requests.newest],
        ask_waits=any(each.ended_at is None for each in requests.newest),
        may_ask=_may_ask(found.snapshot),
    )


def _ask(found: AskRequest, *, is_asking: bool) -> AskLine:
    return AskLine(
        found.operator,
        found.reason,
        format_time(found.requested_at),
        None if found.taken_at is None else format_time(found.taken_at),
        None if found.ended_at is None else format_time(found.ended_at),
        found.outcome,
        in_words(found, is_asking=is_asking),
    )


def _may_ask(snapshot: dict[str, Any] | None) -> bool:
    if snapshot is None or snapshot["retired_at"] is not None:
        return False
    courier = COURIERS.get(snapshot["courier"])
    return courier is not None and courier.tracking is not None


def way_of(events: list[dict[str, Any]]) -> list[Step]:
    """Return the steps by which events moved a shipment's status."""
    return [
        Step(each["version"], each["previous_status"], tuple(each["skipped"]), each["status"], each["transition"])
        for each in events
        if each["previous_status"] != each["status"] or each["transition"] is not None
    ]


def _end(asked: int | None, of: list[Any]) -> int:
    return len(of) if asked is None else max(0, min(asked, len(of)))


SHIPMENT = Page(
    "shipment",
    "/shipments/{name}",
    "Shipment",
    "One shipment: its snapshot, the way it took, every observation, every event with what it changed.",
    ShipmentQuery,
    ShipmentPage,
    load,
)
