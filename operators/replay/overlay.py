"""The shipments that a replay would change, as they would be then.

The newest are held whole, up to a weight. Of the others what changes them is kept: it is done again on what the
database has, if another of their records comes.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from processor.core.cache import Cache
from processor.core.effects import Arrival
from processor.core.fold import Snapshot
from processor.core.outputs import anomaly_id
from processor.core.plan import ObservationRow
from processor.core.shipment import apply
from processor.core.state import Shipment, new_shipment
from processor.core.view import IDENTITY, View
from schemas.couriers import COURIERS
from schemas.shipment_ids import parse_shipment_id
from schemas.stored_observation import pack_observation, read_observation
from schemas.vocabulary import AnomalyKind

HELD_BYTES: Final = 64 * 1024 * 1024
"""How much of changed shipments is held whole. Each other takes some 300 bytes for each reading that changes it, and
what is told of it."""


class Values(msgspec.Struct, frozen=True):
    """A field before and after."""

    old: Any
    new: Any


class Change(msgspec.Struct, frozen=True):
    """What would change of a shipment. Version 0 before: it would be new."""

    shipment_id: str
    version: Values
    fields: dict[str, Values]


class ShownShipment(msgspec.Struct, frozen=True):
    """What the world sees of a shipment."""

    version: int
    snapshot: Snapshot | None

    @classmethod
    def of(cls, shipment: Shipment) -> "ShownShipment":
        """Return what is seen of a shipment now."""
        return cls(shipment.version, shipment.shown)


NEW: Final = ShownShipment(0, None)


class _Rereading(msgspec.Struct, frozen=True, gc=False):
    """A reading that changes its shipment: its stored form, its record's place, and of which log that is."""

    said: bytes
    place: tuple[int, int]
    incarnation: int


class Overlay:
    """Changed shipments."""

    def __init__(self, limit: int) -> None:
        """Begin with none. `limit` is how many observations a shipment keeps."""
        self._limit = limit
        self._held = Cache(HELD_BYTES)
        self._before: dict[str, ShownShipment] = {}
        """Of those that are held, as the database has them."""
        self._rereadings: dict[str, list[_Rereading]] = {}
        self._changes: dict[str, Change] = {}
        """Of those that are not held."""

    def take(self, names: Iterable[str]) -> dict[str, Shipment]:
        """Take out those of the shipments that are held, to be put back."""
        return self._held.take(names)

    def change(self, stored: Mapping[str, Shipment], names: Iterable[str]) -> dict[str, Shipment]:
        """Return those of the shipments that were let go, as they would be, to be put back.

        `stored` has them as the database does.
        """
        found = {}
        for name in names:
            if self._changes.pop(name, None) is not None:
                shipment = stored.get(name) or new_shipment(COURIERS[parse_shipment_id(name).courier], name)
                self._before[name] = ShownShipment.of(shipment)
                for each in self._rereadings[name]:
                    apply(shipment, _arrival(name, each), self._limit)
                found[name] = shipment
        return found

    def note(self, rows: Iterable[ObservationRow], before: Mapping[str, ShownShipment], incarnation: int) -> set[str]:
        """Note the rows that would be stored; return the shipments they change, to be put in.

        `before` says what was seen of them; of others nothing was.
        """
        changed = set()
        for row in rows:
            if row.stored:
                name = row.observation.shipment_id
                changed.add(name)
                self._before.setdefault(name, before.get(name, NEW))
                kept = self._rereadings.setdefault(name, [])
                if row.anomaly_kind is not AnomalyKind.SHIPMENT_CHANGED:
                    kept.append(_Rereading(pack_observation(row.observation), row.place, incarnation))
        return changed

    def put(self, shipments: Mapping[str, Shipment]) -> None:
        """Hold shipments, and let go of the oldest where they weigh too much."""
        for name, shipment in self._held.put(shipments).items():
            self._changes[name] = _change(name, self._before.pop(name), ShownShipment.of(shipment))

    def changes(self) -> list[Change]:
        """Return what would change, by shipment. Nothing is held any more."""
        for name, shipment in self._held.take(list(self._before)).items():
            self._changes[name] = _change(name, self._before.pop(name), ShownShipment.of(shipment))
        found = (self._changes[name] for name in sorted(self._changes))
        return [change for change in found if change.fields or change.version.old != change.version.new]


def _arrival(name: str, reading: _Rereading) -> Arrival:
    def name_anomaly(kind: AnomalyKind) -> str:
        return anomaly_id(name, reading.place, reading.incarnation, kind)

    return Arrival(read_observation(name, None, reading.said), name_anomaly, again=True)


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
