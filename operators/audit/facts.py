"""What an audit knows of one shipment, or of one partition, and what it calls a difference. Pure."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from operators.audit.content import Account
from runtime.values import MASK
from schemas.events import Event
from schemas.observation import PERSONAL

UNREADABLE: Final = -1
"""Stands for the version of an unknown published state."""


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as the rest says it should be."""

    where: str
    """The table or topic that is wrong, as far as can be told; `raw` where it differs from what the raw topic gives."""
    field: str
    expected: Any
    found: Any
    partition: int
    shipment: str | None = None

    def masked(self) -> "Difference":
        """Hide personal data, but not that there is some."""
        if self.field not in PERSONAL:
            return self
        hidden = (MASK if value else value for value in (self.expected, self.found))
        return msgspec.structs.replace(self, **dict(zip(("expected", "found"), hidden, strict=True)))


class ShipmentRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `shipments`. `content` is None if a value in it is unknown."""

    version: int
    content: Account | None
    erased: bool = False
    retired: bool = False


class StoredEvent(msgspec.Struct, gc=False):
    """A stored event. `name` is its id; None: it cannot be read. `published`: it must be on the topics."""

    version: int
    name: str | None
    published: bool
    read: Callable[[], Event | None] | None
    """Reads it, as far as it is asked for: of most events the name says enough."""
    found: Event | None = None

    @property
    def event(self) -> Event | None:
        """The event itself; None: it cannot be read."""
        if self.read is not None:
            self.found, self.read = self.read(), None
        return self.found


class PublishedState(msgspec.Struct, frozen=True, gc=False):
    """The newest record of a shipment on the state topic: where it stands, and digests instead of the value."""

    version: int
    offset: int
    exact: bytes
    content: bytes


class Facts(msgspec.Struct, frozen=True, gc=False):
    """All that is known of one shipment at one cursor.

    `folded` comes from its stored observations, `said` counts these, `versions` are those of the observations with an
    event. `derived` are versions that a recovery derived without storing the events. `forgetting`: a tombstone waits to
    be published. `outdated`: an older edition of the couriers' words read some of its observations.
    """

    shipment_id: str
    partition: int
    row: ShipmentRow | None
    folded: Account | None
    said: int
    versions: tuple[int, ...]
    events: tuple[StoredEvent, ...]
    published: PublishedState | None
    derived: frozenset[int] = frozenset()
    recovered: bool = False
    """`waybill recover` has worked on its partition: versions may have gaps, and a row no history."""
    forgetting: bool = False
    outdated: bool = False

    @property
    def lost(self) -> bool:
        """Whether a recovery found nothing of it but its published state."""
        return self.recovered and not self.said and not self.events


class Counts(msgspec.Struct, frozen=True, gc=False):
    """How many there are in a partition: the cursor's own counts, rows of observations, stored outputs."""

    records: int
    rowless: int
    observations: int
    events: int
    duplicates: int
    anomalies: int
    unchanged: int
    stored_events: int
    stored_anomalies: int
    dead_letters: int


def difference(facts: Facts, where: str, field: str, expected: Any, found: Any) -> Difference:
    """Return a difference of the shipment that the facts are about."""
    return Difference(where, field, expected, found, facts.partition, facts.shipment_id)
