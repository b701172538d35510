"""What a replay would do, without doing it: the very records it would append are planned as a worker plans them.

Shipments come from the database chunk by chunk. Only those that the replay would change are kept in memory.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from operators.replay.range import Selection, Stretch
from operators.replay.reader import AppliedOffsets, ReplayLog, SelectedRange
from operators.shared.rereading import reread
from processor.core.fold import Snapshot
from processor.core.outputs import Output
from processor.core.plan import Planner, covered
from processor.core.reading import Read, Reading
from processor.core.state import Shipment
from processor.core.view import IDENTITY, View
from processor.storage.shipments import LOADED_BYTES
from processor.storage.store import Store
from runtime.postgres import Pool
from runtime.settings import Settings
from runtime.values import MASK
from schemas.events import Anomaly, Event
from schemas.observation import PERSONAL
from schemas.shipment_ids import parse_shipment_id

PLANNED: Final = 2_000
"""Records planned at once."""

PLAN_NAME: Final = "plan"
"""Stands for the job's name in the command ids of planned records. No job has it."""


class Values(msgspec.Struct, frozen=True):
    """A field before and after."""

    old: Any
    new: Any


class ShownShipment(msgspec.Struct, frozen=True):
    """What the world sees of a shipment."""

    version: int
    snapshot: Snapshot | None


NEW: Final = ShownShipment(0, None)


class Change(msgspec.Struct, frozen=True):
    """What would change of a shipment. Version 0 before: it would be new."""

    shipment_id: str
    version: Values
    fields: dict[str, Values]


class ComingEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that would come."""

    id: str
    type: str
    status: str
    previous_status: str | None
    transition: str | None
    skipped: tuple[str, ...]
    courier_status: str
    raw: str


class ComingAnomaly(msgspec.Struct, frozen=True, gc=False):
    """An anomaly that would come."""

    id: str
    kind: str
    shipment_id: str
    courier_status: str
    status: str | None
    raw: str


class ReplayPlan(msgspec.Struct, frozen=True):
    """What a replay would do.

    `records` would be read again. `rereadings` and `decisions` of the range are passed over, and so are `unreadable`
    records: today's code can make nothing of them. `waiting` records the processor has yet to read at all. `outcomes`
    counts what the records would come to.
    """

    records: int
    shipments: Sequence[str]
    rereadings: int
    decisions: int
    unreadable: int
    waiting: int
    stretches: Sequence[Stretch]
    outcomes: Mapping[str, int]
    changes: Sequence[Change]
    events: Sequence[ComingEvent]
    anomalies: Sequence[ComingAnomaly]


class Preview:
    """Applies re-readings to a copy of the world that holds only what differs from the database."""

    def __init__(
        self, store: Store, topic: str, applied: Mapping[int, AppliedOffsets], now: datetime, limit: int
    ) -> None:
        """Keep where shipments come from. `now` is when the records are planned to be applied.

        `limit` is how many observations a shipment keeps.
        """
        self._limit = limit
        self._store = store
        self._topic = topic
        self._applied = applied
        self._now = now
        self._overlay: dict[str, Shipment] = {}
        self._before: dict[str, ShownShipment] = {}
        self.shipments: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.events: list[ComingEvent] = []
        self.anomalies: list[ComingAnomaly] = []

    async def apply(self, readings: Sequence[Reading]) -> None:
        """Plan the next records that would be appended, as many at once as their histories allow for."""
        while readings:
            readings = readings[await self._apply_some(readings) :]

    async def _apply_some(self, readings: Sequence[Reading]) -> int:
        """Plan the first of these; return how many those are."""
        named = [reading.observation.shipment_id for reading in readings if isinstance(reading, Read)]
        missing = [name for name in dict.fromkeys(named) if name not in self._overlay]
        loaded, seen = await self._store.load_some(missing, LOADED_BYTES)
        taken = covered(readings, set(missing[seen:]))
        readings = readings[:taken]
        _, roots = await self._store.recall(readings)
        for home, group in _by_partition(readings).items():
            incarnation = self._applied[home].incarnation if home in self._applied else 0
            known = loaded | self._overlay
            before = {name: ShownShipment(each.version, each.shown) for name, each in known.items()}
            planner = Planner(known, self._topic, self._now, incarnation=incarnation, roots=roots, limit=self._limit)
            planned = planner.add_all(group)
            self.outcomes.update(str(command.outcome) for command in planned.commands)
            self._foresee(planned.outputs)
            for name in {row.observation.shipment_id for row in planned.observations if row.stored}:
                self._before.setdefault(name, before.get(name, NEW))
                self._overlay[name] = loaded[name] = planned.shipments[name]
        self.shipments |= {reading.observation.shipment_id for reading in readings if isinstance(reading, Read)}
        return taken

    def _foresee(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if output.event is not None:
                self.events.append(_coming_event(output.event))
            elif output.anomaly is not None:
                self.anomalies.append(_coming_anomaly(output.anomaly))

    def changes(self) -> list[Change]:
        """Return what would change, by shipment."""
        found = (
            _change(name, before, ShownShipment(self._overlay[name].version, self._overlay[name].shown))
            for name, before in sorted(self._before.items())
        )
        return [change for change in found if change.fields or change.version.old != change.version.new]


async def plan_replay(
    settings: Settings, pool: Pool, log: ReplayLog, selection: Selection, found: SelectedRange, now: datetime
) -> ReplayPlan:
    """Plan a replay of what a selection came to.

    Raises:
        OperatorError: the log gives nothing for too long.

    """
    preview = Preview(Store(pool), log.topic, await log.applied(), now, settings.shipment_max_observations)
    rereadings = decisions = unreadable = records = 0
    async for chunk in log.chunks(selection, found.stretches, found.belongs, PLANNED):
        readings = [
            reread(record, f"{PLAN_NAME}/{record.at}", settings.assumed_zone, log.partitions)
            for record in chunk.records
        ]
        readable = [reading for reading in readings if isinstance(reading, Read)]
        await preview.apply(readable)
        records += len(readable)
        unreadable += len(readings) - len(readable)
        rereadings += chunk.rereadings
        decisions += chunk.decisions
    return ReplayPlan(
        records=records,
        shipments=sorted(preview.shipments),
        rereadings=rereadings,
        decisions=decisions,
        unreadable=unreadable,
        waiting=found.waiting,
        stretches=found.stretches,
        outcomes=dict(sorted(preview.outcomes.items())),
        changes=preview.changes(),
        events=preview.events,
        anomalies=preview.anomalies,
    )


def masked(made: ReplayPlan) -> ReplayPlan:
    """Return a plan without personal data: of such fields only that they would change."""
    changes = [
        msgspec.structs.replace(
            change,
            fields={name: _masked(values) if name in PERSONAL else values for name, values in change.fields.items()},
        )
        for change in made.changes
    ]
    return msgspec.structs.replace(made, changes=changes)


def _masked(values: Values) -> Values:
    return Values(MASK if values.old else values.old, MASK if values.new else values.new)


def _by_partition(readings: Sequence[Reading]) -> dict[int, list[Reading]]:
    """Group records by the partition whose worker would apply them, each in its order."""
    found: dict[int, list[Reading]] = {}
    for reading in readings:
        found.setdefault(reading.record.partition, []).append(reading)
    return found


def _change(name: str, before: ShownShipment, after: ShownShipment) -> Change:
    old, new = fields_of(name, before.snapshot), fields_of(name, after.snapshot)
    fields = {field: Values(old.get(field), value) for field, value in new.items() if old.get(field) != value}
    return Change(name, Values(before.version, after.version), fields)


def fields_of(name: str, snapshot: Snapshot | None) -> dict[str, Any]:
    """Return a shipment's row, field by field, but for what its id says."""
    if snapshot is None:
        return {}
    owner = parse_shipment_id(name)
    fields = View.of(snapshot, owner.courier, owner.account, owner.reference).fields()
    return {field: value for field, value in fields.items() if field not in IDENTITY}


def _coming_event(event: Event) -> ComingEvent:
    return ComingEvent(
        event.id,
        event.type,
        event.status,
        event.previous_status,
        event.transition,
        event.skipped,
        event.courier_status,
        f"{event.raw.partition}:{event.raw.offset}",
    )


def _coming_anomaly(anomaly: Anomaly) -> ComingAnomaly:
    return ComingAnomaly(
        anomaly.id,
        anomaly.kind,
        anomaly.shipment_id,
        anomaly.courier_status,
        anomaly.status,
        f"{anomaly.raw.partition}:{anomaly.raw.offset}",
    )
