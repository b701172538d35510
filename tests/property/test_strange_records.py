"""Whatever is appended to the raw topic: each record has one fate, and both stores take what it leads to."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.core.errors import StoredRowError
from processor.core.messages import Message, messages, publishable
from processor.core.outputs import Origin as Where
from processor.core.outputs import dead_letter
from processor.core.plan import Planner
from processor.core.reading import Read, Unreadable, read
from processor.storage import outputs, rows
from processor.storage.batch import BatchRows
from schemas.decisions import write_decision
from schemas.observation import Erase, Observation, SetStatus
from schemas.records import AnyHeaders, Provenance, RawRecord, UnreadableError, reread_headers
from schemas.stored_observation import pack_observation
from schemas.topics import Topic
from schemas.traces import traceparent
from schemas.vocabulary import DeadLetterReason, Source, Status
from tests.property.driving import NOW, RAW_TOPIC, zone_of
from tests.stored import stored_outputs
from tests.strategies import START, dash_body, encoded, odd_json

LIMIT = 2 * 1_048_576 + 65_536
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

WELL = dict(Provenance(courier="dash", received_at=START).headers())
DECISION = write_decision(SetStatus(shipment_id="dash:DE-1", status=Status.LOST, by="dewi", reason="seen"))

texts = st.sampled_from(
    [
        *("", "dash", "kiriminaja", "operator", "replay", "push", "pull", "1/1", "2/1", "0/0", "-1/2", "1/2/3", "x"),
        *("0:0", "1:2", "0:-1", "٣:٤", f"0:{2**63}", f"{2**31}:0", f"0:{'9' * 5_000}", f"{'9' * 5_000}/1", "1_0/2"),
        *("toko", "to\x00ko", "to:ko", "to.ko", "é", "a" * 65, "c" * 513, "c" * 5_000, "c\x00", "\ufffd"),
        *(traceparent(1, 1), f"{traceparent(1, 1)[:-1]}0", traceparent(0, 1)),
        *("2025-03-01T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "yesterday"),
    ]
)
values = st.one_of(st.none(), texts.map(str.encode), st.binary(max_size=12))
names = st.sampled_from(
    [
        *("courier", "account", "webhook-id", "item", "received-at", "source", "replay-of", "root-source"),
        *("command-id", "content-type", "traceparent", "dlq-reason", "dlq-offset", "", "x", "é"),
    ]
)
headers = st.lists(st.tuples(names, values), max_size=6)
references = st.sampled_from(["DE-1", "DE-1", "DE\x00", "\ud800", "D" * 129, ""])
decisions = st.builds(
    lambda reference, command, reason: msgspec.json.encode(
        {"command": command, "shipment_id": f"dash:{reference}", "by": "dewi", "reason": reason, "status": "LOST"}
    ),
    references.filter(lambda each: not UNSTORABLE.search(each) or each == "DE\x00"),
    st.sampled_from(["set_status", "erase", "retire", "explode"]),
    st.sampled_from(["seen", "\x00", "r" * 2_001]),
)
bodies = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.just(DECISION),
    decisions,
    odd_json.map(encoded),
    st.dictionaries(st.sampled_from(["deliveryID", "status", "failedCount", "updatedAt"]), odd_json).map(encoded),
    st.sampled_from(["FAILED", "COMPLETED", "ODD"]).map(lambda word: encoded(dash_body(word, 1, START))),
)
timestamps = st.sampled_from([0, -1, 1_740_000_000_000, 2**63 - 1, -(2**63), 10**15])


@st.composite
def strange(draw: st.DrawFn) -> RawRecord:
    """A record as nobody of ours would append it, often next to a good one."""
    given_headers = [*WELL.items(), *draw(headers)] if draw(st.booleans()) else draw(headers)
    key = draw(st.one_of(st.none(), st.just(b""), st.binary(max_size=9), st.just(b"k" * 100_000)))
    return RawRecord(0, 0, key, draw(bodies), tuple(given_headers), draw(timestamps))


def texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list() | tuple():
            for each in value:
                yield from texts_in(each)
        case _:
            pass


def with_odd(name: str, value: bytes | None, source: Source = Source.PUSH) -> RawRecord:
    given_headers = (WELL | {"source": source.encode(), "command-id": b"c1"} | {name: value}).items()
    body = DECISION if source is Source.OPERATOR else encoded(dash_body("FAILED", 1, START))
    return RawRecord(0, 0, b"k", body, tuple(given_headers), 0)


@example(records=[with_odd("account", b"to\x00ko")])
@example(records=[with_odd("command-id", b"c\x00")])
@example(records=[with_odd("replay-of", f"0:{2**63}".encode())])
@example(records=[with_odd("item", b"9" * 4_000 + b"/1")])
@example(records=[with_odd("courier", None)])
@example(records=[with_odd("received-at", b"9999-12-31T23:59:59.999999Z")])
@example(records=[msgspec.structs.replace(with_odd("source", b"operator", Source.OPERATOR), value=None)])
@given(records=st.lists(strange(), min_size=1, max_size=4))
def test_every_record_has_one_fate_and_the_database_takes_it(records: list[RawRecord]) -> None:
    records = [msgspec.structs.replace(record, offset=offset) for offset, record in enumerate(records)]
    readings = [read(record, zone_of, partitions=1) for record in records]
    for reading in readings:
        _check_storable([reading.command_id or "", *(reading.root or ())] if isinstance(reading, Read) else [])
    planned = Planner({}, RAW_TOPIC, NOW).add_all(readings)
    assert len(planned.observations) + len(planned.dead_letters) == len(records)
    batch = BatchRows.of(planned, 0, NOW)
    said = msgspec.json.encode([row.observation for row in planned.observations])
    _check_storable(said.decode())
    _check_storable([batch.shipments, batch.observations, batch.outputs, batch.commands])
    stored = stored_outputs(batch)
    assert len(stored) == len(planned.outputs)
    for output in planned.outputs:
        again = outputs.read_output(0, stored[output.cause, output.ordinal])
        assert list(again.headers) == list(output.headers)
        assert (again.key, again.value) == (output.key, output.value)
        for message in messages(again):
            publishable(message, LIMIT)
    letters = [output for output in planned.outputs if output.topic is Topic.DEAD_LETTERS]
    for letter, dead in zip(letters, planned.dead_letters, strict=True):
        assert list(letter.headers[: len(dead.record.headers)]) == list(dead.record.headers)
        assert (letter.key, letter.value) == (dead.record.key, dead.record.value)


def _check_storable(value: object) -> None:
    for text in texts_in(value):
        assert not UNSTORABLE.search(text)
        assert "\\u0000" not in text
    for number in _numbers_in(value):
        assert -(2**63) <= number < 2**63


def _numbers_in(value: Any) -> Iterator[int]:
    match value:
        case bool():
            pass
        case int():
            yield value
        case list() | tuple():
            for each in value:
                yield from _numbers_in(each)
        case _:
            pass


@given(record=strange())
def test_what_is_read_again_can_be_appended_and_read(record: RawRecord) -> None:
    again = reread_headers(record, "job/0:0")
    assert all(isinstance(value, bytes) for _, value in again)
    assert len(dict(again)) == len(again)
    read(msgspec.structs.replace(record, headers=tuple(again)), zone_of, partitions=1)


def many(count: int) -> AnyHeaders:
    return [(f"x-{number}", b"v" * 100) for number in range(count)]


@pytest.mark.parametrize(
    ("record", "cut"),
    [
        (RawRecord(0, 7, b"k", b"v" * 1_000, (("courier", b"dash"),), 0), None),
        (RawRecord(0, 7, b"k", b"v" * LIMIT, (("courier", b"dash"),), 0), b"value"),
        (RawRecord(0, 7, b"k" * 100_000, b"v", tuple(many(5_000)), 0), None),
        (RawRecord(0, 7, b"k" * 100_000, b"v", tuple(many(50_000)), 0), b"value, headers"),
        (RawRecord(0, 7, b"k" * LIMIT, b"v", tuple(many(50_000)), 0), b"key"),
    ],
)
def test_a_dead_letter_can_always_be_published(record: RawRecord, cut: bytes | None) -> None:
    error = UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "odd " * 1_000)
    output = dead_letter(Where(RAW_TOPIC, record, NOW), error)
    (message,) = messages(output)
    small = publishable(message, LIMIT)
    assert _bytes(small) <= LIMIT
    found = dict(small.headers)
    assert found.get("dlq-cut") == cut
    assert (found["dlq-reason"], found["dlq-offset"]) == (b"unknown_shape", b"7")
    assert (list(output.headers)[: len(record.headers)], output.value) == (list(record.headers), record.value)


def _bytes(message: Message) -> int:
    held = sum(len(name) + len(value or b"") for name, value in message.headers)
    return held + len(message.key or b"") + len(message.value or b"")


def test_a_fault_of_ours_is_the_records_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a secret word of the body")

    monkeypatch.setattr("processor.core.reading.observe", fail)
    found = read(RawRecord(0, 0, b"k", b"{}", tuple(WELL.items()), 0), zone_of, partitions=1)
    assert isinstance(found, Unreadable)
    assert found.error.reason is DeadLetterReason.UNKNOWN_SHAPE
    assert found.error.detail == "reading it failed with KeyError"
    assert isinstance(found.error.__cause__, KeyError)


ROW = {"shipment_id": "dash:DE-1", "incarnation": 0, "raw_partition": 3, "raw_offset": 17}


def decoded_rows(readings: Sequence[dict[str, Any]]) -> list[Any]:
    return [{**ROW, "reading": msgspec.json.encode(each).decode(), "said": None} for each in readings]


def stored(**changed: Any) -> dict[str, Any]:
    (reading,) = [read(with_odd("x", b""), zone_of, partitions=1)]
    assert isinstance(reading, Read)
    return {**msgspec.to_builtins(reading.observation), **changed}


LONG = {"shipment_id": "dash:DE-1", "by": "dewi", "reason": "r" * 5_000}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"a_newer_field": {"of": ["any", "kind"]}},
        {"decision": {"command": "erase", **LONG}},
        {"decision": {"command": "accept", "anomaly_id": "a" * 5_000, "record": "0f", **LONG}},
        {"decision": {"command": "retire", "silent_since": "2026-11-01T08:00:00", **LONG}},
        {"details": {"order_id": "O-1", "a_newer_detail": 7}},
    ],
)
def test_what_an_older_or_newer_version_stored_is_read(changed: dict[str, Any]) -> None:
    (row,) = decoded_rows([stored(**changed)])
    observation = rows.read_reading(row)
    assert isinstance(observation.decision, Erase) == (changed.get("decision", {}).get("command") == "erase")


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "TELEPORTED"},
        {"source": "carrier_pigeon"},
        {"proves": ["teleport"]},
        {"decision": {"command": "teleport", **LONG}},
        {"received_at": "no time"},
        {"record_digest": 7},
    ],
)
def test_what_cannot_be_read_without_losing_its_meaning_says_where_it_is(changed: dict[str, Any]) -> None:
    (row,) = decoded_rows([stored(**changed)])
    _is_named(row)


SAID = pack_observation(msgspec.convert(stored(), Observation))


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"",
        b"\x02" + SAID[1:],
        SAID[:-3],
        SAID[:1] + b"TELEPORTED",
        SAID.replace(b"\xa6FAILED\x0a", b"\xa6FAILED\x7f"),
        SAID.replace(b"\xa6FAILED\x0a", b"\xa6FAILED\xff"),
    ],
)
def test_a_form_that_cannot_be_read_says_where_it_is(said: bytes | None) -> None:
    assert said != SAID
    _is_named({**ROW, "reading": None, "said": said})


def _is_named(row: Any) -> None:
    with pytest.raises(StoredRowError) as caught:
        rows.read_reading(row)
    said = str(caught.value)
    assert "the observation of shipment dash:DE-1 from raw record 3:17" in said
    assert "start the version that wrote it" in said
    assert "TELEPORTED" not in said
    assert "\n" not in said
