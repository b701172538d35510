"""The batch planner: from readings to rows and outputs. Pure.

The plan of a batch is the plans of its records one by one, so batch boundaries never show.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

import msgspec

from processor.core.copies import with_former_name
from processor.core.effects import Application, Arrival, Changed, Duplicate, Rejected, Unchanged
from processor.core.outputs import Origin, Output, anomaly_id, anomaly_output, dead_letter, event_output, tombstone
from processor.core.reading import Read, Reading, Unreadable
from processor.core.roots import Roots, RootShipment
from processor.core.shipment import apply, follow
from processor.core.state import Shipment, forgotten, new_shipment
from schemas.couriers import COURIERS
from schemas.events import Event
from schemas.observation import KEPT_OBSERVATIONS, Erase, Observation
from schemas.records import RawRecord
from schemas.topics import Topic
from schemas.traces import TRACEPARENT
from schemas.vocabulary import AnomalyKind, Outcome

MAX_BATCH: Final = 4_000
"""Records of one batch: enough to pay for two commits, little enough to leave the loop free every 200 ms."""

_SILENT: Final = frozenset({Outcome.UNCHANGED, Outcome.DUPLICATE})
"""What a re-reading may come to without leaving a row."""

_EVENT: Final = Outcome.EVENT

_OTHER_SHIPMENT: Final = Rejected(AnomalyKind.SHIPMENT_CHANGED)


class ObservationRow(msgspec.Struct, frozen=True, gc=False):
    """An observation as it is stored, with its outcome. `kept`: it takes part in the fold or in telling repeats.

    `stored` is false for a re-reading without effect: it leaves no row.
    """

    record: RawRecord
    observation: Observation
    outcome: Outcome
    anomaly_kind: AnomalyKind | None
    version: int | None
    kept: bool
    root: tuple[int, int] | None = None
    command_id: str | None = None
    stored: bool = True
    event: Event | None = None
    """The one that it gave."""

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset of the record that was read: the root, where there is one."""
        return self.root or (self.record.partition, self.record.offset)


