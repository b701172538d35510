"""What an audit reads in PostgreSQL: some shipments with all that is stored of them, in one snapshot."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from operators.audit.content import content_of, shown_by
from operators.audit.facts import Facts, ShipmentRow, StoredEvent
from operators.audit.state_topic import States
from processor.core.cursor import Cursor
from processor.core.errors import StoredRowError
from processor.core.plan import MAX_BATCH
from processor.core.state import Shipment, is_outdated
from processor.storage.rows import read_event, read_event_name, read_view
from processor.storage.shipments import LOADED_BYTES, histories, read_past, rebuilt, retired
from runtime.postgres import Connection, Row
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


async def read_page(connection: Connection, comparing: Comparing, names: Sequence[str], next_offset: int) -> Page:
    """Read what is known of the first of some shipments, as many as can be held at once.

    The connection is in a snapshot, whose cursor is at `next_offset`.
    """
    cursor = comparing.cursor
    rows = {row["shipment_id"]: row for row in await connection.fetch(_Q["audit_rows"], names)}
    observations, shipments, size = dict[str, list[Row]](), dict[str, Shipment | None](), 0
    async for name, found in histories(await connection.cursor(_Q["audit_observations"], names), _as_it_is):
        observations[name], shipments[name] = found, (shipment := _folded(name, rows.get(name), found))
        size += shipment.weight if shipment else 0
        if size > LOADED_BYTES:
            break
    events = defaultdict(list)
    for row in await connection.fetch(_Q["audit_events"], list(observations)):
        events[row["shipment_id"]].append(row)
    waiting = set()
    if any(rows[name]["retired"] for name in observations if name in rows):
        place = comparing.partition, cursor.incarnation, comparing.emitted
        waiting = {row["shipment_id"] for row in await connection.fetch(_Q["audit_tombstones"], *place)}
    facts = [
        _facts(name, rows.get(name), found, events[name], shipments[name], comparing, forgetting=name in waiting)
        for name, found in observations.items()
    ]
    if cursor.recovery:
        facts = [await _with_derived(connection, each, observations[each.shipment_id]) for each in facts]
    coordinates = {
        name: [(row["incarnation"], row["raw_partition"], row["raw_offset"]) for row in found]
        for name, found in observations.items()
    }
    beyond = {name: _not_kept(found, cursor) for name, found in observations.items() if _is_full(found)}
    return Page(facts, next_offset, coordinates, beyond)


def _as_it_is(row: Row) -> Row:
    return row


def _folded(name: str, row: Row | None, observations: Sequence[Row]) -> Shipment | None:
    """Fold a shipment once more. None: nothing is known of it, or something of it cannot be read."""
    try:
        if row is not None and row["retired"]:
            return retired(row)
        return rebuilt(name, [read_past(each) for each in observations if each["kept"]], row)
    except StoredRowError:
        return None


def _facts(
    name: str,
    row: Row | None,
    observations: Sequence[Row],
    events: Sequence[Row],
    shipment: Shipment | None,
    comparing: Comparing,
    *,
    forgetting: bool,
) -> Facts:
    """Put together what is known of a shipment. `events` are those that do not stand beside an observation."""
    beside = [each for each in observations if each["event"] is not None]
    return Facts(
        name,
        comparing.partition,
        None if row is None else _row(row),
        content_of(shipment) if shipment else None,
        len(observations),
        tuple([each["version"] for each in observations if each["version"] is not None]),
        tuple([_event(each, comparing) for each in (*beside, *events)]),
        comparing.states.newest.get(name),
        recovered=comparing.cursor.recovery > 0,
        forgetting=forgetting,
        outdated=shipment is not None and is_outdated(shipment),
    )


def _is_full(observations: Sequence[Any]) -> bool:
    return any(row["anomaly_kind"] == AnomalyKind.HISTORY_LIMIT for row in observations)


def _not_kept(observations: Sequence[Any], cursor: Cursor) -> frozenset[int]:
    here = (row for row in observations if row["incarnation"] == cursor.incarnation)
    return frozenset(row["raw_offset"] for row in here if not row["kept"])


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


def _event(row: Row, comparing: Comparing) -> StoredEvent:
    here = row["raw_partition"], row["incarnation"]
    of_this_log = here == (comparing.partition, comparing.cursor.incarnation)
    published = of_this_log and row["raw_offset"] < comparing.emitted
    try:
        name = read_event_name(row)
    except StoredRowError:
        return StoredEvent(row["version"], None, published, None)
    return StoredEvent(row["version"], name, published, partial(read_event, row))


def _row(row: Any) -> ShipmentRow:
    try:
        content = shown_by(read_view(row))
    except (ValueError, msgspec.ValidationError):
        content = None
    return ShipmentRow(row["version"], content, row["erased"], row["retired"])
