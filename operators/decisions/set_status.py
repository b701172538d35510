"""What the transition table says to a status that an operator wants. Pure."""

from processor.core.fold import Snapshot, Verdict, judge
from processor.core.state import Shipment
from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.vocabulary import Status


def verdict_on(shipment: Shipment, courier: str, decided: Observation) -> Verdict:
    """Say what the service's table says to a status that an operator wants."""
    return judge(COURIERS[courier].lifecycles[shipment.service], shipment.snapshot, decided)


def in_words(snapshot: Snapshot, wanted: Status, verdict: Verdict) -> str:
    """Say what the table says, in a line."""
    move = f"{snapshot.status} → {wanted}"
    if verdict.moved:
        over = f", past {', '.join(verdict.passed)}" if verdict.passed else ""
        return f"{move} is legal by the table{over}"
    if verdict.accepted and wanted is snapshot.status:
        return f"it is {wanted} already"
    if verdict.accepted:
        return f"from a courier {wanted} would be a scan that leaves it {snapshot.status}; an operator's word moves it"
    return f"{move} is not in the table of {snapshot.service}; an operator's word counts all the same"
