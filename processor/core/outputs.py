"""What is published for one raw record: event, anomaly or dead letter, and the exact bytes of each. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from processor.core.effects import Changed
from processor.core.fold import Snapshot
from processor.core.view import NOTHING_PERSONAL_SHOWN, published_persons
from schemas.couriers import Courier
from schemas.events import (
    Anomaly,
    Event,
    Observed,
    RawCoordinates,
)
from schemas.observation import Observation, Stamp
from schemas.records import RawRecord, SentHeaders, UnreadableError
from schemas.times import format_shared_time, format_time
from schemas.topics import Topic
from schemas.vocabulary import PHASES, AnomalyKind, Source, Status

_encode: Final = msgspec.json.Encoder().encode
_decode_event: Final = msgspec.json.Decoder(Event).decode
_decode_anomaly: Final = msgspec.json.Decoder(Anomaly).decode

_FAILED: Final = Status.FAILED
_EVENTS: Final = Topic.EVENTS

MAX_DETAIL: Final = 500
"""Characters of a dead letter's detail: a sentence."""

MAX_RESOLVED_BYTES: Final = 256 * 1024
"""How much of an event the ids of what it settles may take: some 4,000 of them. Its texts may take 600 KiB, and all of
it must fit into a message (`LEAST_MESSAGE_BYTES`). Of more the first are named; every one stands as settled in
`waybill anomalies list`, which goes by the shipment and not by the event."""


class Output(msgspec.Struct, frozen=True, gc=False):
    """One thing to publish, as it is stored.

    `cause` is the offset of the raw record being applied, `ordinal` the output's place among the record's. A dead
    letter's headers are stored; the others' follow from the value, but for the trace's, which an event may have on top.
    Without a value it is a tombstone.
    """

    topic: Topic
    partition: int
    cause: int
    ordinal: int
    key: bytes | None
    value: bytes | None
    recorded_at: datetime
    shipment_id: str | None = None
    version: int | None = None
    headers: SentHeaders = []
    event: Event | None = None
    """Of an event that was just written: the value before it became bytes. Not stored."""
    anomaly: Anomaly | None = None
    """Of an anomaly, likewise."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What every output of one raw record shares. `topic` is the raw topic's full name."""

    topic: str
    record: RawRecord
    recorded_at: datetime
    incarnation: int = 0
    """Tells the record's coordinates from those of another log under the topic's name."""
    root: tuple[int, int] | None = None
    """Of a record read again: the root's partition and offset."""

    @property
    def raw(self) -> RawCoordinates:
        """The coordinates of what was read, for subscribers."""
        partition, offset = self.root or (self.record.partition, self.record.offset)
        return RawCoordinates(self.topic, partition, offset)

    def source(self, observation: Observation) -> Source:
        """Say how what is published came to be."""
        return Source.REPLAY if self.root else observation.source


def anomaly_id(shipment_id: str, at: tuple[int, int], incarnation: int, kind: AnomalyKind) -> str:
    """Name an anomaly: one of a kind for each raw record. `at` is its partition and offset."""
    partition, offset = at
    return f"{shipment_id}/anomaly/{f'{incarnation}/' if incarnation else ''}{partition}:{offset}/{kind}"


def event_output(
    courier: Courier, origin: Origin, observation: Observation, snapshot: Snapshot, change: Changed, version: int
) -> Output:
    """Write the event of a change."""
    status, details, count, service = snapshot.status, snapshot.details, snapshot.failed_count, snapshot.service
    shipment_id, record, recorded_at = observation.shipment_id, origin.record, origin.recorded_at
    occurred, failed = snapshot.occurred, status is _FAILED
    shows_webhook = change.late and observation.takes_part
    event = Event(  # by position, several times faster
        f"{shipment_id}/{version}",
        change.type,
        shipment_id,
        version,
        observation.courier,
        observation.account,
        service,
        details.carrier,
        observation.reference,
        details.order_id,
        details.awb,
        status,
        change.previous,
        PHASES[status],
        status in courier.lifecycles[service].finals,
        change.transition,
        change.skipped,
        snapshot.courier_status,
        count,
        count if failed and count else count + 1,
        format_time(occurred.at),
        occurred.source,
        format_time(observation.received_at),
        format_shared_time(recorded_at),
        details.reason,
        details.description,
        details.charges,
        published_persons(details),
        _observed(observation, courier.occurred(observation, service)) if shows_webhook else None,
        _named(change.resolves) if change.resolves else (),
        origin.source(observation),
        origin.raw,
    )
    return Output(
        _EVENTS,
        record.partition,
        record.offset,
        0,
        shipment_id.encode(),
        _encode(event),
        recorded_at,
        shipment_id,
        version,
        [],
        event,
    )


