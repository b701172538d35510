"""The records for Kafka of outputs: headers, timestamps, the state beside its event, dead letters cut to size. Pure."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeVar

import msgspec

from processor.core.errors import StoredRowError
from processor.core.outputs import Output
from schemas.events import ANOMALY_TYPE, STATE_TYPE, Anomaly, Event, cloud_event_headers, state_after
from schemas.records import SentHeaders
from schemas.times import milliseconds
from schemas.topics import Topic

_encode: Final = msgspec.json.Encoder().encode
_decode_event: Final = msgspec.json.Decoder(Event).decode
_decode_anomaly: Final = msgspec.json.Decoder(Anomaly).decode

_EVENTS: Final = Topic.EVENTS
_STATE: Final = Topic.STATE
_ANOMALIES: Final = Topic.ANOMALIES
_DEAD_LETTERS: Final = Topic.DEAD_LETTERS

_shared_milliseconds: Final = lru_cache(maxsize=8)(milliseconds)
"""Of the time when a batch was recorded, which all that it publishes shares."""

_OURS: Final = ("dlq-reason", "dlq-detail", "dlq-topic", "dlq-partition", "dlq-offset", "dlq-at")
"""The headers of a dead letter that are not the record's, in order."""

_FRAME: Final = 10
"""Bytes for the lengths of a header's name and value."""

_ENVELOPE: Final = 200
"""Bytes for a batch's head and a record's lengths."""

_T = TypeVar("_T")


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


def batch_messages(outputs: Sequence[Output], timestamp_ms: int | None = None) -> Iterator[Message]:
    """Return the records to publish together for outputs in order, stamped as in `messages`.

    Of the states that a shipment passes through only the newest is published: the topic is compacted.
    """
    newest = {output.shipment_id: output.version for output in outputs if output.topic is _EVENTS}
    for output in outputs:
        with_state = newest.get(output.shipment_id) == output.version
        yield from messages(output, with_state=with_state, timestamp_ms=timestamp_ms)


def messages(output: Output, *, with_state: bool = True, timestamp_ms: int | None = None) -> tuple[Message, ...]:
    """Return the records to publish for an output. An event also leaves the newest state.

    Only the value of an output that was read back from the table is decoded.

    They are stamped with when the output was recorded. What is published long after gets a timestamp of its own: by it
    brokers take or refuse a record, and keep it or let it go.

    Raises:
        StoredRowError: it is stored in a form that cannot be read.

    """
    if timestamp_ms is None:
        timestamp_ms = _shared_milliseconds(output.recorded_at)
    topic, key, value = output.topic, output.key, output.value
    if value is not None and topic is _EVENTS:
        event = output.event or _stored_value(_decode_event, output)
        id_, subject, time = event.id.encode(), event.shipment_id.encode(), event.occurred_at.encode()
        headers = cloud_event_headers(_EVENTS, id_, event.type.encode(), subject, time)
        told = Message(_EVENTS, key, value, [*headers, *output.headers] if output.headers else headers, timestamp_ms)
        if not with_state:
            return (told,)
        headers = cloud_event_headers(_STATE, id_, STATE_TYPE, subject, time)
        return told, Message(_STATE, key, _encode(state_after(event)), headers, timestamp_ms)
    if value is not None and topic is _ANOMALIES:
        anomaly = output.anomaly or _stored_value(_decode_anomaly, output)
        id_, subject = anomaly.id.encode(), anomaly.shipment_id.encode()
        headers = cloud_event_headers(_ANOMALIES, id_, ANOMALY_TYPE, subject, anomaly.observed.occurred_at.encode())
        return (Message(_ANOMALIES, key, value, headers, timestamp_ms),)
    return (Message(topic, key, value, output.headers, timestamp_ms),)


def _stored_value(decode: Callable[[bytes], _T], output: Output) -> _T:
    assert output.value is not None
    try:
        return decode(output.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = f"the output {output.partition}:{output.cause}/{output.ordinal} of shipment {output.shipment_id}"
        raise StoredRowError(what, error) from error


def publishable(message: Message, limit: int) -> Message:
    """Return a message of at most `limit` bytes, where it is a dead letter. Others are never larger.

    A record may come compressed and be larger than any that is published, and a dead letter has headers on top. What
    is left out, and said in `dlq-cut`, is in the stored dead letter and in the raw topic.
    """
    if message.topic is not _DEAD_LETTERS or _size(message) <= limit:
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
