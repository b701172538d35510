"""How an anomaly stands. That is not stored; it follows from the shipment's observations. Pure."""

from enum import StrEnum

from processor.core.state import Shipment
from schemas.events import Anomaly
from schemas.vocabulary import AnomalyKind


class AnomalyState(StrEnum):
    """How an anomaly stands."""

    OPEN = "open"
    SETTLED = "settled"
    """What was refused counts now, or is understood, without an operator's word about it."""
    DISMISSED = "dismissed"
    ACCEPTED = "accepted"


def state_of(
    anomaly: Anomaly, shipment: Shipment | None, *, taken_in: bool = False
) -> tuple[AnomalyState, bytes | None]:
    """Say how an anomaly stands, and the digest of the record it refused.

    `taken_in`: the record was read again, and is kept since.
    """
    if shipment is None:
        return AnomalyState.OPEN, None
    dismissed = AnomalyState.DISMISSED if anomaly.id in shipment.dismissed else AnomalyState.OPEN
    record = next((digest for digest, name in shipment.anomalies.items() if name == anomaly.id), None)
    match anomaly.kind:
        case AnomalyKind.ILLEGAL_TRANSITION:
            refused = shipment.records.get(record) if record else None
            entry = shipment.timeline.find(refused.reading_digest) if refused else None
            if entry is None:
                return AnomalyState.SETTLED, record
            if entry.accepted:
                return AnomalyState.ACCEPTED if entry.forced else AnomalyState.SETTLED, record
            return dismissed, record
        case AnomalyKind.UNKNOWN_STATUS:
            understood = record is None or shipment.records[record].known
            return AnomalyState.SETTLED if understood else dismissed, record
        case AnomalyKind.HISTORY_LIMIT:
            return AnomalyState.SETTLED if taken_in else dismissed, record
        case _:
            return dismissed, record
