"""Thousands of webhooks of one parcel, of every kind that made a history expensive."""

import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.records import Provenance, RawRecord

START: Final = datetime(2025, 3, 1, 8, tzinfo=UTC)
REFERENCE: Final = "HOT-1"

Body = dict[str, Any]


def _at(number: int) -> str:
    return f"{START + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}"


def _dash(number: int, status: str, count: int = 0, **more: Any) -> Body:
    return {"deliveryID": REFERENCE, "status": status, "failedCount": count, "updatedAt": _at(number), **more}


def one_word(number: int) -> Body:
    """The same word, again and again."""
    return _dash(number, "IN_DELIVERY", 1)


def recoveries(number: int) -> Body:
    """LOGISTIC: failure after failure, each with another reason and another driver."""
    word = ("VERIFIED", "PENDING_DELIVERY", "IN_DELIVERY", "FAILED")[number % 4]
    driver = {"name": f"driver {number // 7}", "phone": "0811"}
    return _dash(number, word, (number + 1) // 4, failedReason=f"reason {number}", courier=driver)


def reassignments(number: int) -> Body:
    """EXPRESS: words in any order, many of them refused."""
    words = ("ALLOCATING", "PENDING_PICKUP", "PICKING_UP", "PENDING_DELIVERY", "IN_DELIVERY", "FAILED", "COMPLETED")
    return _dash(number, words[number * 5 % 7], trackingURL=f"https://t/{number // 5}")


def ends(number: int) -> Body:
    """Ends that exclude each other: the oldest decides on all others."""
    return _dash(number, ("COMPLETED", "CANCELLED")[number % 2])


def failures(number: int) -> Body:
    """KiriminAja: the fold counts the failures."""
    method = ("shipped_packages", "problem_packages")[number % 2]
    date = f"{START + timedelta(seconds=number):%Y-%m-%d %H:%M:%S}"
    item = {"order_id": REFERENCE, "awb": "A-1", "reason": f"reason {number}", "date": date, "shipped_at": date}
    return {"method": method, "data": [item]}


def unknown_words(number: int) -> Body:
    return _dash(number, f"WORD_{number}")


def details_only(number: int) -> Body:
    return _dash(number, "ON_HOLD", courier={"name": f"driver {number}"})


def repeats(number: int) -> Body:
    """Fifty webhooks, again and again."""
    return recoveries(number % 50)


def copies(number: int) -> Body:
    """One webhook, with something in it that nobody reads."""
    return {**recoveries(1), "nonce": number}


KINDS: Final[Sequence[Callable[[int], Body]]] = (
    one_word,
    recoveries,
    reassignments,
    ends,
    failures,
    unknown_words,
    details_only,
    repeats,
    copies,
)


def in_order(count: int) -> list[int]:
    return list(range(count))


def reversed_order(count: int) -> list[int]:
    return list(reversed(range(count)))


def random_order(count: int) -> list[int]:
    return random.Random(5).sample(range(count), count)


ORDERS: Final[Sequence[Callable[[int], list[int]]]] = (in_order, reversed_order, random_order)


def courier_of(kind: Callable[[int], Body]) -> str:
    return "kiriminaja" if kind is failures else "dash"


def hot_records(kind: Callable[[int], Body], numbers: Sequence[int]) -> list[RawRecord]:
    """One parcel's raw records in this order, each received a second after the one before."""
    courier = courier_of(kind)
    records = []
    for offset, number in enumerate(numbers):
        received_at = START + timedelta(days=1, seconds=offset)
        headers = tuple(Provenance(courier=courier, received_at=received_at).headers())
        key, value = f"{courier}:{REFERENCE}".encode(), json.dumps(kind(number)).encode()
        records.append(RawRecord(0, offset, key, value, headers, int(received_at.timestamp() * 1000)))
    return records
