"""What an audit compares, and when two accounts of one shipment differ. Pure."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final, Self

import msgspec

from processor.core.fold import Snapshot
from runtime.values import MASK
from schemas.couriers import COURIERS
from schemas.events import Event, Personal, ShownProof, State, state_after
from schemas.observation import Carrier, Charges, Details, Observation
from schemas.times import format_time
from schemas.vocabulary import PHASES, Phase, Service, Status, TimeSource

UNREADABLE: Final = -1
"""Stands for the version of a published state that is none of ours."""

_PERSONAL: Final = frozenset({"driver", "signed_by", "tracking_url", "proofs", "description"})
"""The scan text too: couriers write names into it."""

_encode: Final = msgspec.json.Encoder().encode
_decode_state: Final = msgspec.json.Decoder(State).decode


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
        if self.field not in _PERSONAL:
            return self
        hidden = (MASK if value else value for value in (self.expected, self.found))
        return msgspec.structs.replace(self, **dict(zip(("expected", "found"), hidden, strict=True)))


class Content(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every account of a shipment says: its row, the fold, an event, the published state."""

    courier: str
    account: str | None
    service: Service
    courier_ref: str
    order_id: str | None
    awb: str | None
    status: Status
    phase: Phase
    final: bool
    courier_status: str
    failed_count: int
    carrier: Carrier | None
    charges: Charges | None
    reason: str | None
    description: str | None
    personal: Personal
    occurred_at: str
    occurred_at_source: TimeSource

    @classmethod
    def told(cls, told: Event | State) -> Self:
        """Return what an event or a state says."""
        return cls(**{name: getattr(told, name) for name in cls.__struct_fields__})

    @classmethod
    def folded(cls, said: Observation, snapshot: Snapshot) -> Self:
        """Return what a fold comes to. `said` is any observation of the shipment."""
        return cls.showing(
            snapshot,
            courier=said.courier,
            account=said.account,
            courier_ref=said.reference,
            phase=PHASES[snapshot.status],
            final=COURIERS[said.courier].lifecycles[snapshot.service].is_final(snapshot.status),
        )

    @classmethod
    def showing(
        cls, snapshot: Snapshot, *, courier: str, account: str | None, courier_ref: str, phase: Phase, final: bool
    ) -> Self:
        """Return an account that shows a snapshot, with what no snapshot holds."""
        details = snapshot.details
        return cls(
            courier=courier,
            account=account,
            service=snapshot.service,
            courier_ref=courier_ref,
            order_id=details.order_id,
            awb=details.awb,
            status=snapshot.status,
            phase=phase,
            final=final,
            courier_status=snapshot.courier_status,
            failed_count=snapshot.failed_count,
            carrier=details.carrier,
            charges=details.charges,
            reason=details.reason,
            description=details.description,
            personal=personal_of(details),
            occurred_at=format_time(snapshot.occurred.at),
            occurred_at_source=snapshot.occurred.source,
        )


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row of `shipments`. `content` is None if a value in it is none of ours."""

    version: int
    content: Content | None
    erased: bool = False
    retired: bool = False


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of `outputs`. `event` is None if its bytes are none of ours. `published`: it must be on the topics."""

    version: int
    event: Event | None
    published: bool


class Published(msgspec.Struct, frozen=True, gc=False):
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
    row: Row | None
    folded: Content | None
    said: int
    versions: tuple[int, ...]
    events: tuple[StoredEvent, ...]
    published: Published | None
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


class Late(msgspec.Struct, frozen=True):
    """The topic does not show what should be published: it may still come, if the reader was too early."""

    difference: Difference
    facts: "Facts"


class Differing(msgspec.Struct, frozen=True):
    """The published state is another than `wanted`, of the same version."""

    wanted: State | Content


def personal_of(details: Details) -> Personal:
    """Return personal data as it is published."""
    proofs = (
        ShownProof(proof.type, proof.url, format_time(proof.occurred_at) if proof.occurred_at else None)
        for proof in details.proofs
    )
    return Personal(details.driver, details.signed_by, details.tracking_url, tuple(proofs))


def published(value: bytes, offset: int) -> Published:
    """Digest a record of the state topic."""
    state = read_state(value)
    if state is None:
        return Published(UNREADABLE, offset, b"", b"")
    return Published(state.version, offset, _digest(state), _digest(Content.told(state)))


