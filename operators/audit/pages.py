"""What an audit reads in PostgreSQL: some shipments with all that is stored of them, in one snapshot."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from operators.audit.content import content_of, shown_by
from operators.audit.facts import Facts, ShipmentRow, StoredEvent
from operators.audit.state_topic import States
from processor.core.cursor import Cursor
from processor.core.errors import StoredRowError, UnstorableError
from processor.core.plan import MAX_BATCH
from processor.core.state import Shipment, is_outdated
from processor.storage.rows import read_event, read_view
from processor.storage.shipments import LOADED_BYTES
from processor.storage.store import Store
from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.vocabulary import AnomalyKind

_Q: Final = load_queries("operators.audit")


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
            content_of(shipments[name]) if name in shipments else None,
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

    A shipment of which something stored cannot be read is left out.
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
        event = read_event(row)
    except StoredRowError:
        event = None
    here = row["raw_partition"], row["incarnation"]
    of_this_log = here == (comparing.partition, comparing.cursor.incarnation)
    return StoredEvent(row["version"], event, of_this_log and row["cause_offset"] < comparing.emitted)


def _row(row: Any) -> ShipmentRow:
    try:
        content = shown_by(read_view(row))
    except (ValueError, msgspec.ValidationError):
        content = None
    return ShipmentRow(row["version"], content, row["erased"], row["retired"])
