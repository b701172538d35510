"""What an audit reads in the raw topic: what its records come to, read with today's code."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Set
from typing import Final

import msgspec

from operators.audit.content import Account, content_of
from operators.audit.partition_reader import PartitionReader
from processor.core.cursor import Cursor
from processor.core.history import rebuild
from processor.core.reading import Read, Reading, authorized, read
from processor.core.state import StoredObservation, forgotten
from processor.storage.store import Store
from runtime.kafka_records import raw_record
from runtime.postgres import Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.observation import Erase, Observation
from schemas.records import AnyHeaders
from schemas.vocabulary import DeadLetterReason

_Q: Final = load_queries("operators.audit")

_unpack_headers: Final = msgspec.msgpack.Decoder(AnyHeaders).decode


class _Heard(msgspec.Struct, frozen=True, gc=False):
    """What a raw record says. `root` is the offset of the record that it has read again, else its own."""

    offset: int
    root: int
    observation: Observation


class Raw:
    """A partition's raw records, read with today's code: what they say about a share of its shipments."""

    def __init__(self, settings: Settings, pool: Pool, tail: PartitionReader, partition: int, cursor: Cursor) -> None:
        """Prepare; `begin` says which shipments."""
        self._settings = settings
        self._pool = pool
        self._tail = tail
        self._partition = partition
        self._cursor = cursor
        self._holds: Callable[[str], bool] = lambda _: True
        self._histories: dict[str, list[_Heard]] = {}

    async def begin(self, holds: Callable[[str], bool]) -> None:
        """Begin again at the log's start, for the shipments of another share."""
        self._holds = holds
        self._histories = defaultdict(list)
        await self._tail.rewind()

    async def read_on(self, next_offset: int) -> None:
        """Read what was applied before `next_offset`."""
        async for records in self._tail.up_to(next_offset):
            unstorable = await self._unstorable(records[0].offset, records[-1].offset + 1)
            zone_of, partitions = self._settings.assumed_zone, self._cursor.partitions
            readings = [
                read(raw_record(record), zone_of, partitions) for record in records if record.offset not in unstorable
            ]
            for reading in authorized(readings, await Store(self._pool).written_down(readings)):
                self._keep(reading)

    def _keep(self, reading: Reading) -> None:
        """Keep what a record says. One read again says what its root says: the fold knows it for a repeat."""
        if isinstance(reading, Read) and self._holds(reading.observation.shipment_id):
            offset, root = reading.record.offset, reading.root
            at = root[1] if root and root[0] == self._partition else offset
            self._histories[reading.observation.shipment_id].append(_Heard(offset, at, reading.observation))

    async def _unstorable(self, start: int, end: int) -> set[int]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["audit_refused"], self._partition, self._cursor.incarnation, start, end)
        reason = ("dlq-reason", DeadLetterReason.UNSTORABLE.encode())
        return {row["cause_offset"] for row in rows if reason in _unpack_headers(row["headers"])}

    def refold(self, shipment_id: str, beyond: Set[int], elsewhere: Set[int] = frozenset()) -> Account | None:
        """Return what the records read so far come to, but for those at offsets `beyond` the shipment's limit.

        What is stored `elsewhere` does not count either, nor what reads it again.
        """
        heard = self._histories.get(shipment_id, ())
        said = [each.observation for each in heard if each.offset not in beyond and each.root not in elsewhere]
        if not said:
            return None
        if any(isinstance(each.decision, Erase) for each in said):
            said = [forgotten(each) for each in said]
        return content_of(rebuild(COURIERS[said[0].courier], shipment_id, 0, map(StoredObservation, said)))

    def offsets(self, shipment_id: str) -> frozenset[int]:
        """Return where the records lie that say something about a shipment, of those read so far."""
        return frozenset(each.offset for each in self._histories.get(shipment_id, ()))

    async def stored_elsewhere(self, shipment_id: str) -> frozenset[int]:
        """Return which of these records are stored as another shipment's: there they stay, whatever they say today."""
        offsets = list({each.root for each in self._histories.get(shipment_id, ())})
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                _Q["audit_elsewhere"], self._partition, self._cursor.incarnation, offsets, shipment_id
            )
        return frozenset(row["raw_offset"] for row in rows)

    async def start(self) -> int:
        """Return the log's first offset."""
        return await self._tail.start()

    @property
    def names(self) -> Iterable[str]:
        """The shipments that the records read so far are about."""
        return self._histories