def anomaly_output(
    origin: Origin, observation: Observation, occurred: Stamp, kind: AnomalyKind, status: Status | None, ordinal: int
) -> Output:
    """Write an anomaly. `status` is the shipment's, if there is one."""
    at = (origin.raw.partition, origin.raw.offset)
    anomaly = Anomaly(
        id=anomaly_id(observation.shipment_id, at, origin.incarnation, kind),
        kind=kind,
        shipment_id=observation.shipment_id,
        courier=observation.courier,
        courier_status=observation.word,
        status=status,
        observed=_observed(observation, occurred),
        received_at=format_time(observation.received_at),
        recorded_at=format_shared_time(origin.recorded_at),
        source=origin.source(observation),
        raw=origin.raw,
    )
    return _stored(Topic.ANOMALIES, origin, ordinal, observation.shipment_id, _encode(anomaly), anomaly)


def chunk_end(sizes: Iterable[tuple[int, int, int]], outputs: int, bytes_: int) -> int | None:
    """Return the cause before which a chunk of stored outputs ends: at most so many outputs and bytes; None for no end.

    `sizes` are causes in order, each with its outputs and their bytes. A chunk holds at least one cause, whole.
    """
    counted = summed = 0
    for place, (cause, count, size) in enumerate(sizes):
        counted, summed = counted + count, summed + size
        if place and (counted > outputs or summed > bytes_):
            return cause
    return None


def dead_letter(origin: Origin, error: UnreadableError) -> Output:
    """Write a dead letter: the record as it came, with reason and origin."""
    record = origin.record
    reason = (
        ("dlq-reason", error.reason),
        ("dlq-detail", error.detail[:MAX_DETAIL]),
        ("dlq-topic", origin.topic),
        ("dlq-partition", str(record.partition)),
        ("dlq-offset", str(record.offset)),
        ("dlq-at", format_shared_time(origin.recorded_at)),
    )
    return Output(
        Topic.DEAD_LETTERS,
        record.partition,
        record.offset,
        0,
        record.key,
        record.value,
        origin.recorded_at,
        headers=[*record.headers, *((name, text.encode()) for name, text in reason)],
    )


def tombstone(origin: Origin, shipment_id: str, ordinal: int) -> Output:
    """Write what makes the state topic forget a shipment."""
    return _stored(Topic.STATE, origin, ordinal, shipment_id, None)


def impersonal_event(event: Event) -> Event:
    """Return an event without personal data."""
    return msgspec.structs.replace(event, **NOTHING_PERSONAL_SHOWN)


def forgotten_event(value: bytes) -> bytes:
    """Return the bytes of an event without personal data."""
    return _encode(impersonal_event(_decode_event(value)))


def _named(anomalies: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids that an event names of what it settles: the first, as many as it has room for."""
    room = MAX_RESOLVED_BYTES
    for place, each in enumerate(anomalies):
        room -= len(_encode(each)) + 1
        if room < 0:
            return anomalies[:place]
    return anomalies


def _observed(observation: Observation, occurred: Stamp) -> Observed:
    return Observed(observation.status, observation.word, format_time(occurred.at))


def _stored(
    topic: Topic,
    origin: Origin,
    ordinal: int,
    shipment_id: str,
    value: bytes | None,
    anomaly: Anomaly | None = None,
) -> Output:
    record = origin.record
    return Output(
        topic,
        record.partition,
        record.offset,
        ordinal,
        shipment_id.encode(),
        value,
        origin.recorded_at,
        shipment_id,
        anomaly=anomaly,
    )
