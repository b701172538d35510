"""What an audit reads: the state topic as digests, the raw topic with today's code, pages of the database."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from operators.audit.compare import (
    Content,
    Difference,
    Facts,
    Published,
    Row,
    StoredEvent,
    fields,
    published,
    read_state,
    unlike,
)
from operators.shared.errors import OperatorError
from processor.core.cursor import Cursor
from processor.core.errors import StoredRowError, UnstorableError
from processor.core.plan import MAX_BATCH
from processor.core.reading import Read, Reading, authorized, read
from processor.core.state import Past, Shipment, forgotten, is_outdated, rebuild
from processor.storage.store import LOADED_BYTES, Store, read_snapshot
from runtime.kafka_records import raw_record
from runtime.postgres import Connection, Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.events import Event, State
from schemas.observation import Erase, Observation
from schemas.records import AnyHeaders
from schemas.topics import Topic
from schemas.vocabulary import AnomalyKind, DeadLetterReason, Phase

STALL_SECONDS: Final = 30.0
"""How long a topic may give no record before its end is reached: a broker's new leader is there by then."""

_Q: Final = load_queries("operators.audit")
_decode_event: Final = msgspec.json.Decoder(Event).decode
_unpack_headers: Final = msgspec.msgpack.Decoder(AnyHeaders).decode


class Tail:
    """Reads one partition of a topic from its start, on and on."""

    def __init__(self, reader: AIOKafkaConsumer, topic: str, partition: int) -> None:
        """Keep the reader, which is started; it serves one tail at a time."""
        self._reader = reader
        self._topic = TopicPartition(topic, partition)
        self._ahead: deque[Any] = deque()

    async def rewind(self) -> None:
        """Begin, or begin again, at the first record."""
        self._ahead.clear()
        self._reader.assign([self._topic])
        await self._reader.seek_to_beginning(self._topic)

    async def go_to(self, offset: int) -> None:
        """Go on at an offset, or a little before: what is near is read through. Offsets only go up."""
        while self._ahead and self._ahead[0].offset < offset:
            self._ahead.popleft()
        if not self._ahead and not 0 <= offset - await self._reader.position(self._topic) <= MAX_BATCH:
            self._reader.seek(self._topic, offset)

    async def start(self) -> int:
        """Return the first offset."""
        return int((await self._reader.beginning_offsets([self._topic]))[self._topic])

    async def end(self) -> int:
        """Return the offset behind the last committed record."""
        return int((await self._reader.end_offsets([self._topic]))[self._topic])

    async def up_to(self, offset: int) -> AsyncIterator[list[Any]]:
        """Give the records not given yet, up to an offset."""
        waiting_since = monotonic()
        while True:
            taken = []
            while self._ahead and self._ahead[0].offset < offset:
                taken.append(self._ahead.popleft())
            if taken:
                yield taken
                waiting_since = monotonic()
            if self._ahead or await self._reader.position(self._topic) >= offset:
                return
            fetched = await self._reader.getmany(self._topic, timeout_ms=1000, max_records=MAX_BATCH)
            self._ahead.extend(fetched.get(self._topic, ()))
            if monotonic() - waiting_since > STALL_SECONDS:
                raise OperatorError(f"{self._topic.topic}, partition {self._topic.partition}, gives no record")

    async def at(self, offset: int) -> bytes | None:
        """Return the value of a record read before; the next read begins again behind the newest read."""
        position = await self._reader.position(self._topic)
        self._reader.seek(self._topic, offset)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                while not (fetched := await self._reader.getmany(self._topic, timeout_ms=1000, max_records=1)):
                    pass
        finally:
            self._reader.seek(self._topic, position)
        (record,) = fetched[self._topic]
        return record.value if record.offset == offset else None


