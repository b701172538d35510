"""The rows of `shipments`, `observations` and `applied_commands`, from structs and back.

`outputs.py` has those of `outputs`, `cursors.py` those of `cursors`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from processor.core.errors import StoredRowError
from processor.core.fold import Snapshot
from processor.core.plan import AppliedCommand, ObservationRow, Plan
from processor.core.state import Shipment
from processor.core.view import View, shown_values
from schemas import stored_event
from schemas.events import Event, State
from schemas.observation import NO_DETAILS, Carrier, Charges, Details, Observation, Persons, Stamp
from schemas.stored_event import EventRow, pack_event, with_traceparent
from schemas.stored_form import UNREADABLE
from schemas.stored_observation import pack_observation, read_observation
from schemas.vocabulary import Phase, Service, Status, TimeSource

DEAD_LETTER: Final = "dead_letter"
"""The outcome of a command whose record gave no observation."""

OBSERVATION_COLUMNS: Final = (
    "incarnation",
    "shipment_id",
    "raw_partition",
    "raw_offset",
    "outcome",
    "anomaly_kind",
    "version",
    "kept",
    "said",
    "event",
    "awb",
    "recorded_at",
    "replay_of_partition",
    "replay_of_offset",
    "command_id",
)
_OFFSET_COLUMN: Final = OBSERVATION_COLUMNS.index("raw_offset")
_EVENT_COLUMN: Final = OBSERVATION_COLUMNS.index("event")
COMMAND_COLUMNS: Final = ("command_id", "raw_partition", "raw_offset", "outcome", "applied_at")


_json: Final = msgspec.json.Encoder().encode
_decode_event: Final = msgspec.json.Decoder(Event).decode
_JSON_DETAILS: Final = {
    "carrier": msgspec.json.Decoder(Carrier).decode,
    "charges": msgspec.json.Decoder(Charges).decode,
}
_read_persons: Final = msgspec.json.Decoder(Persons).decode

_SHIPMENT_COLUMNS: Final = ("shipment_id", *View.__struct_fields__, "version", "updated_at")
_DETAIL_COLUMNS: Final = tuple(name for name in Details.__struct_fields__ if name not in Persons.__struct_fields__)

ShipmentRow: TypeAlias = dict[str, Any]
"""A row of `shipments` as `upsert_shipments` takes it: what each column becomes, by its name."""


def shipment_rows(plan: Plan, now: datetime) -> list[ShipmentRow]:
    """Return the rows of changed shipments, in the order of their ids so that no two batches deadlock."""
    return [_shipment_row(plan.shipments[name], plan.changed[name], now) for name in sorted(plan.changed)]


def _shipment_row(shipment: Shipment, observation: Observation, now: datetime) -> ShipmentRow:
    """Return a shipment's row, which an observation has changed."""
    assert shipment.snapshot is not None
    view = View.of(shipment.snapshot, observation.courier, observation.account, observation.reference)
    return _row(shipment.shipment_id, msgspec.structs.astuple(view), shipment.version, now)


def state_row(state: State, now: datetime) -> ShipmentRow:
    """Return the row of a shipment of which only the published state is left."""
    return _row(state.shipment_id, shown_values(state), state.version, now)


def _row(shipment_id: str, shown: Sequence[Any], version: int, now: datetime) -> ShipmentRow:
    return dict(zip(_SHIPMENT_COLUMNS, (shipment_id, *shown, version, now), strict=True))


def read_snapshot(row: Any) -> Snapshot:
    """Read the snapshot that a row of `shipments` shows.

    Raises:
        ValueError, msgspec.DecodeError: a value in it is unknown, or of another form.

    """
    details = {name: row[name] for name in _DETAIL_COLUMNS}
    for name, decode in _JSON_DETAILS.items():
        details[name] = decode(details[name]) if details[name] else None
    persons = msgspec.structs.asdict(_read_persons(row["personal"]))
    return Snapshot(
        service=Service(row["service"]),
        status=Status(row["status"]),
        courier_status=row["courier_status"],
        failed_count=row["failed_count"],
        occurred=Stamp(row["occurred_at"], TimeSource(row["occurred_at_source"])),
        details=Details(**details, **persons),
    )


