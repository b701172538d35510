"""What an operator's decision does to its shipment. Pure."""

from typing import assert_never

from processor.core.effects import Application, Arrival, Comparison, Effect, Unchanged, compare, conclude
from processor.core.history import forget_personal, learn, retire
from processor.core.state import Shipment
from schemas.observation import Accept, Dismiss, Erase, Retire

WithoutStatus = Accept | Dismiss | Erase | Retire
"""Decisions without a place of their own among the observations. The one that sets a status is applied like them."""


def apply_decision(shipment: Shipment, arrival: Arrival, decision: WithoutStatus) -> Application:
    """Apply a decision that sets no status to the shipment that it is about."""
    match decision:
        case Retire():
            if _may_retire(shipment, decision):
                retire(shipment)
            return Application(Unchanged(), kept=False)
        case Accept() | Dismiss():
            comparison = compare(shipment)
            learn(shipment, arrival.observation)
        case Erase():
            comparison = compare(shipment)
            learn(shipment, arrival.observation)
            forget_personal(shipment)
        case _:
            assert_never(decision)
    return conclude(comparison, arrival, _effect(comparison))


def _effect(comparison: Comparison) -> Effect:
    """Return the event of a decision that changed the snapshot or made refused observations count."""
    if comparison.differs:
        return comparison.correction()
    return comparison.addition() if comparison.shipment.timeline.resolved() else Unchanged()


def _may_retire(shipment: Shipment, decision: Retire) -> bool:
    """Whether a shipment is as silent as it must be, and final if it must be."""
    snapshot = shipment.snapshot
    if snapshot is None:
        return False
    if not (decision.unfinished or shipment.courier.lifecycles[snapshot.service].is_final(snapshot.status)):
        return False
    return all(each.received_at < decision.silent_since for each in shipment.records.values())