def read_state(value: bytes) -> State | None:
    """Read a published state; None if it is none of ours."""
    try:
        return _decode_state(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def fields(account: Content | State) -> dict[str, Any]:
    """Return an account field by field, each part of the personal data by itself."""
    values: dict[str, Any] = msgspec.to_builtins(account)
    persons: dict[str, Any] = values.pop("personal")
    return values | persons


def unlike(facts: Facts, where: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare two accounts field by field."""
    for name, value in expected.items():
        if found[name] != value:
            yield _difference(facts, where, name, value, found[name])


def compare(facts: Facts) -> list[Difference]:
    """Compare a shipment's row, observations and stored events. What is published is judged by `judge_state`."""
    return [*_row(facts), *_versions(facts), *_newest_event(facts)]


def compare_outdated(facts: Facts) -> list[Difference]:
    """Compare the row of a shipment that an older edition read with what its stored observations come to today.

    What differs is no damage: a replay corrects it.
    """
    row, folded = facts.row, facts.folded
    if not facts.outdated or row is None or row.content is None or row.retired or folded is None:
        return []
    return list(unlike(facts, "shipments", fields(folded), fields(row.content)))


def compare_raw(facts: Facts, refolded: Content | None) -> list[Difference]:
    """Compare a shipment's row with what the raw topic gives when it is read with today's code."""
    found = facts.row.content if facts.row else None
    if refolded is None or found is None:
        if facts.row is None and refolded is None:
            return []
        return [_difference(facts, "raw", "status", refolded and refolded.status, found and found.status)]
    return list(unlike(facts, "raw", fields(refolded), fields(found)))


def judge_state(facts: Facts) -> Difference | Late | Differing | None:
    """Judge the newest published state. A newer row is traffic, as long as what must be published is there."""
    state, row = facts.published, facts.row
    stored = {each.version: each for each in facts.events}
    if row is None:
        return None
    if state is None:
        due = 0 if row.retired else _due(facts, row, stored)
        return Late(_difference(facts, "shipment.state", "version", due, None), facts) if due else None
    if state.version == UNREADABLE:
        return _difference(facts, "shipment.state", "value", f"version {row.version}", "unreadable")
    if state.version > row.version:
        return _difference(facts, "shipment.state", "version", row.version, state.version)
    if row.retired and state.version not in stored:
        gone = _difference(facts, "shipment.state", "value", None, f"version {state.version}")
        return None if facts.forgetting else Late(gone, facts)
    due = _due(facts, row, stored)
    if state.version < due:
        return Late(_difference(facts, "shipment.state", "version", due, state.version), facts)
    if row.erased and state.version < row.version:
        return None  # published before the erasure: the event was rewritten since
    return _content(state, row, stored)


def _content(state: Published, row: Row, stored: Mapping[int, StoredEvent]) -> Differing | None:
    if state.version in stored:
        event = stored[state.version].event
        wanted = state_after(event) if event else None
        return Differing(wanted) if wanted is not None and _digest(wanted) != state.exact else None
    if state.version == row.version and row.content is not None and _digest(row.content) != state.content:
        return Differing(row.content)
    return None


def _due(facts: Facts, row: Row, stored: Mapping[int, StoredEvent]) -> int:
    """Return the version that must be published at least."""
    if facts.recovered and row.version not in stored:
        return row.version
    return max((each.version for each in facts.events if each.published), default=0)


def compare_counts(partition: int, counts: Counts, *, recovered: bool) -> list[Difference]:
    """Check the sums of a partition. A recovery stores no outputs for what it derives, and corrections of its own."""
    told = counts.events + counts.duplicates + counts.anomalies + counts.unchanged
    sums = [
        ("cursors", "records", counts.observations + counts.dead_letters + counts.rowless, counts.records),
        ("observations", "outcomes", counts.observations, told),
    ]
    if not recovered:
        sums += [
            ("outputs", "events", counts.events, counts.stored_events),
            ("outputs", "anomalies", counts.anomalies, counts.stored_anomalies),
        ]
    return [
        Difference(where, field, expected, found, partition)
        for where, field, expected, found in sums
        if expected != found
    ]


def _row(facts: Facts) -> Iterator[Difference]:
    row, folded = facts.row, facts.folded
    if row is None:
        version = max((each.version for each in facts.events), default=facts.published and facts.published.version)
        if folded is not None or version is not None:
            yield _difference(facts, "shipments", "row", version and f"version {version}", None)
    elif row.content is None:
        yield _difference(facts, "shipments", "row", folded and folded.status, "unreadable")
    elif folded is not None and not row.retired:
        if not facts.outdated:
            yield from unlike(facts, "shipments", fields(folded), fields(row.content))
    elif not row.retired and not facts.lost:
        yield _difference(facts, "observations", "history", row.content.status, None)


def _versions(facts: Facts) -> Iterator[Difference]:
    """Check ids and versions of the stored events against the observations that led to them."""
    stored = sorted(each.version for each in facts.events)
    for each in facts.events:
        name = f"{facts.shipment_id}/{each.version}"
        if each.event is None or (each.event.id, each.event.version) != (name, each.version):
            yield _difference(facts, "outputs", "id", name, each.event and each.event.id)
    if len(stored) != len(set(stored)):
        yield _difference(facts, "outputs", "versions", sorted(set(stored)), stored)
    if facts.row is not None and not facts.row.retired:
        for version in sorted(set(facts.versions).difference(stored, facts.derived)):
            yield _difference(facts, "outputs", "event", f"{facts.shipment_id}/{version}", None)
        yield from _gaps(facts, facts.row, set(stored))


def _gaps(facts: Facts, row: Row, stored: set[int]) -> Iterator[Difference]:
    if facts.recovered:
        if max(stored, default=0) > row.version:
            yield _difference(facts, "shipments", "version", max(stored), row.version)
        return
    for version in sorted(stored.difference(facts.versions)):
        yield _difference(facts, "observations", "event", f"version {version}", None)
    known = sorted(stored.union(facts.versions))
    for before, after in pairwise([0, *known]):
        if after != before + 1:
            yield _difference(facts, "outputs", "version", before + 1, after)
    if row.version != max(known, default=0):
        yield _difference(facts, "shipments", "version", max(known, default=0), row.version)


def _newest_event(facts: Facts) -> Iterator[Difference]:
    """Compare the newest event with the fold, which the row was compared with."""
    row = facts.row
    if row is None or row.retired:
        return
    wanted = row.content if facts.outdated else facts.folded or row.content
    newest = next((each.event for each in facts.events if each.version == row.version), None)
    if wanted is not None and newest is not None:
        yield from unlike(facts, "outputs", fields(wanted), fields(Content.told(newest)))


def _difference(facts: Facts, where: str, field: str, expected: Any, found: Any) -> Difference:
    return Difference(where, field, expected, found, facts.partition, facts.shipment_id)


def _digest(account: Content | State) -> bytes:
    return blake2b(_encode(account), digest_size=12).digest()
