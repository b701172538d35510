"""What is published for one raw record: event, anomaly or dead letter, and the exact bytes of each. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from processor.core.effects import Changed
from processor.core.errors import StoredRowError
from processor.core.fold import Snapshot
from processor.core.view import NOTHING_PERSONAL_SHOWN, published_persons
from schemas.couriers import Courier
from schemas.events import (
    Anomaly,
    Event,
    Observed,
    RawCoordinates,
    cloud_event_headers,
    state_after,
)
from schemas.observation import Observation, Stamp
from schemas.records import RawRecord, SentHeaders, UnreadableError
from schemas.times import format_time, milliseconds
from schemas.topics import Topic
from schemas.vocabulary import PHASES, AnomalyKind, Source, Status

_encode: Final = msgspec.json.Encoder().encode
_decode_event: Final = msgspec.json.Decoder(Event).decode
_decode_anomaly: Final = msgspec.json.Decoder(Anomaly).decode

MAX_DETAIL: Final = 500
"""Characters of a dead letter's detail: a sentence."""

MAX_RESOLVED_BYTES: Final = 256 * 1024
"""How much of an event the ids of what it settles may take: some 4,000 of them. Its texts may take 600 KiB, and all of
it must fit into a message (`LEAST_MESSAGE_BYTES`). Of more the first are named; every one stands as settled in
`waybill anomalies list`, which goes by the shipment and not by the event."""

_OURS: Final = ("dlq-reason", "dlq-detail", "dlq-topic", "dlq-partition", "dlq-offset", "dlq-at")
"""The headers of a dead letter that are not the record's, in order."""

_FRAME: Final = 10
"""Bytes for the lengths of a header's name and value."""

_ENVELOPE: Final = 200
"""Bytes for a batch's head and a record's lengths."""

STATE_TYPE: Final = "shipment.state"
ANOMALY_TYPE: Final = "shipment.anomaly"


_T = TypeVar("_T")


class Output(msgspec.Struct, frozen=True, gc=False):
    """One thing to publish, as it is stored.

    `cause` is the offset of the raw record being applied, `ordinal` the output's place among the record's. A dead
    letter's headers are stored; the others' follow from the value. Without a value it is a tombstone.
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


NO_TIME: Final = -1
"""Kafka's timestamp of a record without one. Brokers take it whatever they ask of timestamps; retention then goes by
when the record was written."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One record for Kafka. `timestamp_ms` is in milliseconds since the epoch, or `NO_TIME`."""

    topic: Topic
    key: bytes | None
    value: bytes | None
    headers: SentHeaders
    timestamp_ms: int


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
        return RawCoordinates(self.topic, *(self.root or (self.record.partition, self.record.offset)))

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
    details = snapshot.details
    failed = snapshot.status is Status.FAILED
    event = Event(
        id=f"{observation.shipment_id}/{version}",
        type=change.type,
        shipment_id=observation.shipment_id,
        version=version,
        courier=observation.courier,
        account=observation.account,
        service=snapshot.service,
        carrier=details.carrier,
        courier_ref=observation.reference,
        order_id=details.order_id,
        awb=details.awb,
        status=snapshot.status,
        previous_status=change.previous,
        phase=PHASES[snapshot.status],
        final=courier.lifecycles[snapshot.service].is_final(snapshot.status),
        transition=change.transition,
        skipped=change.skipped,
        courier_status=snapshot.courier_status,
        failed_count=snapshot.failed_count,
        attempt=max(snapshot.failed_count, 1) if failed else snapshot.failed_count + 1,
        occurred_at=format_time(snapshot.occurred.at),
        occurred_at_source=snapshot.occurred.source,
        received_at=format_time(observation.received_at),
        recorded_at=format_time(origin.recorded_at),
        reason=details.reason,
        description=details.description,
        charges=details.charges,
        personal=published_persons(details),
        observed=_observed(observation, courier.occurred(observation, snapshot.service))
        if change.late and observation.takes_part
        else None,
        resolves=_named(change.resolves),
        source=origin.source(observation),
        raw=origin.raw,
    )
    return _stored(Topic.EVENTS, origin, 0, observation.shipment_id, _encode(event), version, event=event)


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
        recorded_at=format_time(origin.recorded_at),
        source=origin.source(observation),
        raw=origin.raw,
    )
    return _stored(Topic.ANOMALIES, origin, ordinal, observation.shipment_id, _encode(anomaly), anomaly=anomaly)


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
        ("dlq-at", format_time(origin.recorded_at)),
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


