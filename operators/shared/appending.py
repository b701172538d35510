"""What operators' commands append to the raw topic."""

from datetime import datetime

from schemas.decisions import write_decision
from schemas.observation import Decision
from schemas.records import NewRecord, Provenance, RawRecord
from schemas.times import milliseconds
from schemas.vocabulary import Source


def decision_record(decision: Decision, courier: str, account: str | None, command_id: str, now: datetime) -> NewRecord:
    """Write the record of a decision made `now` about a shipment of a courier and account."""
    provenance = Provenance(
        courier=courier,
        account=account,
        received_at=now,
        source=Source.OPERATOR,
        command_id=command_id,
        content_type="application/json",
    )
    return NewRecord(
        decision.shipment_id.encode(),
        write_decision(decision),
        provenance.headers(),
        milliseconds(now),
    )


def rereading(record: RawRecord) -> NewRecord:
    """Write the record that makes another be read again, as `operators.shared.rereading` gives it."""
    headers = [(name, value) for name, value in record.headers if value is not None]
    return NewRecord(record.key, record.value or b"", headers, record.timestamp_ms)
