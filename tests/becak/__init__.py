"""Becak, a courier on three wheels: a webhook is a list of rides, and so is the answer about a ride."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

from schemas.couriers.base import (
    ApiKey,
    ApiSetting,
    Credentials,
    NotFound,
    Position,
    Tracking,
    WebhookItem,
    check_reference,
)
from schemas.couriers.reading import clock, first_of, members_of, observe, text
from schemas.lifecycle import Lifecycle
from schemas.observation import Details, Observation, Stamp
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import digest, elements, load
from schemas.vocabulary import RANK, DeadLetterReason, Service, Source, Status

STATES: Final[dict[str, Status | None]] = {
    "taken": Status.PENDING_PICKUP,
    "riding": Status.IN_TRANSIT,
    "missed": Status.FAILED,
    "handed": Status.DELIVERED,
    "tea break": None,
}
"""Becak's words."""

EXPRESS: Final = Lifecycle(
    "becak",
    Service.EXPRESS,
    {
        Status.PENDING_PICKUP: (Status.IN_TRANSIT,),
        Status.IN_TRANSIT: (Status.DELIVERED, Status.FAILED),
        Status.FAILED: (Status.IN_TRANSIT,),
    },
    counts_entries=True,
)


def pieces(answer: bytes, reference: str) -> list[WebhookItem] | NotFound:
    """Return one piece for each ride of the answer, oldest first; an empty list says that there is no such ride.

    Raises:
        UnreadableError: the answer is no list, or about another ride.

    """
    rides = [WebhookItem(ride, _reference(ride)) for ride in elements(answer)]
    if any(ride.reference != reference for ride in rides):
        raise UnreadableError(DeadLetterReason.NO_SHIPMENT, "the answer is about another ride")
    return rides or NotFound()


class Becak:
    """Becak, express only."""

    name = "becak"
    credentials = Credentials(secrets_setting="BECAK_SECRETS", header="X-Becak")
    lifecycles: Mapping[Service, Lifecycle] = {Service.EXPRESS: EXPRESS}
    words: Mapping[str, Mapping[str, Status | None]] = {"state": STATES}
    zone_settings: Mapping[Source, tuple[str, str]] = {
        Source.PUSH: ("BECAK_PUSH_TIMEZONE", "Asia/Makassar"),
        Source.PULL: ("BECAK_PULL_TIMEZONE", "Asia/Makassar"),
    }
    tracking: Tracking | None = Tracking(
        address=ApiSetting("BECAK_API_URL", "where Becak's rides are asked for; empty: it is not asked"),
        access=ApiKey(ApiSetting("BECAK_API_KEY", "the merchant's key at Becak's API"), "X-Becak-Key", scheme=None),
        method="GET",
        path="/rides?id={reference}",
        pieces=pieces,
    )
    body_schema: Mapping[str, Any] = {
        "description": "One ride.",
        "type": "object",
        "required": ["ride", "state"],
        "properties": {
            "ride": {"type": "string", "description": "The shipment's reference."},
            "state": {"type": "string", "description": "The courier's word."},
        },
    }
    example = '[{"ride":"B-RUN-yours","state":"riding","at":"NOW"}]'

    def split(self, body: bytes) -> list[WebhookItem]:
        """One piece for each ride."""
        try:
            rides = elements(body)
        except UnreadableError:
            return [WebhookItem(body, None)]
        return [WebhookItem(ride, _reference(ride)) for ride in rides] or [WebhookItem(body, None)]

    def read(self, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
        """Read one ride. Raises `UnreadableError`."""
        ride = members_of(load(value))
        if not (word := text(ride.get("state"))):
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not a ride with a state")
        return observe(
            self,
            provenance,
            reference=check_reference(ride.get("ride"), "ride"),
            word=word,
            status=STATES.get(word),
            known=word in STATES,
            record_digest=digest(ride),
            times=clock({"at": ride.get("at")}, provenance.received_at, assumed_zone),
            details=Details(order_id=text(ride.get("order")), reason=text(ride.get("why"))),
        )

    def former_digest(self, value: bytes) -> bytes | None:
        """None: Becak is newer than other digests."""
        return None

    def service(self, proven: frozenset[Service], hinted: frozenset[Service]) -> Service:
        """Express."""
        return Service.EXPRESS

    def occurred(self, observation: Observation, service: Service) -> Stamp:
        """The ride's time, else the time received."""
        return first_of(observation, ["at"])

    def position(self, observation: Observation, service: Service, occurred_at: datetime) -> Position:
        """By time, then rank."""
        assert observation.status is not None
        return (occurred_at, RANK[observation.status])


def _reference(ride: bytes) -> str | None:
    try:
        return check_reference(members_of(load(ride)).get("ride"), "ride")
    except UnreadableError:
        return None
