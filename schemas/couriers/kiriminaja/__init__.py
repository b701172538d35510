"""KiriminAja express and instant: webhooks (`push.py`), and answers to `POST /api/mitra/tracking` (`pull.py`)."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any, Final

from schemas.couriers.base import Credentials, Position, Tracking, WebhookItem
from schemas.couriers.kiriminaja import pull, push
from schemas.couriers.kiriminaja.lifecycles import EXPRESS, INSTANT
from schemas.couriers.reading import first_of
from schemas.lifecycle import ALWAYS_FINAL, Lifecycle
from schemas.observation import Observation, Stamp
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import load, members
from schemas.vocabulary import RANK, Service, Source, Status

_BEFORE_THE_ROAD: Final = frozenset({Status.CREATED, Status.PENDING_PICKUP})
_TIMES: Final = (*push.TIMES, pull.ENTRY_TIME)


class KiriminAja:
    """KiriminAja, the aggregator: express and instant on one callback."""

    name = "kiriminaja"
    credentials = Credentials(
        secrets_setting="KIRIMINAJA_TOKENS", header="Authorization", scheme="Bearer", header_setting=None
    )
    lifecycles: Mapping[Service, Lifecycle] = {
        Service.EXPRESS: EXPRESS,
        Service.INSTANT: INSTANT,
    }
    words: Mapping[str, Mapping[str, Status | None]] = {
        "method": {
            **push.METHODS,
            f"{push.RETURN_METHOD}, returned_at empty": Status.RETURNING,
        },
        f"status of {push.INSTANT_METHOD}": push.INSTANT_STATUSES,
        "status_code of a pulled history entry": {
            f"{pull.TRANSIT_CODE}, details.shipped_at empty or later": Status.CREATED,
            **pull.CODES,
        },
    }
    zone_settings: Mapping[Source, tuple[str, str]] = {
        Source.PUSH: ("KIRIMINAJA_PUSH_TIMEZONE", "Asia/Jakarta"),
        Source.PULL: ("KIRIMINAJA_PULL_TIMEZONE", "Asia/Jakarta"),
    }
    tracking: Tracking | None = pull.TRACKING
    body_schema: Mapping[str, Any] = {
        "description": "One item of a webhook, with its package where there is one; or one pulled history entry.",
        "type": "object",
        "required": ["method"],
        "properties": {
            "method": {
                "type": "string",
                "description": "The courier's word; the item's status for update_instant_packages.",
            },
            "data": {"description": "The item, alone or as a list of one."},
            "packages": {"description": "The item's package, as a list of one."},
            "histories": {"description": "Of a pulled record (method shTracking): the entry, as a list of one."},
            "details": {"description": "Of a pulled record: the parcel's details, as they were when it was asked for."},
            "order_id": {"type": "string", "description": "Of a pulled record: the reference that was asked for."},
        },
    }
    example = '{"method":"shipped_packages","data":[{"order_id":"OID-RUN-yours","shipped_at":"NOW"}]}'

    def split(self, body: bytes) -> list[WebhookItem]:
        """One piece for each item of a webhook. A pulled record is one as it stands."""
        reference = push.reference_of_one(body)
        if reference is not None:
            return [WebhookItem(body, reference)]
        try:
            envelope = members(body)
        except UnreadableError:
            return [WebhookItem(body, None)]
        if pull.is_pulled(envelope):
            return [WebhookItem(body, pull.reference_of(body))]
        return push.split(body, envelope)

    def read(self, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
        """Read one item of a webhook or one pulled history entry. Raises `UnreadableError`."""
        envelope = load(value)
        if isinstance(envelope, dict) and envelope.get("method") == pull.METHOD:
            return pull.read(self, envelope, provenance, assumed_zone)
        return push.read(self, value, envelope, provenance, assumed_zone)

    def former_digest(self, value: bytes) -> bytes | None:
        """Return the digest of the canonical JSON of an item; a pulled entry was named as today."""
        return push.former_digest(value)

    def service(self, proven: frozenset[Service], hinted: frozenset[Service]) -> Service:
        """Instant once proven, else express."""
        return Service.INSTANT if Service.INSTANT in proven else Service.EXPRESS

    def occurred(self, observation: Observation, service: Service) -> Stamp:
        """The method's own time, else `date`; of a history entry `created_at`; else the time received."""
        return first_of(observation, _TIMES)

    def position(self, observation: Observation, service: Service, occurred_at: datetime) -> Position:
        """Before the road by rank, then time, then place; on the road, and at its end, by time, then place, then rank.

        The place is that of a pulled entry in its answer: scans have minutes only. Pushed ones stand behind.
        """
        assert observation.status is not None
        place = (0, observation.item) if observation.source is Source.PULL else (1, 0)
        rank = RANK[observation.status]
        if observation.status in _BEFORE_THE_ROAD:
            return (0, rank, occurred_at, place)
        return (2 if observation.status in ALWAYS_FINAL else 1, occurred_at, place, rank)
