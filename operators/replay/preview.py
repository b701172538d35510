"""What a replay would do, without doing it: the very records it would append are planned as a worker plans them.

Shipments come from the database chunk by chunk. Of those that the replay would change a bounded part is kept in memory
(`overlay`). Beside it are the ids of all, and what is told of each change.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from operators.replay.overlay import Change, Overlay, ShownShipment, Values
from operators.replay.progress import PLANNING, Progress, Tell
from operators.replay.range import Selection, Stretch
from operators.replay.reader import AppliedOffsets, ReplayLog, SelectedRange
from operators.shared.rereading import reread
from processor.core.outputs import Output
from processor.core.plan import Planner, concerned, covered
from processor.core.reading import Read, Reading
from processor.core.roots import recognised
from processor.storage.shipments import LOADED_BYTES
from processor.storage.store import Store
from runtime.postgres import Pool
from runtime.settings import Settings
from runtime.values import MASK
from schemas.events import Anomaly, Event
from schemas.observation import PERSONAL

PLANNED: Final = 2_000
"""Records planned at once."""

PLAN_NAME: Final = "plan"
"""Stands for the job's name in the command ids of planned records. No job has it."""


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
        self._overlay = Overlay(limit)
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
        _, roots = await self._store.recall(readings)
        readings = recognised(readings, roots)
        names = list(dict.fromkeys(concerned(readings)))
        changed = self._overlay.take(names)
        missing = [name for name in names if name not in changed]
        loaded, seen = await self._store.load_some(missing, LOADED_BYTES)
        changed |= self._overlay.change(loaded, missing[:seen])
        known = loaded | changed
        taken = covered(readings, set(missing[seen:]))
        readings = readings[:taken]
        for home, group in _by_partition(readings).items():
            incarnation = self._applied[home].incarnation if home in self._applied else 0
            before = {name: ShownShipment.of(each) for name, each in known.items()}
            planner = Planner(known, self._topic, self._now, incarnation=incarnation, roots=roots, limit=self._limit)
            planned = planner.add_all(group)
            self.outcomes.update(str(command.outcome) for command in planned.commands)
            self._foresee(planned.outputs)
            for name in self._overlay.note(planned.observations, before, incarnation):
                changed[name] = known[name] = planned.shipments[name]
        self._overlay.put(changed)
        self.shipments |= {reading.observation.shipment_id for reading in readings if isinstance(reading, Read)}
        return taken

    def _foresee(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if output.event is not None:
                self.events.append(_coming_event(output.event))
            elif output.anomaly is not None:
                self.anomalies.append(_coming_anomaly(output.anomaly))

    def changes(self) -> list[Change]:
        """Return what would change, by shipment. Nothing more may be planned then."""
        return self._overlay.changes()


async def plan_replay(
    settings: Settings,
    pool: Pool,
    log: ReplayLog,
    selection: Selection,
    found: SelectedRange,
    now: datetime,
    tell: Tell,
) -> ReplayPlan:
    """Plan a replay of what a selection came to. `tell` hears how far it is.

    Raises:
        OperatorError: the log gives nothing for too long.

    """
    preview = Preview(Store(pool), log.topic, await log.applied(), now, settings.shipment_max_observations)
    rereadings = decisions = unreadable = records = 0
    starts = {stretch.partition: stretch.start for stretch in found.stretches}
    reached = dict(starts)
    offsets = sum(stretch.end - stretch.start for stretch in found.stretches)
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
        reached[chunk.partition] = chunk.next_offset
        dealt = sum(reached[partition] - start for partition, start in starts.items())
        tell(Progress(None, PLANNING, dealt, offsets, 0, rereadings + decisions + unreadable))
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
