"""Backlogs of raw records, made of the couriers' own examples."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec

from bench.machine import sample
from tests.integration.system import START, Raw, System, raw_records

WINDOW: Final = 500
"""Shipments whose webhooks are interleaved: a backlog holds many parcels at every stage of their lives."""

WORDS: Final = ("preparing", "verified", "pending_delivery", "in_delivery", "failed", "completed")

SLICE: Final = 60_000
"""Records made and appended at once: the bench itself must stay small too."""


def backlog(count: int, start: int = 0, numbered: Callable[[int], str] = str) -> list[Raw]:
    """Make raw records of LOGISTIC parcels, six webhooks each, from the courier's own examples.

    `start` is how many records came before, `numbered` makes a parcel's name of its number.
    """
    examples = [msgspec.json.decode(sample(f"dash/logistic/{word}.json")) for word in WORDS]
    records = []
    for first in range(start // len(WORDS), (start + count) // len(WORDS), WINDOW):
        for minute, example in enumerate(examples):
            at = START + timedelta(minutes=minute)
            for number in range(first, first + WINDOW):
                body = {
                    **example,
                    "deliveryID": f"DE-{numbered(number)}",
                    "updatedAt": at.isoformat().replace("+00:00", "Z"),
                    "failedCount": minute // 4,
                }
                records += raw_records("dash", msgspec.json.encode(body), at)
    return records


async def append_backlog(system: System, count: int, start: int = 0, numbered: Callable[[int], str] = str) -> int:
    """Append a backlog of at least `count` records. Return how many they are."""
    appended = 0
    while appended < count:
        records = backlog(min(SLICE, count - appended), start + appended, numbered)
        await system.append(records)
        appended += len(records)
    return appended
