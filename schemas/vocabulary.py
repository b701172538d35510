"""The words of the domain: statuses, phases, services, sources, outcomes.

Each enumeration may grow. Subscribers treat a value they do not know as a no-op.
"""

from enum import StrEnum
from typing import Final


class Word(StrEnum):
    """A word that is hashed as the text it is: several times faster than other members of enumerations.

    To look one up (`Status.FAILED`) takes five times as long as to look up a name of a module, so what is done for each
    record compares with such names (`_FAILED: Final = Status.FAILED`).
    """

    __hash__ = str.__hash__


class Status(Word):
    """Where a shipment stands, whoever carries it. The order written here is the rank of equal times."""

    CREATED = "CREATED"
    ALLOCATING = "ALLOCATING"
    NO_DRIVER = "NO_DRIVER"
    VERIFIED = "VERIFIED"
    NOT_VERIFIED = "NOT_VERIFIED"
    PENDING_PICKUP = "PENDING_PICKUP"
    PICKING_UP = "PICKING_UP"
    PENDING_DELIVERY = "PENDING_DELIVERY"
    IN_TRANSIT = "IN_TRANSIT"
    IN_DELIVERY = "IN_DELIVERY"
    FAILED = "FAILED"
    DELIVERED = "DELIVERED"
    RETURNING = "RETURNING"
    RETURNED = "RETURNED"
    CANCELLED = "CANCELLED"
    LOST = "LOST"
    DAMAGED = "DAMAGED"
    SEIZED = "SEIZED"
    CLAIM_SETTLED = "CLAIM_SETTLED"
    DISPOSED = "DISPOSED"


class Phase(Word):
    """The coarse stage a status belongs to."""

    PRE_TRANSIT = "pre_transit"
    IN_TRANSIT = "in_transit"
    EXCEPTION = "exception"
    DELIVERED = "delivered"
    RETURNING = "returning"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    CLOSED = "closed"


PHASES: Final[dict[Status, Phase]] = {
    Status.CREATED: Phase.PRE_TRANSIT,
    Status.ALLOCATING: Phase.PRE_TRANSIT,
    Status.NO_DRIVER: Phase.EXCEPTION,
    Status.VERIFIED: Phase.PRE_TRANSIT,
    Status.NOT_VERIFIED: Phase.EXCEPTION,
    Status.PENDING_PICKUP: Phase.PRE_TRANSIT,
    Status.PICKING_UP: Phase.PRE_TRANSIT,
    Status.PENDING_DELIVERY: Phase.IN_TRANSIT,
    Status.IN_TRANSIT: Phase.IN_TRANSIT,
    Status.IN_DELIVERY: Phase.IN_TRANSIT,
    Status.FAILED: Phase.EXCEPTION,
    Status.DELIVERED: Phase.DELIVERED,
    Status.RETURNING: Phase.RETURNING,
    Status.RETURNED: Phase.RETURNED,
    Status.CANCELLED: Phase.CANCELLED,
    Status.LOST: Phase.EXCEPTION,
    Status.DAMAGED: Phase.EXCEPTION,
    Status.SEIZED: Phase.CLOSED,
    Status.CLAIM_SETTLED: Phase.CLOSED,
    Status.DISPOSED: Phase.CLOSED,
}

RANK: Final[dict[Status, int]] = {status: rank for rank, status in enumerate(Status)}


class Service(Word):
    """What was ordered from the courier. It decides the transition table."""

    EXPRESS = "express"
    LOGISTIC = "logistic"
    INSTANT = "instant"


class Source(Word):
    """How a raw record came to be."""

    PUSH = "push"
    PULL = "pull"
    REPLAY = "replay"
    OPERATOR = "operator"


class TimeSource(Word):
    """Where an `occurred_at` comes from: the courier with its zone, with a zone assumed, or the door."""

    COURIER = "courier"
    ASSUMED_ZONE = "assumed_zone"
    RECEIVED = "received"


class EventType(Word):
    """What an event on `shipment.events` tells."""

    STATUS_CHANGED = "shipment.status_changed"
    UPDATED = "shipment.updated"
    HISTORY_ADDED = "shipment.history_added"
    CORRECTED = "shipment.corrected"


class Transition(Word):
    """How a status was reached."""

    INITIAL = "initial"
    FORWARD = "forward"
    RECOVERY = "recovery"
    REASSIGNMENT = "reassignment"
    RETURN = "return"
    REOPENED = "reopened"
    CORRECTION = "correction"


class AnomalyKind(Word):
    """Why an observation could not simply be applied."""

    ILLEGAL_TRANSITION = "illegal_transition"
    UNKNOWN_STATUS = "unknown_status"
    SERVICE_CONFLICT = "service_conflict"
    SHIPMENT_CHANGED = "shipment_changed"
    HISTORY_LIMIT = "history_limit"


class DeadLetterReason(Word):
    """Why a raw record gives no observation."""

    INVALID_JSON = "invalid_json"
    UNKNOWN_SHAPE = "unknown_shape"
    NO_SHIPMENT = "no_shipment"
    TOO_DEEP = "too_deep"
    UNSTORABLE = "unstorable"
    MISROUTED = "misrouted"
    UNAUTHORIZED = "unauthorized"
    """A decision that no operator's command wrote into the operators' log."""


class Outcome(Word):
    """What an observation led to when it was applied. Fixed then; never recounted."""

    EVENT = "event"
    DUPLICATE = "duplicate"
    ANOMALY = "anomaly"
    UNCHANGED = "unchanged"
