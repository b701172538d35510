"""What Dash says about a delivery: one envelope, for the webhook and for Get Delivery alike. Pure.

From its event payload reference; where field reference and examples differ, the examples are followed. The words that
only its own state machine has come with `updatedAt`.
"""

from datetime import datetime
from typing import Any, Final

from devstack.couriers.lives import Life, Move

TRACKED: Final = ("PENDING_PICKUP", "PICKING_UP", "PENDING_DELIVERY", "IN_DELIVERY")
"""The EXPRESS statuses whose examples have a trackingURL."""

WITHOUT_UPDATE: Final = ("COMPLETED", "FAILED", "CANCELLED")
"""The statuses that have a time of their own instead of `updatedAt`."""

BEFORE_PICKUP: Final = (
    "QUEUEING",
    "ALLOCATING",
    "PENDING_PICKUP",
    "PICKING_UP",
    "PREPARING",
    "VERIFIED",
    "NOT_VERIFIED",
    "PENDING_PICKING_UP",
    "ARRIVED_AT_PICKUP_POINT",
    "CANCELLED",
    "EXPIRED",
)
PROOF: Final = {"COMPLETED": "DELIVERY_PROOF", "FAILED": "FAILED_PROOF"}
PHONE: Final = "087777777777"


def envelope(life: Life) -> dict[str, Any]:
    """Describe the delivery as it stands after the life's last move."""
    last = life.moves[-1]
    return {
        "providerOrderID": life.order_id,
        "deliveryID": life.reference,
        "status": last.word,
        "failedCount": sum(move.word == "FAILED" for move in life.moves),
        "courier": {"name": last.driver, "phone": PHONE} if last.driver else None,
        **_tracking_url(life, last),
        **_parties(life, last),
        "media": _media(life, last),
        "quote": {"amount": life.parcel.shipping},
        "createdAt": zulu(life.moves[0].at),
        **_times(life, last),
    }


def zulu(at: datetime) -> str:
    """Write a time as Dash does: UTC, with milliseconds."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def _tracking_url(life: Life, last: Move) -> dict[str, Any]:
    if life.service == "express" and last.word in TRACKED:
        return {"trackingURL": f"https://tracking.dash.example/{life.reference}"}
    return {}


def _parties(life: Life, last: Move) -> dict[str, Any]:
    parcel = life.parcel
    size = 10 if last.word in (*WITHOUT_UPDATE, "IN_DELIVERY") else 1
    return {
        "weight": parcel.weight,
        "sender": {
            "firstName": parcel.sender,
            "lastName": " Darmadi",
            "companyName": f"PT {parcel.sender.upper()}",
            "phone": "081234567891",
        },
        "recipient": {
            "firstName": parcel.recipient,
            "lastName": "Sutarni",
            "companyName": f"PT {parcel.recipient.upper()}",
            "email": "recipient@shop.example",
            "phone": "089999999999",
            "actualRecipientName": parcel.recipient if last.word == "COMPLETED" else None,
        },
        "origin": {"address": parcel.origin, "coordinates": {"latitude": -6.277775, "longitude": 106.800365}},
        "destination": {"address": parcel.destination, "coordinates": {"latitude": -6.294332, "longitude": 106.782108}},
        "packages": [
            {
                "name": parcel.content,
                "description": f"{parcel.content} Lokal",
                "quantity": 1,
                "price": parcel.price,
                "weight": parcel.weight,
                "width": size,
                "length": size,
                "height": size,
            }
        ],
    }


def _media(life: Life, last: Move) -> list[dict[str, Any]]:
    """List the proofs. Only an EXPRESS driver takes a picture at the pick-up."""
    media = []
    if life.service == "express" and (picked_up := _picked_up(life, last)):
        media.append(_proof(life, "PICKUP_PROOF", picked_up))
    if last.word in PROOF:
        media.append(_proof(life, PROOF[last.word], last.at))
    return media


def _proof(life: Life, kind: str, at: datetime) -> dict[str, Any]:
    return {"url": f"https://storage.dash.example/{life.reference}/{kind}", "type": kind, "createdAt": zulu(at)}


def _times(life: Life, last: Move) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if last.word not in WITHOUT_UPDATE and (last.word != "IN_DELIVERY" or life.parcel.habits.in_delivery_updated):
        times["updatedAt"] = zulu(last.at)
    if picked_up := _picked_up(life, last):
        times["pickupAt"] = zulu(picked_up)
    match last.word:
        case "COMPLETED":
            times["completedAt"] = zulu(last.at)
        case "FAILED":
            times |= {"failedAt": zulu(last.at), "failedReason": last.text}
        case "CANCELLED":
            times |= {"pickupAt": None, "cancelledAt": zulu(last.at), "cancelledReason": last.text}
        case _:
            pass
    return times


def _picked_up(life: Life, last: Move) -> datetime | None:
    """Say when the driver picked it up: EXPRESS tells from PENDING_DELIVERY on, LOGISTIC from IN_DELIVERY on."""
    express = life.service == "express"
    if last.word in BEFORE_PICKUP or (last.word == "PENDING_DELIVERY" and not express):
        return None
    taken = [move.at for move in life.moves if move.word == ("PENDING_DELIVERY" if express else "IN_DELIVERY")]
    if not taken:
        return None
    return taken[0] if life.parcel.habits.stale_pickup and not express else taken[-1]
