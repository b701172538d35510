"""A trace changes nothing but its own header; where nothing is traced, there is nothing of it."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from processor.core.messages import batch_messages
from processor.core.plan import Plan
from processor.storage.batch import BatchRows
from processor.storage.outputs import read_output
from processor.storage.rows import OBSERVATION_COLUMNS
from schemas.events import cloud_event_headers
from schemas.records import RawRecord, reread_headers
from schemas.stored_event import with_traceparent
from schemas.topics import Topic
from schemas.traces import TRACEPARENT, traceparent
from tests.property.driving import NOW, plan_in_batches, readings_of
from tests.property.test_plan import logs
from tests.stored import stored_outputs

EVENT, OFFSET = OBSERVATION_COLUMNS.index("event"), OBSERVATION_COLUMNS.index("raw_offset")
NAMES = {name for name, _ in cloud_event_headers(Topic.EVENTS, b"", b"", b"", b"")}


def with_trace(record: RawRecord) -> RawRecord:
    """The record as the door had appended it, had its webhook been traced: a trace for each offset."""
    header = (TRACEPARENT, traceparent(record.offset + 1, 1).encode())
    return msgspec.structs.replace(record, headers=(*record.headers, header))


def planned(log: Sequence[RawRecord]) -> Plan:
    (plan,) = plan_in_batches(readings_of(log), ())
    return plan


@given(log=logs(), data=st.data())
def test_a_trace_adds_its_header_to_its_event_and_nothing_else(log: list[RawRecord], data: st.DataObject) -> None:
    traced = data.draw(st.sets(st.sampled_from(range(len(log)))), "traced")
    untraced, plan = planned(log), planned([with_trace(each) if each.offset in traced else each for each in log])
    assert untraced.traces == {}
    assert plan.traces == {offset: traceparent(offset + 1, 1) for offset in traced}
    header_of = {offset: [(TRACEPARENT, header.encode())] for offset, header in plan.traces.items()}
    for output, bare in zip(plan.outputs, untraced.outputs, strict=True):
        added = header_of.get(output.cause, []) if output.topic is Topic.EVENTS else []
        if output.topic is Topic.DEAD_LETTERS:
            assert [each for each in output.headers if each[0] != TRACEPARENT] == bare.headers
        else:
            assert output == msgspec.structs.replace(bare, headers=added)
    rows, bare_rows = BatchRows.of(plan, 0, NOW).observations, BatchRows.of(untraced, 0, NOW).observations
    for row, bare_row in zip(rows, bare_rows, strict=True):
        form, header = bare_row[EVENT], plan.traces.get(row[OFFSET])
        stored = with_traceparent(form, header) if form and header else form
        assert row == (*bare_row[:EVENT], stored, *bare_row[EVENT + 1 :])


@given(log=logs())
def test_without_a_trace_no_byte_is_published_for_it(log: list[RawRecord]) -> None:
    for message in batch_messages(planned(log).outputs):
        assert message.topic is Topic.DEAD_LETTERS or {name for name, _ in message.headers} == NAMES
        assert TRACEPARENT not in dict(message.headers)


@given(log=logs())
def test_what_is_stored_is_what_is_published(log: list[RawRecord]) -> None:
    plan = planned([with_trace(each) if each.offset % 2 else each for each in log])
    stored = stored_outputs(BatchRows.of(plan, 0, NOW))
    again = [read_output(0, stored[each.cause, each.ordinal]) for each in plan.outputs]
    messages = list(batch_messages(plan.outputs))
    assert list(batch_messages(again)) == messages
    told = [dict(each.headers).get(TRACEPARENT) for each in messages if each.topic is Topic.EVENTS]
    causes = [each.cause for each in plan.outputs if each.topic is Topic.EVENTS]
    assert told == [traceparent(cause + 1, 1).encode() if cause % 2 else None for cause in causes]
    for message in messages:
        assert message.topic in {Topic.EVENTS, Topic.DEAD_LETTERS} or TRACEPARENT not in dict(message.headers)


@given(log=logs())
def test_a_record_read_again_is_of_its_roots_trace(log: list[RawRecord]) -> None:
    roots = [with_trace(each) for each in log]
    again = [
        msgspec.structs.replace(each, offset=len(log) + each.offset, headers=tuple(reread_headers(each, f"j/{at}")))
        for at, each in enumerate(roots)
    ]
    traces = planned(again).traces
    assert traces == {len(log) + each.offset: traceparent(each.offset + 1, 1) for each in log}
