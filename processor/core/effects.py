"""What one observation led to: its shipment before and after it are compared. Pure."""

from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from processor.core.fold import Snapshot, Verdict, transition_of
from processor.core.history import refuse
from processor.core.state import Shipment
from schemas.couriers import Courier
from schemas.couriers.base import Position
from schemas.observation import Observation
from schemas.vocabulary import AnomalyKind, EventType, Outcome, Service, Source, Status, Transition

_STATUS_CHANGED: Final = EventType.STATUS_CHANGED


def no_name() -> None:
    """Return that a record has had no other name."""


NameAnomaly = Callable[[AnomalyKind], str]
"""Gives the id of the anomaly that the record at hand would become."""


class Changed(msgspec.Struct, frozen=True, gc=False):
    """An event. `late`: the webhook came late, and the event shows what it said."""

    outcome: ClassVar[Outcome] = Outcome.EVENT

    type: EventType
    previous: Status | None
    transition: Transition | None = None
    skipped: tuple[Status, ...] = ()
    late: bool = False
    resolves: tuple[str, ...] = ()


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """Known already: a copy, or a pulled entry that says nothing new."""

    outcome: ClassVar[Outcome] = Outcome.DUPLICATE


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """An anomaly."""

    outcome: ClassVar[Outcome] = Outcome.ANOMALY

    kind: AnomalyKind


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """Nothing to tell: details for a shipment not known yet, a re-reading or a decision without effect."""

    outcome: ClassVar[Outcome] = Outcome.UNCHANGED


Effect = Changed | Duplicate | Rejected | Unchanged


class Application(msgspec.Struct, frozen=True, gc=False):
    """What came of an observation.

    `conflict`: the observation completed the proof of two services. `kept`: the observation takes part from now on,
    in the fold or in telling repeats.
    """

    effect: Effect
    conflict: bool = False
    kept: bool = True


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """An observation that reaches its shipment. `again`: its record is read again with today's code.

    `former_name` gives the record digest that an older edition would have given, if another.
    """

    observation: Observation
    name_anomaly: NameAnomaly
    again: bool = False
    former_name: Callable[[], bytes | None] = no_name


