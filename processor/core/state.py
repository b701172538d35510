"""Everything that is known of one shipment: its observations, and their fold. Pure.

A shipment has one owner, who changes it in place: a worker between two of its batches. Whoever shares it copies what he
wants to keep.
"""

from typing import Final, assert_never

import msgspec

from processor.core.fold import Entry, Snapshot
from processor.core.timeline import Timeline
from schemas.couriers import Courier
from schemas.observation import (
    SAME_NAMES_SINCE,
    SAME_WORDS_SINCE,
    Accept,
    Decision,
    Dismiss,
    Erase,
    Observation,
    Retire,
    SetStatus,
    impersonal,
)
from schemas.vocabulary import Service

NOTHING_PROVEN: Final[frozenset[Service]] = frozenset()


class Shipment(msgspec.Struct, gc=False):
    """Everything the next observation is judged by.

    `records` holds the observation of each raw record, by the record's digest; `kept` those of each reading, by its
    digest, the one that counts first; `timeline` those that count and take part in the fold, in order. `anomalies` are
    the ids of those that refused a record, by its digest.
    """

    shipment_id: str
    timeline: Timeline
    snapshot: Snapshot | None = None
    """What its observations come to."""
    shown: Snapshot | None = None
    """What its newest event said, and its row says. It is the snapshot too, unless an older edition wrote it."""
    version: int = 0
    proven: frozenset[Service] = NOTHING_PROVEN
    hinted: frozenset[Service] = NOTHING_PROVEN
    records: dict[bytes, Observation] = {}
    kept: dict[bytes, list[Observation]] = {}
    anomalies: dict[bytes, str] = {}
    statuses_set: list[Observation] = []
    """The operators' decisions that set its status, in the order of the times received."""
    accepted: set[bytes] = set()
    """The digests of records that operators made count."""
    dismissed: set[str] = set()
    """The ids of anomalies that operators have dismissed."""
    erased: bool = False
    """Its personal data was erased, and none is taken in."""
    retired: bool = False
    """Its history was given up: only the snapshot is left."""
    held: int = 0
    """How many of its couriers' observations are stored. Decisions and newer readings of them are not counted."""
    formerly_named: bool = False
    """Whether some of its records may have the names that older editions gave them."""
    weight: int = 0
    """Roughly how many bytes its observations take."""

    @property
    def is_special(self) -> bool:
        """Whether what one more means may hang on decisions, on a history given up, or on names of older editions."""
        return bool(self.statuses_set or self.accepted or self.erased or self.retired or self.formerly_named)

    @property
    def courier(self) -> Courier:
        """The courier that carries it."""
        return self.timeline.courier

    @property
    def service(self) -> Service:
        """The service it is folded for."""
        return self.timeline.service

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The observations that count and take part in the fold, in order and judged."""
        return tuple(self.timeline)

    def count_event(self) -> None:
        """Count an event, which shows the snapshot."""
        self.version += 1
        self.shown = self.snapshot

    def heed(self, decision: Decision) -> None:
        """Remember what an operator decided.

        A status stands in the timeline, and the decision to retire a shipment is not kept.
        """
        match decision:
            case Accept():
                self.accepted.add(bytes.fromhex(decision.record))
                self.accepted.update(name for name, each in self.anomalies.items() if each == decision.anomaly_id)
            case Dismiss():
                self.dismissed.add(decision.anomaly_id)
            case Erase():
                self.erased = True
            case SetStatus() | Retire():
                pass
            case _:
                assert_never(decision)


class StoredObservation(msgspec.Struct, frozen=True, gc=False):
    """One kept observation of a shipment, in the order of arrival.

    `anomaly` is the id of the anomaly that refused it, if one did. `again`: its record was read again, and this is the
    newer reading.
    """

    observation: Observation
    anomaly: str | None = None
    again: bool = False


def new_shipment(courier: Courier, shipment_id: str) -> Shipment:
    """Return a shipment nothing is known of yet."""
    timeline = Timeline(courier, courier.service(NOTHING_PROVEN, NOTHING_PROVEN))
    return Shipment(shipment_id=shipment_id, timeline=timeline)


def retired_shipment(courier: Courier, shipment_id: str, version: int, snapshot: Snapshot) -> Shipment:
    """Return a shipment of which only the row is left."""
    return Shipment(
        shipment_id=shipment_id,
        timeline=Timeline(courier, snapshot.service),
        snapshot=snapshot,
        shown=snapshot,
        version=version,
        retired=True,
    )


def is_outdated(shipment: Shipment) -> bool:
    """Return whether an older edition read one of its couriers' records: what it shows may be that edition's too."""
    return any(each.edition < SAME_WORDS_SINCE and each.decision is None for each in shipment.records.values())


def is_formerly_named(observation: Observation) -> bool:
    """Whether the observation's record has the name that an older edition gave it."""
    return observation.edition < SAME_NAMES_SINCE and observation.decision is None


def forgotten(observation: Observation) -> Observation:
    """Return an observation without personal data."""
    details = impersonal(observation.details)
    return observation if details == observation.details else msgspec.structs.replace(observation, details=details)
