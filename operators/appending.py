"""What operators' commands append to the raw topic."""

from datetime import datetime

from runtime.appending import Appended
from schemas.decisions import write_decision
from schemas.observation import Decision
from schemas.records import Provenance
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
