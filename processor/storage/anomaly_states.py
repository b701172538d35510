"""How stored anomalies stand, with the shipments they are about."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from processor.core.anomaly_states import AnomalyState, state_of
from processor.core.errors import StoredRowError
from processor.storage.store import Store
from runtime.postgres import Connections
from runtime.queries import load_queries
from schemas.events import Anomaly
from schemas.vocabulary import AnomalyKind

_Q: Final = load_queries("processor.storage")
_decode: Final = msgspec.json.Decoder(Anomaly).decode


def read_anomaly(row: Any) -> Anomaly:
    """Read the anomaly of a row of `outputs`.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    try:
        found: Anomaly = _decode(row["value"])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        place = f"{row['raw_partition']}:{row['cause_offset']}/{row['ordinal']}"
        raise StoredRowError(f"the anomaly at {place}", error) from error
    return found


async def states_of(
    pool: Connections, anomalies: Sequence[Anomaly], most: int
) -> dict[str, tuple[AnomalyState, bytes | None]]:
    """Return by id how anomalies stand, and the digest of the record each refused, if that is still there.

    Their shipments are loaded `most` bytes at a time; one is in any case.

    Raises:
        StoredRowError: something stored about one of the shipments cannot be read.

    """
    beyond = {_raw(anomaly) for anomaly in anomalies if anomaly.kind is AnomalyKind.HISTORY_LIMIT}
    taken_in = await _taken_in(pool, beyond)
    states: dict[str, tuple[AnomalyState, bytes | None]] = {}
    left = list(dict.fromkeys(anomaly.shipment_id for anomaly in anomalies))
    while left:
        shipments, seen = await Store(pool).load_some(left, most)
        here, left = set(left[:seen]), left[seen:]
        states |= {
            anomaly.id: state_of(anomaly, shipments.get(anomaly.shipment_id), taken_in=_raw(anomaly) in taken_in)
            for anomaly in anomalies
            if anomaly.shipment_id in here
        }
    return states


def _raw(anomaly: Anomaly) -> tuple[int, int]:
    return anomaly.raw.partition, anomaly.raw.offset


async def _taken_in(pool: Connections, raw: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return those of raw records that were read again, and are kept since."""
    if not raw:
        return set()
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["taken_in"], *map(list, zip(*raw, strict=True)))
    return {(row["raw_partition"], row["raw_offset"]) for row in rows}
