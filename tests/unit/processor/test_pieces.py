"""Batches are cut by what they load, take and publish, and let the loop go meanwhile."""

import asyncio
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

from processor.core.cache import Cache
from processor.core.cursor import Cursor
from processor.core.errors import HaltError, UnstorableError
from processor.core.reading import Read, Reading, Unreadable
from processor.core.state import Shipment, new_shipment
from processor.partition import pieces
from processor.partition.pieces import Piece, plan_piece, read_all, store_piecewise
from processor.storage.shipments import LOADED_BYTES
from schemas.couriers import COURIERS
from schemas.records import Provenance, RawRecord
from schemas.vocabulary import DeadLetterReason
from tests.hot_parcels import START, hot_records, recoveries, reversed_order
from tests.property.driving import RAW_TOPIC, readings_of, zone_of

CURSOR = Cursor(raw_topic=RAW_TOPIC, partitions=1, consumer_group="waybill", next_offset=0, emitted=0, epoch=1)


class StoredShipments:
    """The store's side: shipments of a weight each."""

    def __init__(self, each: int) -> None:
        self.each = each
        self.asked: list[list[str]] = []

    async def load_some(self, names: Sequence[str], most: int | None) -> tuple[dict[str, Shipment], int]:
        self.asked.append(list(names))
        found: dict[str, Shipment] = {}
        for name in names:
            found[name] = new_shipment(COURIERS["dash"], name)
            found[name].weight = self.each
            if most is not None and self.each * len(found) > most:
                break
        return found, len(found)

    async def recall(self, readings: Sequence[Reading]) -> tuple[frozenset[str], dict[Any, Any]]:
        return frozenset(), {}


def parcels(count: int) -> list[Reading]:
    body = b'{"deliveryID":"D-%d","status":"VERIFIED","updatedAt":"2025-03-01T08:00:00Z"}'
    headers = tuple(Provenance(courier="dash", received_at=START).headers())
    return readings_of([RawRecord(0, number, b"", body % number, headers, 0) for number in range(count)])


async def planned(store: StoredShipments, readings: Sequence[Reading], cache: Cache | None = None) -> Piece:
    held = Cache(1_000_000) if cache is None else cache
    return await plan_piece(store, held, readings, CURSOR, START, 5_000)  # type: ignore[arg-type]


async def test_a_batch_of_long_histories_is_loaded_in_pieces() -> None:
    store, readings = StoredShipments(each=30 * 1024 * 1024), parcels(8)
    taken = []
    while readings:
        piece = await planned(store, readings)
        assert len(piece.shipments) == piece.taken
        taken.append(piece.taken)
        readings = readings[piece.taken :]
    assert taken == [3, 3, 2]


async def test_a_shipment_heavier_than_a_piece_is_a_piece() -> None:
    store = StoredShipments(each=10 * LOADED_BYTES)
    assert (await planned(store, parcels(3))).taken == 1


async def test_a_piece_ends_where_enough_is_published() -> None:
    with patch.object(pieces, "OUTPUT_BYTES", 5_000):
        piece = await planned(StoredShipments(each=0), parcels(50))
    assert 2 < piece.taken < 20
    assert len(piece.plan.observations) == piece.taken


async def test_a_piece_ends_where_planning_takes_long() -> None:
    with patch.object(pieces, "PIECE_SECONDS", 0.0), patch.object(pieces, "LOOP_SECONDS", 0.0):
        assert (await planned(StoredShipments(each=0), parcels(5))).taken == 1


async def test_the_loop_goes_on_while_a_batch_is_read_and_planned() -> None:
    """With no time of its own, the batch lets the loop go for every record."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    with patch.object(pieces, "LOOP_SECONDS", 0.0):
        readings = await read_all(hot_records(recoveries, reversed_order(200)), zone_of, 1)
        assert turns >= 200
        piece = await planned(StoredShipments(each=0), readings)
    assert piece.taken == 200
    assert turns >= 400
    waiting.cancel()


async def test_what_is_being_changed_is_not_in_memory_until_it_is_stored() -> None:
    """So a batch that the database refuses leaves nothing half done: it is read again."""
    cache, store, readings = Cache(1_000_000), StoredShipments(each=10), parcels(4)
    cache.put((await planned(store, readings, cache)).shipments)
    assert len(cache) == 4
    piece = await planned(store, readings, cache)
    assert len(cache) == 0
    assert store.asked[1] == []
    cache.put(piece.shipments)
    assert len(cache) == 4


def place(reading: Reading) -> int:
    return reading.record.offset


async def test_pieces_follow_each_other_and_the_culprit_becomes_a_dead_letter() -> None:
    stored: list[Reading] = []

    async def store(readings: Sequence[Reading]) -> int:
        piece = readings[:3]
        if any(isinstance(each, Read) and place(each) == 5 for each in piece):
            raise UnstorableError("22021: bad data")
        stored.extend(piece)
        return len(piece)

    await store_piecewise(store, parcels(10))
    assert [place(each) for each in stored] == list(range(10))
    (dead,) = [each for each in stored if isinstance(each, Unreadable)]
    assert (place(dead), dead.error.reason) == (5, DeadLetterReason.UNSTORABLE)


async def test_a_dead_letter_that_cannot_be_stored_halts() -> None:
    async def store(_: Sequence[Reading]) -> int:
        raise UnstorableError("54000: too much")

    with pytest.raises(HaltError, match="54000"):
        await store_piecewise(store, parcels(2))
