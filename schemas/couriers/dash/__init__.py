"""Dash EXPRESS and LOGISTIC: one envelope for every status (`envelope.py`), the service left unsaid.

Source: dash-webhooks.txt ("Event payload reference"); facts.md ("Dash") for what public integrations add.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from schemas.couriers.base import Credentials, Position, Tracking, WebhookItem, check_reference
from schemas.couriers.dash import envelope, pull
from schemas.couriers.dash.lifecycles import EXPRESS, LOGISTIC
from schemas.couriers.reading import members_of
from schemas.lifecycle import Lifecycle
from schemas.observation import Observation, Stamp
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import digest, is_skippable, load
from schemas.vocabulary import Service, Source, Status

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


_LOGISTIC: Final = Service.LOGISTIC
_FAILED: Final = Status.FAILED
_PENDING_DELIVERY: Final = Status.PENDING_DELIVERY


class _Named(msgspec.Struct, rename={"delivery_id": "deliveryID"}):
    delivery_id: str


_usual: Final = msgspec.json.Decoder(_Named)


class Dash:
    """Dash Electric, both services."""

    name = "dash"
    credentials = Credentials(secrets_setting="DASH_SECRETS", header="X-Dash-Secret", header_setting="DASH_HEADER_NAME")
    lifecycles: Mapping[Service, Lifecycle] = {
        Service.EXPRESS: EXPRESS,
        Service.LOGISTIC: LOGISTIC,
    }
    words: Mapping[str, Mapping[str, Status | None]] = {"status": envelope.STATUSES}
    zone_settings: Mapping[Source, tuple[str, str]] = {}
    tracking: Tracking | None = pull.TRACKING
    body_schema: Mapping[str, Any] = {
        "description": "One delivery. The envelope is the same for every status.",
        "type": "object",
        "required": ["deliveryID", "status"],
        "properties": {
            "deliveryID": {"type": "string", "description": "The shipment's reference."},
            "status": {"type": "string", "description": "The courier's word."},
            "failedCount": {"type": "number"},
        },
    }
    example = (
        '{"deliveryID":"DE-RUN-yours","providerOrderID":"ORDER-RUN-yours","status":"VERIFIED","failedCount":0,'
        '"updatedAt":"NOW"}'
    )

    def split(self, body: bytes) -> list[WebhookItem]:
        """One webhook is one delivery."""
        try:
            return [WebhookItem(body, check_reference(_delivery_id(body), "deliveryID"))]
        except UnreadableError:
            return [WebhookItem(body, None)]

    def read(self, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
        """Read one delivery envelope. Raises `UnreadableError`."""
        return envelope.read(self, value, provenance, assumed_zone)

    def former_digest(self, value: bytes) -> bytes | None:
        """Return the digest of the canonical JSON."""
        return digest(load(value))

    def service(self, proven: frozenset[Service], hinted: frozenset[Service]) -> Service:
        """EXPRESS once proven, or where there are only hints at EXPRESS; else LOGISTIC."""
        express_only = hinted == {Service.EXPRESS} and Service.LOGISTIC not in proven
        return Service.EXPRESS if Service.EXPRESS in proven or express_only else Service.LOGISTIC

    def occurred(self, observation: Observation, service: Service) -> Stamp:
        """The word's own time, else `updatedAt`, else `pickupAt`, else the time received."""
        times, own = observation.times, envelope.OWN_TIMES.get(observation.word, "updatedAt")
        if observation.status is _PENDING_DELIVERY and service is Service.EXPRESS:
            own = "pickupAt"  # "package picked up (pickupAt + PICKUP_PROOF now set)"
        return times.get(own) or times.get("updatedAt") or times.get("pickupAt") or observation.received

    def position(self, observation: Observation, service: Service, occurred_at: datetime) -> Position:
        """The failure count first; a FAILED opens its count, because the failure itself raises it.

        Inside a count LOGISTIC goes by rank, then time (`pickupAt` may be stale after a recovery); EXPRESS by time,
        then rank.
        """
        opens = observation.status is _FAILED and observation.count > 0
        rank = 0 if opens else RANKS[service].get(observation.word, 0)
        if service is _LOGISTIC:
            return (observation.count, not opens, rank, occurred_at)
        return (observation.count, not opens, occurred_at, rank)


def _delivery_id(body: bytes) -> object:
    """Return what a delivery's reference is, without reading the rest where that can be. Raises UnreadableError."""
    try:
        if is_skippable(body):
            return _usual.decode(body).delivery_id
    except msgspec.DecodeError:
        pass
    return members_of(load(body)).get("deliveryID")
