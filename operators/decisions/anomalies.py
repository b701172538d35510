"""Anomalies: which there are and how each stands. That is not stored; it follows from the shipment's observations."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from operators.shared.errors import OperatorError
from processor.core.anomaly_states import AnomalyState
from processor.storage.anomaly_states import read_anomaly, states_of
from processor.storage.shipments import LOADED_BYTES
from runtime.postgres import Connection, Pool
from runtime.queries import load_queries
from schemas.events import Anomaly
from schemas.observation import Accept, Dismiss
from schemas.shipment_ids import parse_shipment_id
from schemas.vocabulary import AnomalyKind

PAGE: Final = 200
"""Anomalies looked at together. Each brings its shipment's observations along: of these `LOADED_BYTES` at once."""

_MARK: Final = "/anomaly/"
_ORDER: Final = ("recorded_at", "incarnation", "raw_partition", "cause_offset", "ordinal")
_END: Final = datetime.max.replace(tzinfo=UTC)
_Q: Final = load_queries("operators.decisions")


class Standing(msgspec.Struct, frozen=True):
    """An anomaly and how it stands. `record` is the digest of the observation it refused, if that is still there."""

    anomaly: Anomaly
    state: AnomalyState
    recorded_at: datetime
    record: bytes | None = None

    @property
    def account(self) -> str | None:
        """The shipment's merchant account."""
        return parse_shipment_id(self.anomaly.shipment_id).account


class Wanted(msgspec.Struct, frozen=True):
    """Which anomalies are meant. An empty field leaves none out."""

    kinds: tuple[str, ...] = ()
    couriers: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Couriers' words, as they stand in `courier_status`."""
    since: datetime | None = None
    shipment_id: str | None = None

    def holds(self, anomaly: Anomaly) -> bool:
        """Whether an anomaly is meant, as far as its value tells."""
        return (
            (not self.kinds or anomaly.kind in self.kinds)
            and (not self.couriers or anomaly.courier in self.couriers)
            and (not self.words or anomaly.courier_status in self.words)
        )


INSTEAD: Final = {
    AnomalyKind.UNKNOWN_STATUS: (
        "a word nobody knows cannot count: add it to the courier's mapping and `waybill replay run`, or "
        "`waybill shipment set-status`"
    ),
    AnomalyKind.SERVICE_CONFLICT: "the observations count already; `waybill anomalies dismiss` it",
    AnomalyKind.HISTORY_LIMIT: (
        "it is not kept: raise WAYBILL_SHIPMENT_MAX_OBSERVATIONS and `waybill replay run` it, or "
        "`waybill anomalies dismiss` it"
    ),
    AnomalyKind.SHIPMENT_CHANGED: "the record stays with its first shipment; `waybill anomalies dismiss` it",
}
"""What to do about an anomaly that cannot be accepted."""


def shipment_of(anomaly_id: str) -> str:
    """Return the shipment that an anomaly's id names.

    Raises:
        OperatorError: it is not an anomaly's id.

    """
    shipment_id, mark, rest = anomaly_id.rpartition(_MARK)
    if not mark or rest.rpartition("/")[2] not in set(AnomalyKind):
        raise OperatorError(f"{anomaly_id!r} is not an anomaly's id: `waybill anomalies list` shows them")
    return shipment_id


async def anomalies(pool: Pool, wanted: Wanted) -> AsyncGenerator[Standing, None]:
    """Return anomalies, newest first."""
    before: tuple[Any, ...] = (_END, 0, 0, 0, 0)
    while True:
        async with pool.acquire() as connection:
            rows = await _page(connection, wanted, before)
        for each in await _standing(pool, rows, wanted):
            yield each
        if len(rows) < PAGE:
            return
        last = rows[-1]
        before = tuple(
            last[each] for each in ("recorded_at", "incarnation", "raw_partition", "cause_offset", "ordinal")
        )


