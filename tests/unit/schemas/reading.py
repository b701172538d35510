"""Reads a body as the processor would, with the zone and the time received that these tests use throughout."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from runtime.settings import load_settings
from schemas.couriers import COURIERS
from schemas.couriers.base import NotFound, WebhookItem
from schemas.observation import Observation, Stamp
from schemas.records import Provenance, UnreadableError
from schemas.times import format_time
from schemas.vocabulary import Source

JAKARTA = ZoneInfo("Asia/Jakarta")
RECEIVED = datetime(2025, 6, 1, 12, tzinfo=UTC)
NOW = "2025-06-01T12:00:00.000000Z"
ZONE_OF = load_settings({}).assumed_zone


def read(courier: str, body: bytes | Any, received_at: datetime = RECEIVED) -> Observation:
    """Read one raw record."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    provenance = Provenance(courier=courier, received_at=received_at)
    return COURIERS[courier].read(value, provenance, ZONE_OF(courier, Source.PUSH))


def said(observation: Observation) -> Observation:
    """Return what a record says, however it is spelled: all but the digest of its bytes."""
    return msgspec.structs.replace(observation, record_digest=b"")


def refusal(courier: str, body: bytes | Any) -> str:
    """Return why a raw record becomes a dead letter."""
    try:
        observation = read(courier, body)
    except UnreadableError as error:
        return str(error.reason)
    raise AssertionError(f"it was read: {observation}")


def occurred(observation: Observation) -> tuple[str, str]:
    """Return when it happened, for the service that the observation alone proves."""
    return shown(COURIERS[observation.courier].occurred(observation, service(observation)))


def service(observation: Observation) -> Any:
    """Return the service that the observation alone proves, or hints at."""
    return COURIERS[observation.courier].service(frozenset(observation.proves), frozenset(observation.hints))


def shown(stamp: Stamp) -> tuple[str, str]:
    """Write a stamp."""
    return format_time(stamp.at), str(stamp.source)


def dash(status: Any = "IN_DELIVERY", **changes: Any) -> dict[str, Any]:
    """A short delivery envelope."""
    return {"deliveryID": "DE-1", "status": status, **changes}


def kiriminaja(method: Any = "shipped_packages", **changes: Any) -> dict[str, Any]:
    """A webhook with one item."""
    return {"method": method, "data": [{"order_id": "X", **changes}]}


def instant(status: Any = "sent", **changes: Any) -> dict[str, Any]:
    """A webhook of the older instant method."""
    return {"method": "update_instant_packages", "data": {"order_id": "X", "status": status, **changes}}


def entry(code: Any = 100, created_at: Any = "2025-05-30 17:00:00", **changes: Any) -> dict[str, Any]:
    """A history entry of a tracking answer."""
    return {"created_at": created_at, "status": "scan", "status_code": code, "driver": "", "receiver": "", **changes}


def tracking(*histories: Any, details: Any = None, **changes: Any) -> dict[str, Any]:
    """A tracking answer, newest entry first."""
    about = {"order_id": "X", "awb": "A1", "status_code": None, "shipped_at": "2025-05-29 10:00:00", "refunded_at": ""}
    return {
        "status": True,
        "text": "newest",
        "method": "shTracking",
        "status_code": 100,
        "details": {**about, **(details or {})},
        "histories": [*histories],
        **changes,
    }


def answered(courier: str, answer: bytes, reference: str) -> list[WebhookItem] | NotFound:
    """Make the records of a courier's answer about the shipment of this reference."""
    tracking = COURIERS[courier].tracking
    assert tracking is not None
    return tracking.pieces(answer, reference)


def pulled(answer: bytes | Any, reference: str = "X", received_at: datetime = RECEIVED) -> list[Observation]:
    """Read the records that KiriminAja's answer becomes, oldest first."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    pieces = answered("kiriminaja", body, reference)
    assert isinstance(pieces, list)
    return [read("kiriminaja", piece.value, received_at) for piece in pieces]
