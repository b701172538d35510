"""How a batch is cut: into pieces that are planned, and stored, in good time.

A piece ends where enough was loaded, planned or is to be published, however few records that are. The plan of a batch
is the plans of its records one by one, so where it is cut does not show. While records are read and planned the loop
is given back every few milliseconds: it also sends the heartbeats, and serves the other partitions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from logging import ERROR, WARNING
from time import monotonic
from typing import Final

import msgspec
import structlog

from processor.core.cache import Cache
from processor.core.cursor import Cursor
from processor.core.errors import CulpritError, HaltError, UnplannableError
from processor.core.plan import Plan, Planner, concerned, covered
from processor.core.reading import Reading, Unreadable, ZoneOf, read
from processor.core.roots import recognised
from processor.core.state import Shipment
from processor.storage.shipments import LOADED_BYTES
from processor.storage.store import Store
from schemas.records import RawRecord, UnreadableError

LOOP_SECONDS: Final = 0.02
"""How long reading and planning may hold the event loop. One record more may come on top: milliseconds."""

PIECE_SECONDS: Final = 1.0
"""How much of planning makes a piece: then it is stored, so that what stands behind it is not the only one to wait. It
is looked at when the loop is given back."""

OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""How much a piece publishes: one Kafka transaction, far below what its timeout allows for."""

log = structlog.get_logger(__name__)


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

    @property
    def is_over(self) -> bool:
        """Whether it is time for the others."""
        return monotonic() - self._since >= LOOP_SECONDS

    async def pass_on(self) -> None:
        """Let the others have their turn."""
        self._held += monotonic() - self._since
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
        if turn.is_over:
            await turn.pass_on()
    return readings


async def plan_piece(
    store: Store, cache: Cache, readings: Sequence[Reading], cursor: Cursor, now: datetime, limit: int
) -> Piece:
    """Plan the first piece of a batch. Its shipments are no longer in the cache: planning changes them.

    `cursor` says of which log the records are. `limit`: how many observations a shipment keeps.
    """
    applied, roots = await store.recall(readings)
    readings = recognised(readings, roots)
    shipments, ready = await _gathered(store, cache, readings)
    planner = Planner(
        shipments, cursor.raw_topic, now, incarnation=cursor.incarnation, applied=applied, roots=roots, limit=limit
    )
    turn, taken = Turn(), 0
    with unplannable():
        for reading in readings[:ready]:
            planner.add(reading)
            taken += 1
            if planner.output_bytes > OUTPUT_BYTES:
                break
            if turn.is_over:
                await turn.pass_on()
                if turn.held > PIECE_SECONDS:
                    break
    return Piece(plan=planner.plan, taken=taken, shipments={**shipments, **planner.plan.shipments})


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
    names = list(dict.fromkeys(concerned(readings)))
    shipments = cache.take(names)
    missing = [name for name in names if name not in shipments]
    loaded, seen = await store.load_some(missing, LOADED_BYTES)
    return shipments | loaded, covered(readings, set(missing[seen:]))


async def store_piecewise(store: Callable[[Sequence[Reading]], Awaitable[int]], readings: Sequence[Reading]) -> None:
    """Store a batch. `store` stores its first piece and returns how many readings that are.

    What cannot be stored is cut in two until the culprit stands alone: a dead letter.

    Raises:
        HaltError: a dead letter cannot be stored either.

    """
    while readings:
        try:
            stored = await store(readings)
            readings = readings[stored:]
        except CulpritError as error:
            half = len(readings) // 2
            if half:
                await store_piecewise(store, readings[:half])
                readings = readings[half:]
            else:
                readings = [_dead(readings[0], error)]


def _dead(reading: Reading, error: CulpritError) -> Unreadable:
    """Return the dead letter of a record that cannot be stored."""
    at = reading.record.at
    if isinstance(reading, Unreadable):
        raise HaltError(f"the record {at} cannot even be stored as it is: {error}") from error
    fault = isinstance(error, UnplannableError)
    log.log(ERROR if fault else WARNING, "a record cannot be stored", record=at, why=str(error), exc_info=fault)
    return Unreadable(
        reading.record, UnreadableError(error.reason, str(error)), reading.command_id, reading.traceparent
    )
