"""The rows of `shipments`, `observations` and `applied_commands`, from structs and back.

`outputs.py` has those of `outputs`, `cursors.py` those of `cursors`.
"""

from datetime import datetime
from typing import Any, Final

import msgspec

from processor.core.errors import StoredRowError
from processor.core.fold import Snapshot
from processor.core.plan import AppliedCommand, ObservationRow, Plan
from schemas.couriers import COURIERS
from schemas.observation import NO_DETAILS, Carrier, Charges, Details, Driver, Observation, Proof, Stamp
from schemas.vocabulary import PHASES, Service, Status, TimeSource

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
    "reading",
    "recorded_at",
    "replay_of_partition",
    "replay_of_offset",
    "command_id",
)
COMMAND_COLUMNS: Final = ("command_id", "raw_partition", "raw_offset", "outcome", "applied_at")


class _Persons(msgspec.Struct, frozen=True):
    """The column `personal`."""

    driver: Driver | None = None
    signed_by: str | None = None
    tracking_url: str | None = None
    proofs: tuple[Proof, ...] = ()


_json: Final = msgspec.json.Encoder().encode
_read_observation: Final = msgspec.json.Decoder(Observation).decode
_read_carrier: Final = msgspec.json.Decoder(Carrier).decode
_read_charges: Final = msgspec.json.Decoder(Charges).decode
_read_persons: Final = msgspec.json.Decoder(_Persons).decode


def shipment_columns(plan: Plan, now: datetime) -> list[tuple[Any, ...]]:
    """Return the changed shipments column by column, in the order of their ids so that no two batches deadlock."""
    return list(zip(*(_shipment_record(plan, name, now) for name in sorted(plan.changed)), strict=True))


def _shipment_record(plan: Plan, name: str, now: datetime) -> tuple[Any, ...]:
    """Return a changed shipment's row, in the order of `upsert_shipments`."""
    shipment, observation = plan.shipments[name], plan.changed[name]
    snapshot = shipment.snapshot
    assert snapshot is not None
    details = snapshot.details
    return (
        name,
        observation.courier,
        observation.account,
        snapshot.service,
        observation.reference,
        details.order_id,
        details.awb,
        snapshot.status,
        PHASES[snapshot.status],
        COURIERS[observation.courier].lifecycles[snapshot.service].is_final(snapshot.status),
        snapshot.courier_status,
        snapshot.failed_count,
        json_text(details.carrier),
        json_text(details.charges),
        details.reason,
        details.description,
        json_text(personal(details)),
        snapshot.occurred.at,
        snapshot.occurred.source,
        shipment.version,
        now,
    )


def personal(details: Details) -> dict[str, Any]:
    """Return the personal data, as the column holds it."""
    return {
        "driver": details.driver,
        "signed_by": details.signed_by,
        "tracking_url": details.tracking_url,
        "proofs": details.proofs,
    }


def read_snapshot(row: Any) -> Snapshot:
    """Read the snapshot that a row of `shipments` shows.

    Raises:
        ValueError, msgspec.DecodeError: a value in it is unknown, or of another form.

    """
    persons = _read_persons(row["personal"])
    details = Details(
        order_id=row["order_id"],
        awb=row["awb"],
        carrier=_read_carrier(row["carrier"]) if row["carrier"] else None,
        charges=_read_charges(row["charges"]) if row["charges"] else None,
        driver=persons.driver,
        signed_by=persons.signed_by,
        tracking_url=persons.tracking_url,
        reason=row["reason"],
        description=row["description"],
        proofs=persons.proofs,
    )
    return Snapshot(
        service=Service(row["service"]),
        status=Status(row["status"]),
        courier_status=row["courier_status"],
        failed_count=row["failed_count"],
        occurred=Stamp(row["occurred_at"], TimeSource(row["occurred_at_source"])),
        details=details,
    )


def observation_record(row: ObservationRow, incarnation: int, now: datetime) -> tuple[Any, ...]:
    """Return an observation's row, for `OBSERVATION_COLUMNS`."""
    return (
        incarnation,
        row.observation.shipment_id,
        row.record.partition,
        row.record.offset,
        row.outcome,
        row.anomaly_kind,
        row.version,
        row.kept,
        json_text(row.observation if row.kept else _bare(row.observation)),
        now,
        *(row.root or (None, None)),
        row.command_id,
    )


def _bare(observation: Observation) -> Observation:
    """Leave out the details of what is not kept: a repeat's are stored already, and no fold looks at the others'."""
    return msgspec.structs.replace(observation, details=NO_DETAILS)


def read_reading(row: Any) -> Observation:
    """Read a stored observation. The row names its shipment and its raw record.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    try:
        return _read_observation(row["reading"])
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise StoredRowError(record_name(row), error) from error


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
