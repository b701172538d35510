"""A database with the shipments of two months, made by SQL: one life for each hour, stored as a processor stores it,
multiplied with other ids.

What a row says of its shipment in packed form leaves out id and reference; the order's number has as many digits for
every parcel, so it is laid over the template's. The rows' offsets are below 0: the log is as one that has let go all of
them, and begins with the record after.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from bench.backlog import WORDS
from bench.machine import sample
from processor.core.messages import batch_messages
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from processor.storage.batch import BatchRows
from processor.storage.rows import OBSERVATION_COLUMNS, json_text
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.records import RawRecord
from schemas.topics import Topic
from tests.integration.system import raw_records

HOURS: Final = 60 * 24
"""Lives that differ: one begins each hour of two months."""

STAGES: Final = (0, 1, 5, 23, 28, 47)
"""Hours after the first webhook at which the six come."""

UNDER_WAY: Final = 72
"""The lives of the last hours have not ended: with a parcel every few seconds, some days' worth."""

DIGITS: Final = 9
"""Of a parcel's number: all have as many, so that one stands in place of another."""

SPREAD: Final = 618_033_989
"""Couriers number their parcels by no order of ours: neighbours in time are none in an index."""

ID: Final = "dash:DE-"
REFERENCE: Final = "DE-"
ORDER: Final = "O-"

_MARK: Final = "9" * DIGITS
_MARKED_OFFSET: Final = 8_888_888_888
_AT: Final = b'"partition":0,"offset":%d' % _MARKED_OFFSET

_Q: Final = load_queries("bench", "growth.sql")


def digits(number: int) -> str:
    """Return the digits of the parcel of a number, other ones for every number below 10⁹."""
    return f"{number * SPREAD % 10**DIGITS:0{DIGITS}}"


class Stage(msgspec.Struct, frozen=True):
    """A webhook of a life: when it was recorded, and the row that it gave, by column."""

    at: datetime
    row: dict[str, Any]


class Life(msgspec.Struct, frozen=True):
    """A parcel's six webhooks as they are stored: its observations, its row in the order of columns, its state."""

    stages: Sequence[Stage]
    shipment: Sequence[Any]
    state: bytes


@lru_cache
def _example(word: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(sample(f"dash/logistic/{word}.json"))
    return found


def life(settings: Settings, began: datetime, *, ends: bool) -> Life:
    """Have the processor's own code read and plan the webhooks of a parcel."""
    words = WORDS if ends else (*WORDS[:-1], "pending_delivery")
    shipments: dict[str, Shipment] = {}
    stages, plan, rows = list[Stage](), None, None
    for hours, word in zip(STAGES, words, strict=True):
        at = began + timedelta(hours=hours)
        updated = at.isoformat().replace("+00:00", "Z")
        body = {**_example(word), "deliveryID": f"{REFERENCE}{_MARK}", "providerOrderID": f"{ORDER}{_MARK}"}
        (raw,) = raw_records(
            "dash", msgspec.json.encode({**body, "updatedAt": updated, "failedCount": hours // 24}), at
        )
        record = RawRecord(0, _MARKED_OFFSET, raw.key, raw.value, tuple(raw.headers), raw.timestamp_ms)
        reading = read(record, settings.assumed_zone, 1)
        plan = Planner(shipments, settings.topic(Topic.RAW), at).add_all([reading])
        shipments |= plan.shipments
        rows = BatchRows.of(plan, 0, at)
        (row,) = rows.observations
        stages.append(Stage(at, dict(zip(OBSERVATION_COLUMNS, row, strict=True))))
    assert plan is not None
    assert rows is not None
    (state,) = (message for message in batch_messages(plan.outputs) if message.topic is Topic.STATE)
    assert state.value is not None
    (shipment,) = rows.shipments
    values = [json_text(value) if isinstance(value, msgspec.Struct) else value for value in shipment.values()]
    return Life(stages, values, state.value)


class Filling:
    """Two months of shipments, to be stored."""

    def __init__(self, settings: Settings, shipments: int, until: datetime) -> None:
        """Plan so many `shipments`, or a few less; the newest webhook came at `until`."""
        self.shipments = shipments // HOURS * HOURS
        self._each = shipments // HOURS
        self._settings = settings
        first = until - timedelta(hours=HOURS + STAGES[-1])
        self._lives = [
            life(settings, first + timedelta(hours=hour), ends=hour < HOURS - UNDER_WAY) for hour in range(HOURS)
        ]
        self._homes = [self._partitions(hour) for hour in range(HOURS)]
        self._ends = dict.fromkeys(range(settings.topic_partitions), 0)
        for homes in self._homes:
            for home in homes:
                self._ends[home] -= len(STAGES)
        self.records = {partition: -first for partition, first in self._ends.items()}
        self._last: list[list[int]] = [[] for _ in range(HOURS)]

    def digits(self, hour: int) -> list[str]:
        """Return the digits of the parcels of an hour."""
        return [digits(number) for number in range(hour * self._each, (hour + 1) * self._each)]

    def _partitions(self, hour: int) -> bytes:
        count = self._settings.topic_partitions
        return bytes(partition_of(f"{ID}{each}".encode(), count) for each in self.digits(hour))

    async def store(self, connection: Any) -> AsyncIterator[float]:
        """Store the rows in the order of their times; give how much of it is done."""
        await connection.execute("set synchronous_commit = off")
        steps = sorted(
            (stage.at, hour, place) for hour, each in enumerate(self._lives) for place, stage in enumerate(each.stages)
        )
        for done, (_, hour, place) in enumerate(steps, start=1):
            await self._observations(connection, hour, place)
            if place == len(STAGES) - 1:
                await self._shipments(connection, hour)
            yield done / len(steps)
        await connection.execute(
            _Q["begin_cursors"],
            self._settings.topic(Topic.RAW),
            self._settings.topic_partitions,
            self._settings.group_id,
            *map(list, zip(*self.records.items(), strict=True)),
        )

    async def _observations(self, connection: Any, hour: int, place: int) -> None:
        homes, row = self._homes[hour], self._lives[hour].stages[place].row
        offsets = self._last[hour] = [self._next(home) for home in homes]
        await connection.execute(
            _Q["add_observations"],
            *(self.digits(hour), list(homes), offsets, ID),
            *(row["outcome"], row["version"], row["kept"]),
            *(row["said"], _place(row["said"]), row["event"], _place(row["event"])),
            row["recorded_at"],
        )

    async def _shipments(self, connection: Any, hour: int) -> None:
        _, courier, account, _, *shown = self._lives[hour].shipment
        del shown[8]  # the order's number is its own
        await connection.execute(_Q["add_shipments"], self.digits(hour), ID, REFERENCE, ORDER, courier, account, *shown)

    def _next(self, partition: int) -> int:
        offset = self._ends[partition]
        self._ends[partition] += 1
        return offset

    def states(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Return what the state topic has of them, once they are stored: partition, key and value."""
        mark = _MARK.encode()
        for hour, each in enumerate(self._lives):
            for name, home, offset in zip(self.digits(hour), self._homes[hour], self._last[hour], strict=True):
                value = each.state.replace(mark, name.encode()).replace(
                    _AT, b'"partition":%d,"offset":%d' % (home, offset)
                )
                yield home, f"{ID}{name}".encode(), value


def _place(packed: bytes) -> int:
    """Return where the order's number stands in a packed form, counted from 1."""
    mark = _MARK.encode()
    assert packed.count(mark) == 1, "a packed row has the parcel's number once, in its order"
    return packed.index(mark) + 1
