"""A hot parcel and its neighbours on the real processor, in this process, so that its event loop can be watched."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import msgspec

from processor.protocol.crash_points import Step
from processor.service import serve
from schemas.partitioning import partition_of
from schemas.records import RawRecord
from schemas.stored_observation import read_observation
from tests.integration.system import PARTITIONS, Raw, System, raw_records

NEIGHBOURS: Final = 4
"""Parcels on the other partitions that get a webhook each time."""

PAUSE_SECONDS: Final = 0.25


class Measured(msgspec.Struct, frozen=True):
    """What came of a crowd. Times are in seconds.

    `held`: the longest that the event loop was held. `delays` of the neighbours' webhooks, received to recorded.
    `claims`: how often a partition was claimed.
    """

    seconds: float
    held: float
    delays: list[float]
    claims: int


def appended(records: Sequence[RawRecord]) -> list[Raw]:
    """The records as they are appended: as old as they say, but not so to a broker, which would delete them."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return [
        Raw(
            each.key or b"",
            each.value or b"",
            [(name, value or b"") for name, value in each.headers],
            now_ms,
        )
        for each in records
    ]


def neighbours(hot: bytes) -> list[str]:
    """References of parcels in other partitions than the hot one."""
    names = (f"N-{number}" for number in range(1000))
    home = partition_of(hot, PARTITIONS)
    return [name for name in names if partition_of(f"dash:{name}".encode(), PARTITIONS) != home][:NEIGHBOURS]


async def crowded(system: System, records: Sequence[RawRecord], most_seconds: float) -> Measured:
    """Process a hot parcel's records, which come all at once, while its neighbours' webhooks come in."""
    claims: list[Step] = []

    def reached(step: Step) -> None:
        if step is Step.CURSOR_CLAIMED:
            claims.append(step)

    stop, gaps = asyncio.Event(), [0.0]
    running = asyncio.create_task(serve(system.settings, stop, reached))
    watching = asyncio.create_task(_watch(gaps))
    try:
        async with asyncio.timeout(most_seconds):
            while len(claims) < PARTITIONS:
                await asyncio.sleep(PAUSE_SECONDS)
            began = monotonic()
            await system.append(appended(records))
            names, number = neighbours(records[0].key or b""), 0
            gaps.clear()
            while await _applied(system) < len(records):
                number += 1
                await system.append([each for name in names for each in _webhook(name, number)])
                await asyncio.sleep(PAUSE_SECONDS)
            seconds, held = monotonic() - began, max(gaps)
            while not await system.caught_up():
                await asyncio.sleep(PAUSE_SECONDS)
    finally:
        stop.set()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await running
    return Measured(seconds, held, await _delays(system), len(claims))


def _webhook(name: str, number: int) -> list[Raw]:
    now = datetime.now(UTC)
    body = {"deliveryID": name, "status": "IN_DELIVERY", "updatedAt": now.isoformat(), "note": number}
    return raw_records("dash", msgspec.json.encode(body), now)


async def _applied(system: System) -> int:
    (row,) = await system.rows("select count(*) from observations where shipment_id like '%HOT-1'")
    return int(row[0])


async def _delays(system: System) -> list[float]:
    rows = await system.rows(
        "select shipment_id, reading, said, recorded_at from observations where shipment_id like 'dash:N-%'"
    )
    said = ((row["recorded_at"], read_observation(row["shipment_id"], row["reading"], row["said"])) for row in rows)
    return sorted((recorded_at - each.received_at).total_seconds() for recorded_at, each in said)


async def _watch(gaps: list[float]) -> None:
    """Note how late the loop comes back to a task that wants it all the time."""
    while True:
        began = monotonic()
        await asyncio.sleep(0.01)
        gaps.append(monotonic() - began - 0.01)
