"""How a batch is cut: into pieces that are planned, and stored, in good time.

A piece ends where enough was loaded, planned or is to be published, however few records that are. The plan of a batch
is the plans of its records one by one, so where it is cut does not show. While records are read and planned the loop
is given back every few milliseconds: it also sends the heartbeats, and serves the other partitions.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import Final

import msgspec

from processor.core.cache import Cache
from processor.core.errors import UnplannableError
from processor.core.plan import Plan, Planning, covered
from processor.core.reading import Read, Reading, ZoneOf, read
from processor.core.state import Shipment
from processor.storage.shipments import LOADED_BYTES
from processor.storage.store import Store
from schemas.records import RawRecord

LOOP_SECONDS: Final = 0.02
"""How long reading and planning may hold the event loop. One record more may come on top: milliseconds."""

PIECE_SECONDS: Final = 1.0
"""How much of planning makes a piece: then it is stored, so that what stands behind it is not the only one to wait."""

OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""How much a piece publishes: one Kafka transaction, far below what its timeout allows for."""


class Turn:
    """The event loop, held by one of many."""

    def __init__(self) -> None:
        """Begin to hold it."""
        self._since = monotonic()
        self._held = 0.0

    @property
    def held(self) -> float:
        """For how many seconds it was held, in all."""
        return self._held + monotonic() - self._since

    async def pass_on(self) -> None:
        """Let the others have their turn, if it is time."""
        spent = monotonic() - self._since
        if spent >= LOOP_SECONDS:
            self._held += spent
            await asyncio.sleep(0)
            self._since = monotonic()


class Piece(msgspec.Struct, frozen=True):
    """A part of a batch as planned: its first `taken` records. `shipments` are all that it was planned with."""

    plan: Plan
    taken: int
    shipments: dict[str, Shipment]


async def read_all(records: Sequence[RawRecord], zone_of: ZoneOf, partitions: int) -> list[Reading]:
    """Read raw records."""
    turn = Turn()
    readings = []
    for record in records:
        readings.append(read(record, zone_of, partitions))
        await turn.pass_on()
    return readings


async def plan_piece(
    store: Store,
    cache: Cache,
    readings: Sequence[Reading],
    raw_topic: str,
    now: datetime,
    incarnation: int,
    limit: int,
) -> Piece:
    """Plan the first piece of a batch. Its shipments are no longer in the cache: planning changes them."""
    shipments, ready = await _gathered(store, cache, readings)
    piece = readings[:ready]
    applied, roots = await store.recall(piece)
    planning = Planning(piece, shipments, raw_topic, now, incarnation, applied, roots, limit)
    turn = Turn()
    enough = False
    with unplannable():
        while planning.taken < ready and not enough:
            planning.take()
            await turn.pass_on()
            enough = turn.held > PIECE_SECONDS or planning.output_bytes > OUTPUT_BYTES
    plan = planning.done()
    return Piece(plan, planning.taken, {**shipments, **plan.shipments})


@contextmanager
def unplannable() -> Iterator[None]:
    """Turn whatever goes wrong in planning into `UnplannableError`: some record of the batch causes it."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise UnplannableError(f"applying it failed with {type(error).__name__}") from error


async def _gathered(store: Store, cache: Cache, readings: Sequence[Reading]) -> tuple[dict[str, Shipment], int]:
    """Return shipments, and of how many readings, from the first on, they are all that is known of."""
    names = list(dict.fromkeys(each.observation.shipment_id for each in readings if isinstance(each, Read)))
    shipments = cache.take(names)
    missing = [name for name in names if name not in shipments]
    loaded, seen = await store.load_some(missing, LOADED_BYTES)
    return shipments | loaded, covered(readings, set(missing[seen:]))
