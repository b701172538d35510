"""Dash EXPRESS and LOGISTIC: one envelope for every status, the service left unsaid.

Source: dash-webhooks.txt ("Event payload reference"); facts.md ("Dash") for what public integrations add.
"""

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, Final

from schemas.couriers.base import Credentials, NotFound, Piece, Position, check_reference
from schemas.couriers.reading import (
    MAX_PROOFS,
    charges,
    clock,
    count,
    driver,
    first_of,
    identifier,
    members_of,
    observe,
    text,
    url,
)
from schemas.lifecycle import Lifecycle
from schemas.observation import Details, Observation, Proof, Stamp
from schemas.records import Provenance, UnreadableError
from schemas.times import read_time
from schemas.tolerant_json import digest, load
from schemas.transitions import DASH_EXPRESS, DASH_LOGISTIC
from schemas.vocabulary import DeadLetterReason, Service, Source, Status

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

_THE_WAY_BACK: Final = (("PENDING_RETURN",), ("IN_RETURN",), ("RETURNED",), ("DISPOSED",))
_LOGISTIC_ORDER: Final = (
    ("QUEUEING", "PREPARING"),
    ("NOT_VERIFIED",),
    ("VERIFIED",),
    ("PENDING_PICKUP", "PENDING_PICKING_UP"),
    ("PENDING_DELIVERY",),
    ("IN_DELIVERY",),
    ("COMPLETED", "FAILED", "CANCELLED", "EXPIRED"),
    *_THE_WAY_BACK,
)
_EXPRESS_ORDER: Final = (
    ("QUEUEING",),
    ("ALLOCATING",),
    ("PENDING_PICKUP",),
    ("PICKING_UP",),
    ("PENDING_DELIVERY",),
    ("IN_DELIVERY",),
    ("COMPLETED", "FAILED", "CANCELLED", "EXPIRED"),
    *_THE_WAY_BACK,
)
RANKS: Final = {
    service: {word: rank for rank, words in enumerate(order, start=1) for word in words}
    for service, order in ((Service.LOGISTIC, _LOGISTIC_ORDER), (Service.EXPRESS, _EXPRESS_ORDER))
}
"""The order of the words inside one failure count. A word its service lacks ranks 0, before all."""

_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)
"""What a bearer token may consist of: no white space, no line break."""


class Dash:
    """Dash Electric, both services."""

    name = "dash"
    credentials = Credentials(secrets_setting="DASH_SECRETS", header="X-Dash-Secret", header_setting="DASH_HEADER_NAME")
    lifecycles: Mapping[Service, Lifecycle] = {
        Service.EXPRESS: DASH_EXPRESS,
        Service.LOGISTIC: DASH_LOGISTIC,
    }
    words: Mapping[str, Mapping[str, Status | None]] = {"status": STATUSES}
    zone_settings: Mapping[Source, tuple[str, str]] = {}

    def split(self, body: bytes) -> list[Piece]:
        """One webhook is one delivery."""
        try:
            delivery = members_of(load(body))
            return [Piece(body, check_reference(delivery.get("deliveryID"), "deliveryID"))]
        except UnreadableError:
            return [Piece(body, None)]

    def pulled(self, answer: bytes, reference: str) -> list[Piece] | NotFound:
        """One piece: Get Delivery answers in the webhook's envelope. Raises `UnreadableError`."""
        delivery = load(answer)
        if _word(delivery) is None:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a status")
        if identifier(delivery.get("deliveryID")) != reference:
            raise UnreadableError(DeadLetterReason.NO_SHIPMENT, "the answer is about another delivery")
        return [Piece(answer, reference)]

    def read(self, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
        """Read one delivery envelope. Raises `UnreadableError`."""
        body = load(value)
        word = _word(body)
        if word is None:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a status")
        reference = check_reference(body.get("deliveryID"), "deliveryID")
        names = [name for name in (OWN_TIMES.get(word), "updatedAt", "pickupAt") if name]
        times = clock(body, names, provenance.received_at, assumed_zone)
        updated = times.believed.get("updatedAt")
        return observe(
            self,
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

    def service(self, proven: frozenset[Service], hinted: frozenset[Service]) -> Service:
        """EXPRESS once proven, or where there are only hints at EXPRESS; else LOGISTIC."""
        express_only = hinted == {Service.EXPRESS} and Service.LOGISTIC not in proven
        return Service.EXPRESS if Service.EXPRESS in proven or express_only else Service.LOGISTIC

    def occurred(self, observation: Observation, service: Service) -> Stamp:
        """The word's own time, else `updatedAt`, else `pickupAt`, else the time received."""
        own = OWN_TIMES.get(observation.word)
        if observation.status is Status.PENDING_DELIVERY and service is Service.EXPRESS:
            own = "pickupAt"  # "package picked up (pickupAt + PICKUP_PROOF now set)"
        return first_of(observation, (own, "updatedAt", "pickupAt"))

    def position(self, observation: Observation, service: Service) -> Position:
        """The failure count first; a FAILED opens its count, because the failure itself raises it.

        Inside a count LOGISTIC goes by rank, then time (`pickupAt` may be stale after a recovery); EXPRESS by time,
        then rank.
        """
        opens = observation.status is Status.FAILED and observation.count > 0
        rank = 0 if opens else RANKS[service].get(observation.word, 0)
        moment = self.occurred(observation, service).at
        within = (rank, moment) if service is Service.LOGISTIC else (moment, rank)
        return (observation.count, not opens, *within)


def token_of(answer: bytes) -> str:
    """Read the answer of `POST /v1/auth/providers/token`: the bearer token for Get Delivery.

    Raises:
        UnreadableError: there is no token in it.

    """
    token = members_of(load(answer)).get("token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "no token that a header can carry")
    return token


def _word(body: object) -> str | None:
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
