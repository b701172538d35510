"""What operators' commands append to the raw topic."""

from datetime import datetime

from runtime.appending import Appended
from schemas.decisions import write_decision
from schemas.observation import Decision
from schemas.records import Provenance, RawRecord
from schemas.vocabulary import Source


def decision_record(decision: Decision, courier: str, account: str | None, command_id: str, now: datetime) -> Appended:
    """Write the record of a decision made `now` about a shipment of a courier and account."""
    provenance = Provenance(
        courier=courier,
        account=account,
        received_at=now,
        source=Source.OPERATOR,
        command_id=command_id,
        content_type="application/json",
    )
    return Appended(
        decision.shipment_id.encode(),
        write_decision(decision),
        provenance.headers(),
        int(now.timestamp() * 1000),
    )


def rereading(record: RawRecord) -> Appended:
    """Write the record that makes another be read again, as `operators.shared.rereading` gives it."""
    headers = [(name, value) for name, value in record.headers if value is not None]
    return Appended(record.key, record.value or b"", headers, record.timestamp_ms)