def read_view(row: Any) -> View:
    """Read a row of `shipments`, with whatever it says about what follows from the rest of it.

    Raises:
        ValueError, msgspec.DecodeError: a value in it is unknown, or of another form.

    """
    return View.showing(
        read_snapshot(row), row["courier"], row["account"], row["courier_ref"], Phase(row["phase"]), final=row["final"]
    )


def observation_record(
    row: ObservationRow, shipments: Mapping[str, Shipment], incarnation: int, now: datetime
) -> tuple[Any, ...]:
    """Return an observation's row, for `OBSERVATION_COLUMNS`. `shipments` are as they are behind its batch."""
    record, observation, event, root = row.record, row.observation, row.event, row.root
    name, (partition, offset) = observation.shipment_id, row.place
    return (
        incarnation,
        name,
        record.partition,
        record.offset,
        row.outcome,
        row.anomaly_kind,
        row.version,
        row.kept,
        pack_observation(observation if row.kept else _bare(observation)),
        None if event is None else pack_event(event, EventRow(name, event.version, partition, offset), now),
        _unshown_awb(observation, shipments) if row.kept else None,
        now,
        partition if root else None,
        offset if root else None,
        row.command_id,
    )


def traced(record: tuple[Any, ...], traces: Mapping[int, str]) -> tuple[Any, ...]:
    """Return an observation's row, for `OBSERVATION_COLUMNS`, with its trace's header beside its event."""
    event, traceparent = record[_EVENT_COLUMN], traces.get(record[_OFFSET_COLUMN])
    if event is None or traceparent is None:
        return record
    return (*record[:_EVENT_COLUMN], with_traceparent(event, traceparent), *record[_EVENT_COLUMN + 1 :])


def _unshown_awb(observation: Observation, shipments: Mapping[str, Shipment]) -> str | None:
    """Return the AWB that an observation gives, where its shipment's row shows another or none."""
    awb = observation.details.awb
    if awb is None:
        return None
    shipment = shipments.get(observation.shipment_id)
    return awb if shipment is None or shipment.shown is None or shipment.shown.details.awb != awb else None


def _bare(observation: Observation) -> Observation:
    """Leave out the details of what is not kept: a repeat's are stored already, and no fold looks at the others'."""
    return msgspec.structs.replace(observation, details=NO_DETAILS)


def read_reading(row: Any) -> Observation:
    """Read a stored observation. The row names its shipment and its raw record.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    try:
        return read_observation(row["shipment_id"], row["reading"], row["said"])
    except UNREADABLE as error:
        raise StoredRowError(record_name(row), error) from error


def event_row(row: Any) -> EventRow:
    """Return what a row says beside its event's stored form."""
    return EventRow(row["shipment_id"], row["version"], row["root_partition"], row["root_offset"])


def read_event(row: Any) -> Event:
    """Read a stored event: of a row with its stored form, or, of an older version, with its bytes.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    try:
        if row["event"] is None:
            return _decode_event(row["value"])
        return stored_event.read_event(row["event"], event_row(row))
    except (*UNREADABLE, TypeError) as error:
        raise StoredRowError(f"the event {row['shipment_id']}/{row['version']}", error) from error


def read_event_name(row: Any) -> str:
    """Return the id of a stored event, if all of it can be read and is of the row's version.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    if row["event"] is None:
        event = read_event(row)
        return event.id if event.version == row["version"] else f"{event.id} of version {event.version}"
    try:
        return stored_event.event_name(row["event"], event_row(row))
    except UNREADABLE as error:
        raise StoredRowError(f"the event {row['shipment_id']}/{row['version']}", error) from error


def record_name(row: Any) -> str:
    """Return what an error calls a row of `observations`: by its shipment and its raw record."""
    incarnation = f"{row['incarnation']}/" if row["incarnation"] else ""
    place = f"{incarnation}{row['raw_partition']}:{row['raw_offset']}"
    return f"the observation of shipment {row['shipment_id']} from raw record {place}"


def command_record(command: AppliedCommand, now: datetime) -> tuple[Any, ...]:
    """Return an applied command's row, for `COMMAND_COLUMNS`."""
    record = command.record
    return (command.command_id, record.partition, record.offset, command.outcome or DEAD_LETTER, now)


def json_text(value: object) -> str | None:
    """Return a value as JSON, as columns of type json take it; nothing stays nothing."""
    return None if value is None else _json(value).decode()