def publishable(message: Message, limit: int) -> Message:
    """Return a message of at most `limit` bytes, where it is a dead letter. Others are never larger.

    A record may come compressed and be larger than any that is published, and a dead letter has headers on top. What
    is left out, and said in `dlq-cut`, is in the stored dead letter and in the raw topic.
    """
    if message.topic is not Topic.DEAD_LETTERS or _size(message) <= limit:
        return message
    ours = [(name, value) for name, value in message.headers if name in _OURS]
    valueless = _cut(message, "value", value=None)
    if _size(valueless) <= limit:
        return valueless
    headless = _cut(message, "value, headers", value=None, headers=ours[-len(_OURS) :])
    if _size(headless) <= limit:
        return headless
    return _cut(headless, "key", key=None)


def _cut(message: Message, what: str, **left: object) -> Message:
    smaller = msgspec.structs.replace(message, **left)
    return msgspec.structs.replace(smaller, headers=[*smaller.headers, ("dlq-cut", what.encode())])


def _size(message: Message) -> int:
    """Return the bytes that a message takes in a batch, its frame counted generously."""
    headers = sum(len(name.encode()) + len(value or b"") + _FRAME for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers + _ENVELOPE


def tombstone(origin: Origin, shipment_id: str, ordinal: int) -> Output:
    """Write what makes the state topic forget a shipment."""
    return _stored(Topic.STATE, origin, ordinal, shipment_id, None)


def forgotten_event(value: bytes) -> bytes:
    """Return a stored event without personal data."""
    return _encode(msgspec.structs.replace(_decode_event(value), **NOTHING_PERSONAL_SHOWN))


def batch_messages(outputs: Sequence[Output], timestamp_ms: int | None = None) -> Iterator[Message]:
    """Return the records to publish together for outputs in order, stamped as in `messages`.

    Of the states that a shipment passes through only the newest is published: the topic is compacted.
    """
    newest = {output.shipment_id: output.version for output in outputs if output.topic is Topic.EVENTS}
    for output in outputs:
        yield from messages(
            output, with_state=newest.get(output.shipment_id) == output.version, timestamp_ms=timestamp_ms
        )


def messages(output: Output, *, with_state: bool = True, timestamp_ms: int | None = None) -> tuple[Message, ...]:
    """Return the records to publish for an output. An event also leaves the newest state.

    Only the value of an output that was read back from the table is decoded.

    They are stamped with when the output was recorded. What is published long after gets a timestamp of its own: by it
    brokers take or refuse a record, and keep it or let it go.

    Raises:
        StoredRowError: it is stored in a form that cannot be read.

    """
    if timestamp_ms is None:
        timestamp_ms = milliseconds(output.recorded_at)
    if output.value is None:
        return (Message(output.topic, output.key, None, output.headers, timestamp_ms),)
    match output.topic:
        case Topic.EVENTS:
            event = output.event or _stored_value(_decode_event, output)
            told = _message(Topic.EVENTS, output, output.value, event, event.type, timestamp_ms)
            if not with_state:
                return (told,)
            state = _encode(state_after(event))
            return told, _message(Topic.STATE, output, state, event, STATE_TYPE, timestamp_ms)
        case Topic.ANOMALIES:
            anomaly = output.anomaly or _stored_value(_decode_anomaly, output)
            headers = cloud_event_headers(
                Topic.ANOMALIES,
                id_=anomaly.id,
                type_=ANOMALY_TYPE,
                subject=anomaly.shipment_id,
                time=anomaly.observed.occurred_at,
            )
            return (Message(Topic.ANOMALIES, output.key, output.value, headers, timestamp_ms),)
        case _:
            return (Message(output.topic, output.key, output.value, output.headers, timestamp_ms),)


def _stored_value(decode: Callable[[bytes], _T], output: Output) -> _T:
    assert output.value is not None
    try:
        return decode(output.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = f"the output {output.partition}:{output.cause}/{output.ordinal} of shipment {output.shipment_id}"
        raise StoredRowError(what, error) from error


def _message(topic: Topic, output: Output, value: bytes, event: Event, type_: str, timestamp_ms: int) -> Message:
    headers = cloud_event_headers(topic, id_=event.id, type_=type_, subject=event.shipment_id, time=event.occurred_at)
    return Message(topic, output.key, value, headers, timestamp_ms)


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
    version: int | None = None,
    *,
    event: Event | None = None,
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
        version,
        event=event,
        anomaly=anomaly,
    )
