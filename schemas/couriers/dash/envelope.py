"""One delivery as Dash tells it: the same envelope for every status, for webhooks and for answers of Get Delivery.

Source: dash-webhooks.txt ("Event payload reference"); facts.md ("Dash") for what public integrations add.
"""

from datetime import UTC, tzinfo
from typing import Any, Final

from schemas.couriers.base import Courier, check_reference
from schemas.couriers.reading import (
    MAX_PROOFS,
    charges,
    clock,
    count,
    driver,
    identifier,
    members_of,
    observe,
    text,
    url,
)
from schemas.observation import Details, Observation, Proof
from schemas.records import Provenance, UnreadableError
from schemas.times import read_time
from schemas.tolerant_json import digest, load
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


def read(courier: Courier, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
    """Read one delivery envelope.

    Raises:
        UnreadableError: it is no object with a status, or names no delivery.

    """
    body = load(value)
    word = word_of(body)
    if word is None:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a status")
    reference = check_reference(body.get("deliveryID"), "deliveryID")
    names = [name for name in (OWN_TIMES.get(word), "updatedAt", "pickupAt") if name]
    times = clock(body, names, provenance.received_at, assumed_zone)
    updated = times.believed.get("updatedAt")
    return observe(
        courier,
        provenance,
        reference=reference,
        word=word,
        status=STATUSES.get(word),
        known=word in STATUSES,
        record_digest=digest(body),
        times=times,
        details=_details(word, body),
        proves=(proves := _proves(word, body)),
        hints=_hints(word, proves),
        count=count(body.get("failedCount")),
        updated_at=updated.at if updated else None,
    )


def word_of(body: object) -> str | None:
    """Return the word of an envelope, if it has one."""
    word = members_of(body).get("status")
    return word if isinstance(word, str) and word else None


def _details(word: str, body: dict[str, Any]) -> Details:
    recipient = members_of(body.get("recipient"))
    return Details(
        order_id=identifier(body.get("providerOrderID")),
        charges=charges(shipping=members_of(body.get("quote")).get("amount")),
        driver=driver(body.get("courier")),
        signed_by=text(recipient.get("actualRecipientName")),
        tracking_url=url(body.get("trackingURL")),
        reason=text(body.get(REASONS[word])) if word in REASONS else None,
        proofs=tuple(_proof(entry, link) for entry in _media(body) if (link := url(entry.get("url"))))[:MAX_PROOFS],
    )


def _proof(entry: dict[str, Any], link: str) -> Proof:
    taken = read_time(entry.get("createdAt"), UTC)
    return Proof(type=text(entry.get("type")), url=link, occurred_at=taken[0] if taken else None)


def _media(body: dict[str, Any]) -> list[dict[str, Any]]:
    media = body.get("media")
    return [entry for entry in media if isinstance(entry, dict)] if isinstance(media, list) else []


def _proves(word: str, body: dict[str, Any]) -> tuple[Service, ...]:
    """Which service a body gives away. dash-webhooks.txt, "LOGISTIC payloads omit trackingURL entirely"."""
    if word not in STATUSES:
        return ()
    pickup_proof = any(entry.get("type") == "PICKUP_PROOF" for entry in _media(body))
    express = word in EXPRESS_WORDS or pickup_proof or text(body.get("trackingURL")) is not None
    logistic = word in LOGISTIC_WORDS
    return (*([Service.EXPRESS] if express else ()), *([Service.LOGISTIC] if logistic else ()))


def _hints(word: str, proves: tuple[Service, ...]) -> tuple[Service, ...]:
    """Which service a body speaks for without proving it."""
    if word not in STATUSES:
        return ()
    if word in EXPRESS_HINTS:
        return (Service.EXPRESS,)
    return (Service.LOGISTIC,) if word in MARKED_WORDS and Service.EXPRESS not in proves else ()
