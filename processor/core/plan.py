"""The batch planner: from raw records to rows and outputs. Pure.

The plan of a batch is the plans of its records one by one, so batch boundaries never show.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType
from typing import Final, assert_never

import msgspec

from processor.core.outputs import Origin, Output, anomaly_id, anomaly_output, dead_letter, event_output, tombstone
from processor.core.reading import Read, Reading, Unreadable
from processor.core.shipment import Applied, Changed, Duplicate, Refused, Unchanged, apply
from processor.core.state import Shipment, forgotten, new_shipment
from schemas.couriers import COURIERS
from schemas.observation import KEPT_OBSERVATIONS, Erase, Observation
from schemas.records import RawRecord
from schemas.vocabulary import AnomalyKind, Outcome

MAX_BATCH: Final = 4_000
"""Records of one batch: enough to pay for two commits, little enough to leave the loop free every 200 ms."""

_SILENT: Final = frozenset({Outcome.UNCHANGED, Outcome.DUPLICATE})
"""What a re-reading may come to without leaving a row."""


class Said(msgspec.Struct, frozen=True, gc=False):
    """A root record was found to be about a shipment. `refused`: not at first, and that was an anomaly."""

    shipment_id: str
    refused: bool = False


Roots = Mapping[tuple[int, int], Sequence[Said]]
"""What roots were found to be about, by partition and offset."""


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


class AppliedCommand(msgspec.Struct, frozen=True, gc=False):
    """A record that a tool appended, and what came of it: an outcome, or None for a dead letter."""

    command_id: str
    record: RawRecord
    outcome: Outcome | None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What a batch comes to.

    `shipments` are those touched, which are changed; `changed` the ids of those with a new version, each with
    the observation that gave it. `erased` and `retired` are the ids of those whose stored rows have to follow.
    """

    shipments: Mapping[str, Shipment]
    changed: Mapping[str, Observation]
    observations: Sequence[ObservationRow]
    outputs: Sequence[Output]
    dead_letters: Sequence[Unreadable]
    commands: Sequence[AppliedCommand] = ()
    erased: Collection[str] = ()
    retired: Collection[str] = ()


def covered(readings: Sequence[Reading], unseen: Set[str]) -> int:
    """Return of how many readings, from the first on, none is about a shipment that was not loaded."""
    about = (isinstance(each, Read) and each.observation.shipment_id in unseen for each in readings)
    return next((place for place, is_unseen in enumerate(about) if is_unseen), len(readings))


def plan(
    readings: Sequence[Reading],
    shipments: Mapping[str, Shipment],
    raw_topic: str,
    now: datetime,
    incarnation: int = 0,
    applied: Set[str] = frozenset(),
    roots: Roots = MappingProxyType({}),
    limit: int = KEPT_OBSERVATIONS,
) -> Plan:
    """Plan a batch at once: see `Planning`."""
    planning = Planning(readings, shipments, raw_topic, now, incarnation, applied, roots, limit)
    while planning.taken < len(readings):
        planning.take()
    return planning.done()


