"""One delivery as Dash tells it: the same envelope for every status, for webhooks and for answers of Get Delivery.

Source: dash-webhooks.txt ("Event payload reference"); facts.md ("Dash") for what public integrations add.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from schemas.couriers.base import Courier, check_reference
from schemas.couriers.reading import (
    MAX_AMOUNT,
    MAX_COUNT,
    MAX_PROOFS,
    MAX_TEXT,
    MAX_URL,
    RUPIAH,
    amount,
    clock,
    count,
    driver,
    identifier,
    members_of,
    observe,
    string,
    text,
    url,
)
from schemas.observation import Charges, Details, Driver, Observation, Proof
from schemas.records import Provenance, UnreadableError
from schemas.times import read_time
from schemas.tolerant_json import digest_of_bytes, is_plain, load
from schemas.vocabulary import DeadLetterReason, Service, Status

STATUSES: Final[dict[str, Status | None]] = {
    "QUEUEING": Status.CREATED,
    "PREPARING": Status.CREATED,
    "ALLOCATING": Status.ALLOCATING,
    "VERIFIED": Status.VERIFIED,
    "NOT_VERIFIED": Status.NOT_VERIFIED,
    "PENDING_PICKUP": Status.PENDING_PICKUP,
    "PICKING_UP": Status.PICKING_UP,
    "PENDING_DELIVERY": Status.PENDING_DELIVERY,
    "IN_DELIVERY": Status.IN_DELIVERY,
    "FAILED": Status.FAILED,
    "COMPLETED": Status.DELIVERED,
    "CANCELLED": Status.CANCELLED,
    # The rest is not in the document: Dash's own state machine has it (facts.md, "Dash").
    "PENDING_PICKING_UP": Status.PENDING_PICKUP,  # LOGISTIC's reassignment
    "PENDING_RETURN": Status.RETURNING,
    "IN_RETURN": Status.RETURNING,
    "RETURNED": Status.RETURNED,
    "EXPIRED": Status.CANCELLED,  # no driver was found
    "DISPOSED": Status.DISPOSED,
    # These say nothing about the state. Those that begin with ARRIVED are set by the driver's position.
    "PENDING_PAYMENT": None,
    "ON_HOLD": None,
    "FAILED_IN_RETURN": None,
    "RETURN_TO_HUB": None,
    "ARRIVED_AT_PICKUP_POINT": None,
    "ARRIVED_AT_DESTINATION": None,
    "ARRIVED_AT_RETURN_POINT": None,
    "ARRIVED_AT_HUB": None,
}
"""Dash's words. dash-webhooks.txt, "Payload by status"."""

EXPRESS_WORDS: Final = frozenset({"ALLOCATING", "PICKING_UP"})
LOGISTIC_WORDS: Final = frozenset({"PREPARING", "VERIFIED", "NOT_VERIFIED", "PENDING_PICKING_UP"})

EXPRESS_HINTS: Final = frozenset({"QUEUEING", "PENDING_PICKUP", "CANCELLED", "EXPIRED"})
"""Words that the document shows for EXPRESS, and Dash's own state machine has in both services."""

MARKED_WORDS: Final = frozenset({"PENDING_DELIVERY", "IN_DELIVERY", "COMPLETED", "FAILED"})
"""Words whose EXPRESS bodies always carry a mark: one without any hints at LOGISTIC."""

OWN_TIMES: Final = {"COMPLETED": "completedAt", "FAILED": "failedAt", "CANCELLED": "cancelledAt"}
"""A word's own time. dash-webhooks.txt, "Field reference": present only on that status."""

REASONS: Final = {"FAILED": "failedReason", "CANCELLED": "cancelledReason"}


_Services = tuple[tuple[Service, ...], tuple[Service, ...]]
"""Which services a body proves, and which it speaks for without proving them."""

_NO_SERVICES: Final[_Services] = ((), ())


def _services(word: str, *, marked: bool) -> _Services:
    """Return which services a body of a word gives away. dash-webhooks.txt, "LOGISTIC payloads omit trackingURL"."""
    express = (Service.EXPRESS,) if marked or word in EXPRESS_WORDS else ()
    proves = (*express, Service.LOGISTIC) if word in LOGISTIC_WORDS else express
    if word in EXPRESS_HINTS:
        return proves, (Service.EXPRESS,)
    return proves, (Service.LOGISTIC,) if word in MARKED_WORDS and not express else ()


_SERVICES: Final = tuple({word: _services(word, marked=marked) for word in STATUSES} for marked in (False, True))
"""By whether a body is marked, and by its word. A word that nobody announced says nothing of a service."""


_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
_Url = Annotated[str, Meta(max_length=MAX_URL)]


class Driving(msgspec.Struct, frozen=True, gc=False):
    """The member `courier`: the driver."""

    name: _Text | None = None
    phone: _Text | None = None