class States:
    """The newest published state of each shipment of a partition, as digests."""

    def __init__(self, tail: Tail, holds: Callable[[str], bool]) -> None:
        """Keep those shipments' states that `holds` says."""
        self._tail = tail
        self._holds = holds
        self.newest: dict[str, Published] = {}

    async def read_on(self) -> None:
        """Read to the topic's end."""
        async for records in self._tail.up_to(await self._tail.end()):
            for record in records:
                name = str(record.key or b"", "utf-8", "replace").replace("\0", "\ufffd")  # PostgreSQL takes no NUL
                if not self._holds(name):
                    continue
                if record.value is None:
                    self.newest.pop(name, None)
                else:
                    self.newest[name] = published(record.value, record.offset)

    def seen_by(self, facts: Facts) -> Facts:
        """Return the facts with what is published now."""
        return msgspec.structs.replace(facts, published=self.newest.get(facts.shipment_id))

    async def differences(self, facts: Facts, wanted: State | Content) -> Iterable[Difference]:
        """Read a published state again to say in which fields it differs."""
        assert facts.published is not None
        value = await self._tail.at(facts.published.offset)
        state = None if value is None else read_state(value)
        if state is None:  # compacted meanwhile
            return [Difference(Topic.STATE, "value", "as stored", "another", facts.partition, facts.shipment_id)]
        found = state if isinstance(wanted, State) else Content.told(state)
        return unlike(facts, Topic.STATE, fields(wanted), fields(found))


class _Heard(msgspec.Struct, frozen=True, gc=False):
    """What a raw record says. `root` is the offset of the record that it has read again, else its own."""

    offset: int
    root: int
    observation: Observation


class Raw:
    """A partition's raw records, read with today's code: what they say about a share of its shipments."""

    def __init__(self, settings: Settings, pool: Pool, tail: Tail, partition: int, cursor: Cursor) -> None:
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

    def refold(self, shipment_id: str, beyond: Set[int], elsewhere: Set[int] = frozenset()) -> Content | None:
        """Return what the records read so far come to, but for those at offsets `beyond` the shipment's limit.

        What is stored `elsewhere` does not count either, nor what reads it again.
        """
        heard = self._histories.get(shipment_id, ())
        said = [each.observation for each in heard if each.offset not in beyond and each.root not in elsewhere]
        if not said:
            return None
        if any(isinstance(each.decision, Erase) for each in said):
            said = [forgotten(each) for each in said]
        return _folded(rebuild(COURIERS[said[0].courier], shipment_id, 0, map(Past, said)))

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


class Page(msgspec.Struct, frozen=True):
    """Some shipments, as one snapshot of the database shows them."""

    facts: list[Facts]
    next_offset: int
    coordinates: Mapping[str, list[tuple[int, int, int]]]
    """Incarnation, partition and offset of each stored observation, by shipment."""
    beyond: Mapping[str, frozenset[int]]
    """Of shipments that have reached their limit: the offsets of this log's records that they did not keep."""


class Comparing(msgspec.Struct, frozen=True):
    """One partition's comparison. Everything before `emitted` was published when `states` began to be read.

    `deadline` (of the monotonic clock) is how long something published may take to show.
    """

    partition: int
    cursor: Cursor
    emitted: int
    states: States
    deadline: float