class Planning:
    """A batch being planned, reading by reading, in offset order. It changes the shipments it is given."""

    def __init__(
        self,
        readings: Sequence[Reading],
        shipments: Mapping[str, Shipment],
        raw_topic: str,
        now: datetime,
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
        self.taken = 0
        """How many readings are planned so far."""
        self.output_bytes = 0
        """How much they publish."""
        self._readings = readings
        self._shipments = shipments
        self._raw_topic = raw_topic
        self._now = now
        self._incarnation = incarnation
        self._applied = applied
        self._said = _Said(readings, roots)
        self._limit = limit
        self._touched: dict[str, Shipment] = {}
        self._changed: dict[str, Observation] = {}
        self._rows: list[ObservationRow] = []
        self._outputs: list[Output] = []
        self._dead_letters: list[Unreadable] = []
        self._commands: dict[str, AppliedCommand] = {}
        self._erased: set[str] = set()
        self._retired: set[str] = set()

    def take(self) -> None:
        """Plan the next reading."""
        reading = self._readings[self.taken]
        self.taken += 1
        record, command = reading.record, reading.command_id
        repeated = command is not None and (command in self._applied or command in self._commands)
        if isinstance(reading, Unreadable):
            self._publish(dead_letter(Origin(self._raw_topic, record, self._now, self._incarnation), reading.error))
            self._dead_letters.append(reading)
            outcome = None
        else:
            row = self._repeated(reading) if repeated else self._apply(reading)
            self._rows.append(row)
            outcome = row.outcome
        if command is not None and not repeated:
            self._commands[command] = AppliedCommand(command, record, outcome)

    def done(self) -> Plan:
        """Return what the readings taken come to."""
        return Plan(
            self._touched,
            self._changed,
            self._rows,
            self._outputs,
            self._dead_letters,
            list(self._commands.values()),
            self._erased,
            self._retired,
        )

    def _repeated(self, reading: Read) -> ObservationRow:
        return _row(reading, reading.observation, Applied(Duplicate(), kept=False), Outcome.DUPLICATE)

    def _apply(self, reading: Read) -> ObservationRow:
        observation = reading.observation
        name = observation.shipment_id
        shipment = self._touched.get(name) or self._shipments.get(name)
        if shipment is None:
            shipment = new_shipment(COURIERS[observation.courier], name)
        self._touched[name] = shipment
        retired = shipment.retired
        origin = Origin(self._raw_topic, reading.record, self._now, self._incarnation, reading.root)
        row, published = _plan_one(origin, reading, shipment, self._said, self._limit)
        if row.version is not None:
            self._changed[name] = row.observation
        for output in published:
            self._publish(output)
        if isinstance(observation.decision, Erase):
            self._erased.add(name)
        if shipment.retired and not retired:
            self._retired.add(name)
        return row

    def _publish(self, output: Output) -> None:
        self._outputs.append(output)
        self.output_bytes += len(output.value or b"")


class _Said:
    """What roots are about, as a batch finds it out."""

    def __init__(self, readings: Sequence[Reading], roots: Roots) -> None:
        self._roots = dict(roots)
        self._watching = any(isinstance(reading, Read) and reading.root for reading in readings)

    def owner(self, root: tuple[int, int]) -> str | None:
        """Return the shipment that a root is about, if it is about one."""
        return next((each.shipment_id for each in self._roots.get(root, ()) if not each.refused), None)

    def has_refused(self, root: tuple[int, int], shipment_id: str) -> bool:
        """Whether it is known that a re-reading names this shipment instead."""
        return Said(shipment_id, refused=True) in self._roots.get(root, ())

    def note(self, reading: Read, *, refused: bool) -> None:
        """Remember what a record is about."""
        if self._watching:
            at = reading.root or (reading.record.partition, reading.record.offset)
            self._roots[at] = (*self._roots.get(at, ()), Said(reading.observation.shipment_id, refused))


def _plan_one(
    origin: Origin, reading: Read, shipment: Shipment, said: _Said, limit: int
) -> tuple[ObservationRow, list[Output]]:
    observation = forgotten(reading.observation) if shipment.erased else reading.observation
    courier = COURIERS[observation.courier]
    was_retired = shipment.retired
    applied = _applied(origin, reading, observation, shipment, said, limit)
    status = shipment.snapshot.status if shipment.snapshot else None
    occurred = courier.occurred(observation, shipment.service)
    published: list[Output] = []
    match applied.effect:
        case Changed() as change:
            assert shipment.snapshot is not None
            row = _row(reading, observation, applied, Outcome.EVENT, version=shipment.version)
            published.append(event_output(courier, origin, observation, shipment.snapshot, change, shipment.version))
        case Refused(kind):
            row = _row(reading, observation, applied, Outcome.ANOMALY, kind=kind)
            published.append(anomaly_output(origin, observation, occurred, kind, status, ordinal=0))
        case Duplicate():
            row = _row(reading, observation, applied, Outcome.DUPLICATE)
        case Unchanged():
            row = _row(reading, observation, applied, Outcome.UNCHANGED)
        case _:
            assert_never(applied.effect)
    if applied.conflict:
        published.append(
            anomaly_output(origin, observation, occurred, AnomalyKind.SERVICE_CONFLICT, status, len(published))
        )
    if shipment.retired and (published or not was_retired):
        published.append(tombstone(origin, shipment.shipment_id, len(published)))
    said.note(reading, refused=applied.effect == Refused(AnomalyKind.SHIPMENT_CHANGED))
    return row, published


def _applied(
    origin: Origin, reading: Read, observation: Observation, shipment: Shipment, said: _Said, limit: int
) -> Applied:
    """Apply a reading. One that names another shipment than its root did is refused, and said so once."""
    root, name = reading.root, shipment.shipment_id
    at = root or (origin.record.partition, origin.record.offset)
    owner = said.owner(root) if root else None
    if root is not None and owner not in {None, name}:
        known = said.has_refused(root, name)
        return Applied(Unchanged() if known else Refused(AnomalyKind.SHIPMENT_CHANGED), kept=False)

    def name_anomaly(kind: AnomalyKind) -> str:
        return anomaly_id(name, at, origin.incarnation, kind)

    applied = apply(
        COURIERS[observation.courier], shipment, observation, name_anomaly, again=root is not None, limit=limit
    )
    if owner is not None and applied.effect == Refused(AnomalyKind.HISTORY_LIMIT):
        return Applied(Unchanged(), kept=False)  # it was refused so when it came, and is told once
    return applied


def _row(
    reading: Read,
    observation: Observation,
    applied: Applied,
    outcome: Outcome,
    *,
    kind: AnomalyKind | None = None,
    version: int | None = None,
) -> ObservationRow:
    silent = reading.root is not None and outcome in _SILENT and not applied.kept
    return ObservationRow(
        reading.record,
        observation,
        outcome,
        kind,
        version,
        applied.kept,
        reading.root,
        reading.command_id,
        stored=not silent,
    )