class Recipient(msgspec.Struct, frozen=True, gc=False):
    """The member `recipient`."""

    actualRecipientName: _Text | None = None


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The member `quote`: what the delivery costs, in rupiah."""

    amount: Annotated[int, Meta(ge=0, le=MAX_AMOUNT)] | None = None


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An entry of `media`."""

    type: _Text | None = None
    url: _Url | None = None
    createdAt: str | None = None


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One delivery: what is looked at of it, under Dash's names and of the types that Dash documents.

    Its texts are of bounded length and storable, but for the times; an empty one says nothing. Source:
    dash-webhooks.txt, "Field reference".
    """

    deliveryID: str
    status: str
    providerOrderID: str | None = None
    failedCount: Annotated[int, Meta(ge=0, le=MAX_COUNT)] = 0
    courier: Driving | None = None
    recipient: Recipient | None = None
    quote: Quote | None = None
    media: list[Picture] | None = None
    trackingURL: _Url | None = None
    failedReason: _Text | None = None
    cancelledReason: _Text | None = None
    updatedAt: str | None = None
    pickupAt: str | None = None
    completedAt: str | None = None
    failedAt: str | None = None
    cancelledAt: str | None = None


_TIMES: Final = ("updatedAt", "pickupAt", *OWN_TIMES.values())
_decode: Final = msgspec.json.Decoder(Delivery).decode


def read(courier: Courier, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
    """Read one delivery envelope.

    Raises:
        UnreadableError: it is no object with a status, or names no delivery.

    """
    said = as_documented(value) or whatever_it_is(value)
    word, reference = said.status, check_reference(said.deliveryID, "deliveryID")
    known = word in STATUSES
    proves, hints = _SERVICES[_is_marked(said)][word] if known else _NO_SERVICES
    given: dict[str, object] = {"updatedAt": said.updatedAt, "pickupAt": said.pickupAt}
    own = OWN_TIMES.get(word)
    if own:
        given = {own: getattr(said, own), **given}
    times = clock(given, provenance.received_at, assumed_zone)
    updated = times.believed.get("updatedAt")
    return observe(
        courier,
        provenance,
        reference=reference,
        word=word,
        status=STATUSES.get(word),
        known=known,
        record_digest=digest_of_bytes(value),
        times=times,
        details=_details(said),
        proves=proves,
        hints=hints,
        count=said.failedCount,
        updated_at=updated.at if updated else None,
    )


def as_documented(value: bytes) -> Delivery | None:
    """Return a delivery whose members are of the documented types, and short: most are, and so they are read fast.

    None: `whatever_it_is` may read it. Of a body that both read both give the same.
    """
    if not is_plain(value):
        return None
    try:
        said = _decode(value)
    except msgspec.DecodeError:
        return None
    return said if said.status else None


def whatever_it_is(value: bytes) -> Delivery:
    """Return a delivery from any JSON text. A member of another type than documented says nothing, or what it means.

    Raises:
        UnreadableError: it is no object with a status, or names no delivery.

    """
    body = load(value)
    word = word_of(body)
    if word is None:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a status")
    driving = driver(body.get("courier"))
    recipient, quote, media = members_of(body.get("recipient")), members_of(body.get("quote")), body.get("media")
    return Delivery(
        deliveryID=check_reference(body.get("deliveryID"), "deliveryID"),
        status=word,
        failedCount=count(body.get("failedCount")),
        courier=Driving(driving.name, driving.phone) if driving else None,
        recipient=Recipient(text(recipient.get("actualRecipientName"))),
        quote=Quote(amount(quote.get("amount"))),
        media=[
            Picture(text(entry.get("type")), url(entry.get("url")), string(entry.get("createdAt")))
            for entry in (media if isinstance(media, list) else ())
            if isinstance(entry, dict)
        ],
        providerOrderID=identifier(body.get("providerOrderID")),
        trackingURL=url(body.get("trackingURL")),
        failedReason=text(body.get("failedReason")),
        cancelledReason=text(body.get("cancelledReason")),
        **{name: string(body.get(name)) for name in _TIMES},
    )


def word_of(body: object) -> str | None:
    """Return the word of an envelope, if it has one."""
    word = members_of(body).get("status")
    return word if isinstance(word, str) and word else None


def _details(said: Delivery) -> Details:
    order, driving, recipient, quote, media = said.providerOrderID, said.courier, said.recipient, said.quote, said.media
    reason = REASONS.get(said.status)
    return Details(
        order_id=identifier(order) if order else None,
        charges=Charges(RUPIAH, quote.amount) if quote and quote.amount is not None else None,
        driver=Driver(driving.name or None, driving.phone or None)
        if driving and (driving.name or driving.phone)
        else None,
        signed_by=recipient.actualRecipientName or None if recipient else None,
        tracking_url=said.trackingURL or None,
        reason=getattr(said, reason) or None if reason else None,
        proofs=_proofs(media) if media else (),
    )


def _proofs(media: Iterable[Picture]) -> tuple[Proof, ...]:
    found = [(picture, picture.url) for picture in media if picture.url][:MAX_PROOFS]
    return tuple([Proof(picture.type or None, link, _moment(picture.createdAt)) for picture, link in found])


def _moment(taken_at: str | None) -> datetime | None:
    taken = read_time(taken_at, UTC)
    return taken[0] if taken else None


def _is_marked(said: Delivery) -> bool:
    """Whether a body has a mark of EXPRESS: a link for tracking, or a picture taken at the pickup."""
    if said.trackingURL:
        return True
    media = said.media
    return bool(media) and any(picture.type == "PICKUP_PROOF" for picture in media or ())
