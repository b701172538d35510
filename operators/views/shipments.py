"""One shipment with everything that is known of it, and lists of shipments."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from operators.shared.errors import OperatorError
from operators.shared.personal import masked
from processor.core.outputs import anomaly_id
from processor.core.state import Shipment, new_shipment
from processor.storage.rows import read_event, read_reading
from processor.storage.store import Store
from runtime.postgres import Connection, Pool
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.observation import Accept, Dismiss, Observation
from schemas.shipment_ids import parse_shipment_id
from schemas.stored_event import event_bytes
from schemas.times import format_time
from schemas.vocabulary import AnomalyKind, Status

_Q: Final = load_queries("operators.views")
_JSON_COLUMNS: Final = ("carrier", "charges", "personal")

Behind = tuple[datetime, str]
"""Behind which shipment of a list the next page begins: when it changed, and its id."""

THE_NEWEST: Final[Behind] = (datetime.max.replace(tzinfo=UTC), "")
THE_OLDEST: Final[Behind] = (datetime.min.replace(tzinfo=UTC), "")


class Decided(msgspec.Struct, frozen=True):
    """What an operator decided: who, why, and about which anomaly."""

    command: str
    by: str
    reason: str
    anomaly: str | None


class ShownObservation(msgspec.Struct, frozen=True, kw_only=True):
    """An observation in the timeline.

    `counts` is the fold's verdict now: null where it does not judge it (a repeat, a word without status, a reading
    that a newer one has replaced). `version` is that of the event it gave, `anomaly` the id of the anomaly it became.
    `raw` and `replay_of` are `<partition>:<offset>`.
    """

    recorded_at: str
    received_at: str
    occurred_at: str
    occurred_at_source: str
    courier_status: str
    status: str | None
    source: str
    outcome: str
    version: int | None
    anomaly_kind: str | None
    anomaly: str | None
    counts: bool | None
    raw: str
    incarnation: int
    replay_of: str | None
    decided: Decided | None


class ShownShipment(msgspec.Struct, frozen=True):
    """A shipment: its row (null if no webhook gave it a status yet), its observations as applied, its events."""

    shipment_id: str
    snapshot: dict[str, Any] | None
    observations: list[ShownObservation]
    events: list[dict[str, Any]]


class Listed(msgspec.Struct, frozen=True):
    """A shipment in a list."""

    shipment_id: str
    courier: str
    service: str
    status: str
    version: int
    final: bool
    occurred_at: str
    updated_at: str
    erased_at: str | None
    retired_at: str | None


async def view(pool: Pool, shipment_id: str, *, show_personal: bool = False) -> ShownShipment:
    """Return everything that is known of a shipment.

    Raises:
        OperatorError: nothing is.

    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(_Q["shipment_row"], shipment_id)
        observations = await connection.fetch(_Q["observations_of_shipment"], shipment_id)
        events = await connection.fetch(_Q["events_of_shipment"], shipment_id)
    if row is None and not observations:
        raise OperatorError(f"nothing is known of {shipment_id}")
    courier = COURIERS[parse_shipment_id(shipment_id).courier]
    known = await Store(pool).load([shipment_id])
    folded = known.get(shipment_id) or new_shipment(courier, shipment_id)
    hide = dict if show_personal else masked
    return ShownShipment(
        shipment_id,
        None if row is None else hide(_snapshot(row)),
        [_shown(each, folded) for each in observations],
        [hide(_event(each)) for each in events],
    )


async def newest(
    connection: Connection,
    statuses: Sequence[str] | None,
    courier: str | None,
    limit: int,
    behind: Behind = THE_NEWEST,
) -> list[Listed]:
    """Return the shipments that changed last before a given one, the newest last."""
    rows = await connection.fetch(_Q["newest_shipments"], *_wanted(statuses, courier), limit, *behind)
    return [_listed(row) for row in reversed(rows)]


async def stale(
    connection: Connection,
    statuses: Sequence[str] | None,
    courier: str | None,
    limit: int,
    since: datetime,
    behind: Behind = THE_OLDEST,
) -> list[Listed]:
    """Return the shipments under way that have had no event since then, the one silent longest first."""
    rows = await connection.fetch(_Q["stale_shipments"], *_wanted(statuses, courier), limit, since, *behind)
    return [_listed(row) for row in rows]


def _wanted(statuses: Sequence[str] | None, courier: str | None) -> tuple[list[str], list[str]]:
    """Return which statuses and couriers are meant, each once; all where none is named."""
    return sorted(set(statuses or Status)), list(COURIERS) if courier is None else [courier]


def _snapshot(row: Any) -> dict[str, Any]:
    values = {name: _time(value) if isinstance(value, datetime) else value for name, value in row.items()}
    del values["active_hour"], values["resting_status"]  # of use to indexes alone
    read = {name: msgspec.json.decode(values[name]) for name in _JSON_COLUMNS if values[name] is not None}
    return values | read


def _event(row: Any) -> dict[str, Any]:
    """Return an event as it was published."""
    value = row["value"] if row["event"] is None else event_bytes(read_event(row))
    event: dict[str, Any] = msgspec.json.decode(value)
    return event


def _listed(row: Any) -> Listed:
    values: dict[str, Any] = {
        name: _time(value) if isinstance(value, datetime) else value for name, value in row.items()
    }
    return Listed(**values)


def _shown(row: Any, folded: Shipment) -> ShownObservation:
    observation = read_reading(row)
    occurred = COURIERS[observation.courier].occurred(observation, folded.service)
    at = (row["raw_partition"], row["raw_offset"])
    again = None if row["replay_of_offset"] is None else (row["replay_of_partition"], row["replay_of_offset"])
    kind = row["anomaly_kind"]
    return ShownObservation(
        recorded_at=_time(row["recorded_at"]),
        received_at=_time(observation.received_at),
        occurred_at=_time(occurred.at),
        occurred_at_source=occurred.source,
        courier_status=observation.word,
        status=observation.status,
        source=observation.source,
        outcome=row["outcome"],
        version=row["version"],
        anomaly_kind=kind,
        anomaly=kind and anomaly_id(folded.shipment_id, again or at, row["incarnation"], AnomalyKind(kind)),
        counts=_counts(observation, folded) if row["kept"] else None,
        raw=_coordinates(at),
        incarnation=row["incarnation"],
        replay_of=_coordinates(again) if again else None,
        decided=_decided(observation),
    )


def _counts(observation: Observation, folded: Shipment) -> bool | None:
    entry = folded.timeline.find(observation.reading_digest)
    if entry is None or entry.verdict is None or entry.observation != observation:
        return None
    return entry.accepted


def _decided(observation: Observation) -> Decided | None:
    decision = observation.decision
    if decision is None:
        return None
    about = decision.anomaly_id if isinstance(decision, Accept | Dismiss) else None
    return Decided(str(type(decision).__struct_config__.tag), decision.by, decision.reason, about)


def _coordinates(at: tuple[int, int]) -> str:
    return f"{at[0]}:{at[1]}"


def _time(moment: datetime) -> str:
    return format_time(moment)