async def _page(connection: Connection, wanted: Wanted, before: tuple[Any, ...]) -> list[Any]:
    """Return the newest anomalies before a given one, narrowed as far as columns tell."""
    if wanted.shipment_id:
        rows = await connection.fetch(_Q["anomalies_of_shipment"], wanted.shipment_id, wanted.since, *before, PAGE)
    else:
        rows = await connection.fetch(
            _Q["page_of_anomalies"], wanted.since, *before, PAGE, wanted.kinds, wanted.couriers
        )
    return list(rows)


async def find(pool: Pool, anomaly_id: str) -> Standing:
    """Return the anomaly of an id.

    Raises:
        OperatorError: there is none.

    """
    found = anomalies(pool, Wanted(shipment_id=shipment_of(anomaly_id)))
    async for each in found:
        if each.anomaly.id == anomaly_id:
            await found.aclose()
            return each
    raise OperatorError(f"no anomaly has the id {anomaly_id}: `waybill anomalies list --all` shows them")


class PassedOver(msgspec.Struct, frozen=True):
    """An anomaly that is not decided about."""

    id: str
    why: str


class Chosen(msgspec.Struct, frozen=True):
    """Anomalies to decide about, oldest first, and those of the selection that cannot be."""

    standing: tuple[Standing, ...]
    passed: tuple[PassedOver, ...]


async def choose(pool: Pool, ids: Sequence[str], wanted: Wanted, limit: int | None, *, accepting: bool) -> Chosen:
    """Return the open anomalies to decide about: those of these ids that are wanted too; without ids, all that are.

    At most `limit`, the newest. What is dismissed may be accepted, if its id is given.

    Raises:
        OperatorError: an id is not an anomaly's.

    """
    found: list[Standing] = []
    passed: list[PassedOver] = []
    async with aclosing(_candidates(pool, ids, wanted)) as candidates:
        async for each in candidates:
            why = obstacle(each, accepting=accepting)
            if why is None:
                found.append(each)
            elif ids or each.state is AnomalyState.OPEN:
                passed.append(PassedOver(each.anomaly.id, why))
            if len(found) == limit:
                break
    return Chosen(tuple(reversed(found)), tuple(passed))


async def _candidates(pool: Pool, ids: Sequence[str], wanted: Wanted) -> AsyncGenerator[Standing, None]:
    if not ids:
        async with aclosing(anomalies(pool, wanted)) as all_:
            async for each in all_:
                if each.state is AnomalyState.OPEN:
                    yield each
        return
    for name in dict.fromkeys(ids):
        each = await find(pool, name)
        if wanted.holds(each.anomaly) and (wanted.since is None or each.recorded_at >= wanted.since):
            yield each


def obstacle(standing: Standing, *, accepting: bool) -> str | None:
    """Say why nothing can be decided about an anomaly, if so."""
    if standing.state is not AnomalyState.OPEN and not (accepting and standing.state is AnomalyState.DISMISSED):
        return f"it is {standing.state}: nothing is to be decided"
    if accepting and standing.anomaly.kind in INSTEAD:
        return f"{standing.anomaly.kind} cannot be accepted: {INSTEAD[standing.anomaly.kind]}"
    if accepting and standing.record is None:
        return "what it refused is not there any more: `waybill shipment set-status`"
    return None


def decision_on(standing: Standing, by: str, reason: str, *, accepting: bool) -> Accept | Dismiss:
    """Return the decision about an anomaly that has no `obstacle`."""
    anomaly = standing.anomaly
    if not accepting:
        return Dismiss(shipment_id=anomaly.shipment_id, by=by, reason=reason, anomaly_id=anomaly.id)
    assert standing.record is not None
    return Accept(
        shipment_id=anomaly.shipment_id,
        by=by,
        reason=reason,
        anomaly_id=anomaly.id,
        record=standing.record.hex(),
    )


async def _standing(pool: Pool, rows: Sequence[Any], wanted: Wanted) -> list[Standing]:
    read = [(read_anomaly(row), row["recorded_at"]) for row in rows]
    chosen = [(anomaly, recorded_at) for anomaly, recorded_at in read if wanted.holds(anomaly)]
    states = await states_of(pool, [anomaly for anomaly, _ in chosen], LOADED_BYTES)
    return [Standing(anomaly, states[anomaly.id][0], at, states[anomaly.id][1]) for anomaly, at in chosen]