class AppliedCommand(msgspec.Struct, frozen=True, gc=False):
    """A record that a tool appended, and what came of it: an outcome, or None for a dead letter."""

    command_id: str
    record: RawRecord
    outcome: Outcome | None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What a batch comes to.

    `shipments` are those touched, which are changed; `changed` the ids of those with a new version, each with
    the observation that gave it. `erased` and `retired` are the ids of those whose stored rows have to follow. `traces`
    are the headers of records of traced webhooks, by the record's offset.
    """

    shipments: dict[str, Shipment] = {}
    changed: dict[str, Observation] = {}
    observations: list[ObservationRow] = []
    outputs: list[Output] = []
    dead_letters: list[Unreadable] = []
    commands: list[AppliedCommand] = []
    erased: set[str] = set()
    retired: set[str] = set()
    traces: dict[int, str] = {}

    def unpublished(self) -> "Plan":
        """Return the plan of the same rows without anything that is to be published."""
        bare = [msgspec.structs.replace(row, event=None) for row in self.observations]
        return msgspec.structs.replace(self, outputs=[], observations=bare)


def concerned(readings: Iterable[Reading]) -> Iterator[str]:
    """Give the ids of the shipments that readings are planned with, in their order."""
    return (each.observation.shipment_id for each in readings if isinstance(each, Read) and not each.known)


def covered(readings: Sequence[Reading], unseen: Set[str]) -> int:
    """Return of how many readings, from the first on, none is about a shipment that was not loaded and must be."""
    if not unseen:
        return len(readings)
    about = (isinstance(each, Read) and not each.known and each.observation.shipment_id in unseen for each in readings)
    return next((place for place, is_unseen in enumerate(about) if is_unseen), len(readings))


class Planner:
    """The plan of a batch in the making. Readings are added in offset order; they change the shipments given."""

    def __init__(
        self,
        shipments: Mapping[str, Shipment],
        raw_topic: str,
        now: datetime,
        *,
        incarnation: int = 0,
        applied: Set[str] = frozenset(),
        roots: Roots = MappingProxyType({}),
        limit: int = KEPT_OBSERVATIONS,
    ) -> None:
        """Begin from the shipments as they are; those not among them are new.

        `incarnation` tells the records' coordinates from those of another log under the topic's name. `applied` holds
        those of the batch's command ids that were applied before, `roots` what is known of the roots it reads again.
        `limit`: how many observations a shipment keeps.
        """
        self.plan = Plan()
        """What the readings added so far come to."""
        self._observations, self._outputs = self.plan.observations, self.plan.outputs
        self.output_bytes = 0
        """How much they publish."""
        self._shipments = shipments
        self._raw_topic = raw_topic
        self._now = now
        self._incarnation = incarnation
        self._limit = limit
        self._commands = set(applied)
        self._roots = _RootShipments(roots)

    def add_all(self, readings: Iterable[Reading]) -> Plan:
        """Add readings; return what all that were added come to."""
        for reading in readings:
            self.add(reading)
        return self.plan

    def add(self, reading: Reading) -> None:
        """Add the next reading."""
        command = reading.command_id
        if command is None and isinstance(reading, Read) and not reading.known:
            self._observations.append(self._apply(reading))
            if reading.traceparent is not None:
                self._trace(reading.record.offset, reading.traceparent)
            return
        repeated = command is not None and command in self._commands
        outcome: Outcome | None = None
        if isinstance(reading, Unreadable):
            self._publish(dead_letter(self._origin(reading), reading.error))
            self.plan.dead_letters.append(reading)
        else:
            if repeated:
                row = _without_effect(reading, Duplicate())
            elif reading.known:
                row = _without_effect(reading, Unchanged())
            else:
                row = self._apply(reading)
            self._observations.append(row)
            outcome = row.outcome
        if command is not None and not repeated:
            self._commands.add(command)
            self.plan.commands.append(AppliedCommand(command, reading.record, outcome))
        if reading.traceparent is not None:
            self._trace(reading.record.offset, reading.traceparent)

    def _trace(self, offset: int, traceparent: str) -> None:
        """Note the trace of the record that was added last. Its event carries the same header."""
        self.plan.traces[offset] = traceparent
        outputs = self._outputs
        for place in range(len(outputs) - 1, -1, -1):
            if outputs[place].cause != offset:
                return
            if outputs[place].topic is Topic.EVENTS:
                headers = [(TRACEPARENT, traceparent.encode())]
                outputs[place] = msgspec.structs.replace(outputs[place], headers=headers)

    def _apply(self, reading: Read) -> ObservationRow:
        observation = reading.observation
        shipment = self._shipment(observation)
        if reading.root is None:
            change = follow(shipment, observation, self._limit)
            if change is not None:
                return self._tell(reading, shipment, change)
        name, was_retired = shipment.shipment_id, shipment.retired
        if reading.root is not None:
            observation = with_former_name(observation, shipment.records, reading.former_name)
        if shipment.erased:
            observation = forgotten(observation)
        origin = self._origin(reading)
        applied = self._applied(reading, observation, shipment)
        outputs = _outputs(origin, observation, shipment, applied)
        if shipment.retired and (outputs or not was_retired):
            outputs.append(tombstone(origin, name, len(outputs)))
        for output in outputs:
            self._publish(output)
        event = outputs[0].event if outputs else None
        row = _row(reading, observation, applied, shipment.version, event)
        self._roots.note(row)
        if row.version is not None:
            self.plan.changed[name] = observation
        if isinstance(observation.decision, Erase):
            self.plan.erased.add(name)
        if shipment.retired and not was_retired:
            self.plan.retired.add(name)
        return row

    def _tell(self, reading: Read, shipment: Shipment, change: Changed) -> ObservationRow:
        """Publish the event of an observation that came in its turn; return its row."""
        observation, snapshot = reading.observation, shipment.snapshot
        assert snapshot is not None
        origin = self._origin(reading)
        output = event_output(shipment.courier, origin, observation, snapshot, change, shipment.version)
        self._publish(output)
        self.plan.changed[shipment.shipment_id] = observation
        row = ObservationRow(  # by position, several times faster: nearly every record comes here
            reading.record,
            observation,
            _EVENT,
            None,
            output.version,
            True,
            None,
            reading.command_id,
            True,
            output.event,
        )
        self._roots.note(row)
        return row

    def _shipment(self, observation: Observation) -> Shipment:
        """Return the shipment that an observation is about, as one that the batch touches."""
        name = observation.shipment_id
        touched = self.plan.shipments
        shipment = touched.get(name)
        if shipment is None:
            shipment = self._shipments.get(name) or new_shipment(COURIERS[observation.courier], name)
            touched[name] = shipment
        return shipment

    def _applied(self, reading: Read, observation: Observation, shipment: Shipment) -> Application:
        """Apply an observation. One of another shipment than its root named is refused, and said so once."""
        root, name = reading.root, shipment.shipment_id
        owner = self._roots.owner(root) if root else None
        if root is not None and owner not in {None, name}:
            known = self._roots.has_refused(root, name)
            return Application(Unchanged() if known else _OTHER_SHIPMENT, kept=False)

        def name_anomaly(kind: AnomalyKind) -> str:
            return anomaly_id(name, reading.place, self._incarnation, kind)

        arrival = Arrival(observation, name_anomaly, root is not None, reading.former_name)
        applied = apply(shipment, arrival, self._limit)
        if owner is not None and applied.effect == Rejected(AnomalyKind.HISTORY_LIMIT):
            return Application(Unchanged(), kept=False)  # it was refused so when it came, and is told once
        return applied

    def _origin(self, reading: Reading) -> Origin:
        return Origin(self._raw_topic, reading.record, self._now, self._incarnation, reading.root)

    def _publish(self, output: Output) -> None:
        self._outputs.append(output)
        self.output_bytes += len(output.value or b"")


class _RootShipments:
    """What roots are about, as a batch finds it out: its own records may be the roots of others in it."""

    def __init__(self, known: Roots) -> None:
        self._known = dict(known)
        self._noted: list[ObservationRow] = []
        self.note: Final = self._noted.append
        """Remembers what a record, or the root it reads again, is about. Called for every record: no call of ours."""

    def owner(self, root: tuple[int, int]) -> str | None:
        """Return the shipment that a root is about, if it is about one."""
        return next((each.shipment_id for each in self._about(root) if not each.refused), None)

    def has_refused(self, root: tuple[int, int], shipment_id: str) -> bool:
        """Whether it is known that a re-reading names this shipment instead."""
        return any(each.refused and each.shipment_id == shipment_id for each in self._about(root))

    def _about(self, root: tuple[int, int]) -> Sequence[RootShipment]:
        """Sort in what was noted: most batches never ask."""
        for row in self._noted:
            place, refused = row.place, row.anomaly_kind is AnomalyKind.SHIPMENT_CHANGED
            found = RootShipment(row.observation.shipment_id, refused)
            self._known[place] = (*self._known.get(place, ()), found)
        self._noted.clear()
        return self._known.get(root, ())


def _outputs(origin: Origin, observation: Observation, shipment: Shipment, applied: Application) -> list[Output]:
    """Return what is published of an observation that was applied."""
    snapshot = shipment.snapshot
    found: list[Output] = []
    match applied.effect:
        case Changed() as change:
            assert snapshot is not None
            found.append(event_output(shipment.courier, origin, observation, snapshot, change, shipment.version))
        case Rejected(kind):
            found.append(_anomaly(origin, observation, shipment, kind, ordinal=0))
        case Duplicate() | Unchanged():
            pass
        case _:
            assert_never(applied.effect)
    if applied.conflict:
        found.append(_anomaly(origin, observation, shipment, AnomalyKind.SERVICE_CONFLICT, ordinal=len(found)))
    return found


def _anomaly(
    origin: Origin, observation: Observation, shipment: Shipment, kind: AnomalyKind, *, ordinal: int
) -> Output:
    occurred = shipment.courier.occurred(observation, shipment.service)
    status = shipment.snapshot.status if shipment.snapshot else None
    return anomaly_output(origin, observation, occurred, kind, status, ordinal)


def _without_effect(reading: Read, effect: Duplicate | Unchanged) -> ObservationRow:
    return _row(reading, reading.observation, Application(effect, kept=False), version=0)


def _row(
    reading: Read, observation: Observation, applied: Application, version: int, event: Event | None = None
) -> ObservationRow:
    effect = applied.effect
    return ObservationRow(
        reading.record,
        observation,
        effect.outcome,
        effect.kind if isinstance(effect, Rejected) else None,
        version if isinstance(effect, Changed) else None,
        applied.kept,
        reading.root,
        reading.command_id,
        applied.kept or reading.root is None or effect.outcome not in _SILENT,
        event,
    )