class Comparison(msgspec.Struct, frozen=True, gc=False):
    """A shipment, which changes in place, beside what it was before an observation."""

    shipment: Shipment
    service: Service
    """The service before."""
    snapshot: Snapshot | None
    """The snapshot before."""
    shown: Snapshot | None
    """The snapshot before as an older edition came to it, where nothing was told since; else the same one."""
    in_conflict: bool
    """Whether two services were proven before."""

    @property
    def outdated(self) -> bool:
        """Whether something else was shown than the observations before come to by today's rules."""
        return self.shown is not self.snapshot and self.shown != self.snapshot

    @property
    def completes_conflict(self) -> bool:
        """Whether two services are proven, which were not before."""
        return len(self.shipment.proven) > 1 and not self.in_conflict

    @property
    def differs(self) -> bool:
        """Whether the snapshot is another than was shown."""
        return self.shipment.snapshot != self.shown

    def of_news(self, observation: Observation) -> Effect:
        """Return what a new observation, which is taken in by now, led to."""
        snapshot, timeline = self.shipment.snapshot, self.shipment.timeline
        if snapshot is None:
            return Unchanged()
        if observation.status is None:
            return self._of_details(snapshot)
        unmoved = snapshot == self.snapshot
        if unmoved and observation.source is Source.PULL and timeline.at_the_time(observation) > 1:
            return Duplicate()
        place, verdict = timeline.judged(observation.reading_digest)
        assert verdict is not None
        if verdict.forced and verdict.moved and not unmoved:
            return self.correction()
        if self._in_turn(place, verdict):
            return self._in_order(snapshot, verdict)
        if not unmoved or (verdict.accepted and self.outdated):
            return self.correction()
        return self.addition() if verdict.accepted else Rejected(AnomalyKind.ILLEGAL_TRANSITION)

    def of_rereading(self, effect: Effect) -> Effect:
        """Leave out an event that shows no difference, and correct a difference that no event shows."""
        if isinstance(effect, Changed) and not self.differs:
            return Unchanged()
        if isinstance(effect, Unchanged) and self.differs:
            return self.correction()
        return effect

    def correction(self) -> Changed:
        """Return the event of a snapshot that is another than was shown, other than by what may follow it."""
        snapshot, resolves = self.shipment.snapshot, self._resolved()
        assert snapshot is not None
        if self.shown is None:
            return Changed(EventType.STATUS_CHANGED, previous=None, transition=Transition.INITIAL, resolves=resolves)
        moved = snapshot.status is not self.shown.status
        return Changed(
            EventType.CORRECTED,
            previous=self.shown.status,
            transition=Transition.CORRECTION if moved else None,
            late=True,
            resolves=resolves,
        )

    def addition(self) -> Changed:
        """Return the event of an observation that counts and leaves the snapshot as it was."""
        snapshot = self.shipment.snapshot
        assert snapshot is not None
        resolves = self.shipment.timeline.resolved()
        return Changed(EventType.HISTORY_ADDED, previous=snapshot.status, late=True, resolves=resolves)

    def _of_details(self, snapshot: Snapshot) -> Changed:
        """Return the event of a known word without a status."""
        if self.shipment.service is not self.service or self.outdated:
            return self.correction()
        return Changed(EventType.UPDATED, previous=snapshot.status, resolves=self.shipment.timeline.resolved())

    def _in_turn(self, place: Position, verdict: Verdict) -> bool:
        """Whether an observation came in its turn.

        That is: behind all accepted before, itself accepted, the last accepted now, judged from the status shown
        before.
        """
        shown = self.shown.status if self.shown else None
        return verdict.accepted and verdict.before is shown and self.shipment.timeline.is_last(place)

    def _in_order(self, snapshot: Snapshot, verdict: Verdict) -> Changed:
        """Return the event of an observation that came in its turn."""
        return in_order(snapshot, self.shown, verdict, self.shipment.courier, self._resolved())

    def _resolved(self) -> tuple[str, ...]:
        """Return the anomalies whose observations count now and did not before.

        Which of them counted by the rules of an older edition is not known: then all that count now.
        """
        timeline = self.shipment.timeline
        if self.outdated:
            return tuple(entry.anomaly for entry in timeline if entry.anomaly and entry.accepted)
        return timeline.resolved()


def in_order(
    snapshot: Snapshot, shown: Snapshot | None, verdict: Verdict, courier: Courier, resolves: tuple[str, ...] = ()
) -> Changed:
    """Return the event of an observation that came in its turn. `shown` is the snapshot before."""
    if not verdict.moved:
        return Changed(EventType.UPDATED, verdict.before, resolves=resolves)
    lifecycles = courier.lifecycles
    from_final = shown is not None and shown.status in lifecycles[shown.service].finals
    transition = transition_of(lifecycles[snapshot.service], verdict, snapshot.status, from_final=from_final)
    return Changed(_STATUS_CHANGED, verdict.before, transition, verdict.passed, resolves=resolves)


def compare(shipment: Shipment) -> Comparison:
    """Begin to watch what changes of a shipment: return it beside what it is now."""
    shipment.timeline.mark()
    return Comparison(shipment, shipment.service, shipment.snapshot, shipment.shown, len(shipment.proven) > 1)


def conclude(comparison: Comparison, arrival: Arrival, effect: Effect, *, kept: bool = True) -> Application:
    """Count an effect that is an event, remember one that is an anomaly; return what came of the arrival."""
    shipment = comparison.shipment
    if isinstance(effect, Changed):
        shipment.count_event()
    elif isinstance(effect, Rejected):
        refuse(shipment, arrival.observation, arrival.name_anomaly(effect.kind))
    return Application(effect, conflict=comparison.completes_conflict, kept=kept)