class _Held:
    """A connection in a transaction, where a pool is asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        yield self._connection


async def read_page(connection: Connection, comparing: Comparing, names: Sequence[str], next_offset: int) -> Page:
    """Read what is known of the first of some shipments, as many as can be held at once.

    The connection is in a snapshot, whose cursor is at `next_offset`.
    """
    cursor = comparing.cursor
    shipments, seen = await _load(Store(_Held(connection)), names)
    names = names[:seen]
    rows = {row["shipment_id"]: _row(row) for row in await connection.fetch(_Q["audit_rows"], names)}
    observations = defaultdict(list)
    for row in await connection.fetch(_Q["audit_observations"], names):
        observations[row["shipment_id"]].append(row)
    events = defaultdict(list)
    for row in await connection.fetch(_Q["audit_events"], names):
        events[row["shipment_id"]].append(_event(row, comparing))
    forgetting = set()
    if any(row.retired for row in rows.values()):
        waiting = await connection.fetch(
            _Q["audit_tombstones"], comparing.partition, cursor.incarnation, comparing.emitted
        )
        forgetting = {row["shipment_id"] for row in waiting}
    facts = [
        Facts(
            name,
            comparing.partition,
            rows.get(name),
            _folded(shipments[name]) if name in shipments else None,
            len(observations[name]),
            tuple(row["version"] for row in observations[name] if row["version"] is not None),
            tuple(events[name]),
            comparing.states.newest.get(name),
            recovered=cursor.recovery > 0,
            forgetting=name in forgetting,
            outdated=name in shipments and is_outdated(shipments[name]),
        )
        for name in names
    ]
    if cursor.recovery:
        facts = [await _with_derived(connection, each, observations[each.shipment_id]) for each in facts]
    coordinates = {
        name: [(row["incarnation"], row["raw_partition"], row["raw_offset"]) for row in found]
        for name, found in observations.items()
    }
    beyond = {name: _not_kept(found, cursor) for name, found in observations.items() if _is_full(found)}
    return Page(facts, next_offset, coordinates, beyond)


def _is_full(observations: Sequence[Any]) -> bool:
    return any(row["anomaly_kind"] == AnomalyKind.HISTORY_LIMIT for row in observations)


def _not_kept(observations: Sequence[Any], cursor: Cursor) -> frozenset[int]:
    here = (row for row in observations if row["incarnation"] == cursor.incarnation)
    return frozenset(row["raw_offset"] for row in here if not row["kept"])


async def _load(store: Store, names: Sequence[str]) -> tuple[dict[str, Shipment], int]:
    """Fold the first of some shipments once more, and say how many of the names that speaks for.

    One of which something stored is none of ours is left out.
    """
    try:
        return await store.load_some(names, LOADED_BYTES)
    except (StoredRowError, UnstorableError):
        return ({}, 1) if len(names) == 1 else await _load(store, names[: len(names) // 2])


async def _with_derived(connection: Connection, facts: Facts, observations: Sequence[Any]) -> Facts:
    """Find the events that a recovery derived without storing them: their batch stored no output at all."""
    stored = {each.version for each in facts.events}
    missing = [row for row in observations if row["version"] is not None and row["version"] not in stored]
    derived = set[int]()
    for partition, incarnation in {(row["raw_partition"], row["incarnation"]) for row in missing}:
        batch = [row for row in missing if (row["raw_partition"], row["incarnation"]) == (partition, incarnation)]
        found = await connection.fetch(
            _Q["audit_batches"],
            partition,
            incarnation,
            [row["raw_offset"] for row in batch],
            [row["recorded_at"] for row in batch],
            MAX_BATCH,
        )
        moments = {row["at"] for row in found}
        derived |= {row["version"] for row in batch if row["recorded_at"] not in moments}
    return msgspec.structs.replace(facts, derived=frozenset(derived))


def _event(row: Any, comparing: Comparing) -> StoredEvent:
    try:
        event = _decode_event(row["value"])
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        event = None
    here = row["raw_partition"], row["incarnation"]
    of_this_log = here == (comparing.partition, comparing.cursor.incarnation)
    return StoredEvent(row["version"], event, of_this_log and row["cause_offset"] < comparing.emitted)


def _folded(shipment: Shipment) -> Content | None:
    if shipment.snapshot is None or not shipment.entries:
        return None
    return Content.folded(shipment.entries[0].observation, shipment.snapshot)


def _row(row: Any) -> Row:
    try:
        content = _content(row)
    except (ValueError, msgspec.ValidationError):
        content = None
    return Row(row["version"], content, row["erased"], row["retired"])


def _content(row: Any) -> Content:
    return Content.showing(
        read_snapshot(row),
        courier=row["courier"],
        account=row["account"],
        courier_ref=row["courier_ref"],
        phase=Phase(row["phase"]),
        final=row["final"],
    )
