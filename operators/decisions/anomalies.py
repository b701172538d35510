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

AnomalyPlace = tuple[datetime, int, int, int, int]
"""Where an anomaly stands in a list: when it was recorded; incarnation, partition, offset and ordinal of its output."""

MOST_LOOKED_AT: Final = 1_000
"""Anomalies that a page, or a count of the open ones, looks at: a second or so, of some hundred observations each."""

AT_ONCE: Final = 1_000
"""Anomalies that are decided about in one run unless told otherwise: some seconds of a processor's work."""

_MARK: Final = "/anomaly/"
THE_NEWEST: Final[AnomalyPlace] = (datetime.max.replace(tzinfo=UTC), 0, 0, 0, 0)
_Q: Final = load_queries("operators.decisions")


class Standing(msgspec.Struct, frozen=True):
    """An anomaly and how it stands. `record` is the digest of the observation it refused, if that is still there."""

    anomaly: Anomaly
    state: AnomalyState
    place: AnomalyPlace
    record: bytes | None = None

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded."""
        return self.place[0]

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


def remedy(standing: Standing) -> str | None:
    """Say what can be done about an anomaly; None: it is open no more."""
    if standing.state is not AnomalyState.OPEN:
        return None
    return INSTEAD.get(standing.anomaly.kind, "`waybill anomalies accept` makes it count, `dismiss` leaves it refused")


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
    async with aclosing(_pages(pool, wanted, THE_NEWEST, PAGE)) as pages:
        async for _, page in pages:
            for each in page:
                yield each


class AnomalyPage(msgspec.Struct, frozen=True):
    """Some anomalies, newest first. `behind` is where the next page begins; None: there are no more."""

    standing: tuple[Standing, ...]
    behind: AnomalyPlace | None


async def page_of(pool: Pool, wanted: Wanted, behind: AnomalyPlace, limit: int, *, only_open: bool) -> AnomalyPage:
    """Return anomalies behind a given place, the open ones or all: at most `limit`, found among `MOST_LOOKED_AT`."""
    found: list[Standing] = []
    looked_at = 0
    async with aclosing(_pages(pool, wanted, behind, min(limit, PAGE))) as pages:
        async for rows, page in pages:
            for each in page:
                if not only_open or each.state is AnomalyState.OPEN:
                    found.append(each)
                    if len(found) == limit:
                        return AnomalyPage(tuple(found), each.place)
            looked_at += len(rows)
            if looked_at >= MOST_LOOKED_AT:
                return AnomalyPage(tuple(found), _place(rows[-1]))
    return AnomalyPage(tuple(found), None)


async def _pages(
    pool: Pool, wanted: Wanted, behind: AnomalyPlace, size: int
) -> AsyncGenerator[tuple[list[Any], list[Standing]], None]:
    """Return page after page: its rows, and the anomalies of them that are wanted."""
    while True:
        async with pool.acquire() as connection:
            rows = await _page(connection, wanted, behind, size)
        yield rows, await _standing(pool, rows, wanted)
        if len(rows) < size:
            return
        behind = _place(rows[-1])


async def _page(connection: Connection, wanted: Wanted, behind: AnomalyPlace, size: int) -> list[Any]:
    """Return the newest anomalies behind a given one, narrowed as far as columns tell."""
    if wanted.shipment_id:
        rows = await connection.fetch(_Q["anomalies_of_shipment"], wanted.shipment_id, wanted.since, *behind, size)
    else:
        rows = await connection.fetch(
            _Q["page_of_anomalies"], wanted.since, *behind, size, wanted.kinds, wanted.couriers
        )
    return list(rows)


def _place(row: Any) -> AnomalyPlace:
    return row["recorded_at"], row["incarnation"], row["raw_partition"], row["cause_offset"], row["ordinal"]


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
    read = [(read_anomaly(row), _place(row)) for row in rows]
    chosen = [(anomaly, place) for anomaly, place in read if wanted.holds(anomaly)]
    states = await states_of(pool, [anomaly for anomaly, _ in chosen], LOADED_BYTES)
    return [Standing(anomaly, states[anomaly.id][0], place, states[anomaly.id][1]) for anomaly, place in chosen]
