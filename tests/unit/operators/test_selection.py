"""A range selects exactly the records that a look at every single one selects."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.replay.range import (
    Choice,
    LogRange,
    Selection,
    Stretch,
    contradiction,
    judge,
    received_at,
    search_time,
    stretches,
)
from schemas.records import RawRecord
from schemas.times import format_time

START = datetime(2026, 11, 1, tzinfo=UTC)
PARTITIONS = 3

moments = st.integers(0, 6_000).map(lambda tenths: START + tenths * timedelta(microseconds=100))
"""Near enough that several fall into a millisecond, which is all that Kafka knows."""


@st.composite
def logs(draw: st.DrawFn) -> dict[int, list[RawRecord]]:
    """What is left of each partition: times in any order, offsets with gaps."""
    found = {}
    for partition in range(PARTITIONS):
        offset = draw(st.integers(0, 5))
        records = []
        for moment in draw(st.lists(moments, max_size=12)):
            headers = [("courier", draw(st.sampled_from([b"dash", b"kiriminaja"])))]
            if draw(st.booleans()):
                headers.append(("received-at", format_time(moment).encode()))
            if draw(st.integers(0, 4)) == 0:
                headers.append(("replay-of", b"0:1"))
            if draw(st.integers(0, 4)) == 0:
                headers.append(("source", b"operator"))
            key = draw(st.sampled_from([b"dash:A", b"dash:B"]))
            stamp = (moment - START) // timedelta(milliseconds=1) + int(START.timestamp()) * 1000
            records.append(RawRecord(partition, offset, key, b"{}", tuple(headers), stamp))
            offset += draw(st.integers(1, 3))
        found[partition] = records
    return found


offsets = st.dictionaries(st.integers(0, PARTITIONS - 1), st.integers(0, 25))
selections = st.builds(
    Selection,
    everything=st.booleans(),
    since=st.none() | moments,
    until=st.none() | moments,
    from_offsets=offsets,
    until_offsets=offsets,
    partitions=st.lists(st.integers(0, PARTITIONS - 1), max_size=PARTITIONS, unique=True).map(tuple),
    shipment=st.sampled_from([None, "dash:A"]),
    courier=st.sampled_from([None, "dash"]),
).filter(lambda selection: contradiction(selection) is None)


def naive(selection: Selection, record: RawRecord) -> bool:
    """The meaning of a range, one record at a time."""
    partition, headers, received = record.partition, dict(record.headers), received_at(record)
    named = {*selection.partitions, *selection.from_offsets, *selection.until_offsets}
    return (
        (not named or partition in named)
        and record.offset >= selection.from_offsets.get(partition, 0)
        and record.offset < selection.until_offsets.get(partition, 1_000)
        and (selection.since is None or received >= selection.since)
        and (selection.until is None or received < selection.until)
        and (selection.courier is None or headers["courier"] == selection.courier.encode())
        and (selection.shipment is None or record.key == selection.shipment.encode())
        and "replay-of" not in headers
        and headers.get("source") != b"operator"
    )


def log_range(selection: Selection, records: list[RawRecord]) -> LogRange:
    """What Kafka tells of a partition."""
    start = records[0].offset if records else 0
    end = records[-1].offset + 1 if records else 0
    if selection.since is None:
        return LogRange(start, end, start)
    sought = search_time(selection.since)
    return LogRange(start, end, next((each.offset for each in records if each.timestamp_ms >= sought), end))


@given(selection=selections, log=logs())
def test_a_range_selects_what_a_naive_filter_selects(selection: Selection, log: dict[int, list[RawRecord]]) -> None:
    def belongs(record: RawRecord) -> bool:
        return selection.shipment is None or record.key == selection.shipment.encode()

    ranges = {partition: log_range(selection, records) for partition, records in log.items()}
    selected = [
        record.at
        for stretch in stretches(selection, ranges)
        for record in log[stretch.partition]
        if stretch.start <= record.offset < stretch.end and judge(selection, record, belongs) is Choice.SELECTED
    ]
    assert selected == [record.at for records in log.values() for record in records if naive(selection, record)]


@given(selection=selections)
def test_a_selection_survives_its_row(selection: Selection) -> None:
    assert msgspec.json.decode(msgspec.json.encode(selection), type=Selection) == selection


@pytest.mark.parametrize(
    ("selection", "complaint"),
    [
        (Selection(), "which records"),
        (Selection(shipment="dash:A"), "which records"),
        (Selection(courier="dash"), "which records"),
        (Selection(everything=True, since=START), "--all"),
        (Selection(everything=True, partitions=(1,)), "--all"),
        (Selection(everything=True, from_offsets={1: 1}), "--all"),
        (Selection(since=START, until=START), "--since must be before"),
        (Selection(from_offsets={1: 5}, until_offsets={1: 5}), "in partition 1"),
        (Selection(until_offsets={1: 0}), "in partition 1"),
        (Selection(from_offsets={1: 5}, partitions=(0,)), "does not name it"),
    ],
)
def test_what_cannot_be_meant_is_refused(selection: Selection, complaint: str) -> None:
    assert complaint in (contradiction(selection) or "")


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(everything=True), [Stretch(0, 100, 200, gone=100)]),
        (Selection(from_offsets={0: 40}), [Stretch(0, 100, 200, gone=60)]),
        (Selection(from_offsets={0: 150}), [Stretch(0, 150, 200)]),
        (Selection(until_offsets={0: 30}), [Stretch(0, 30, 30, gone=30)]),
        (Selection(from_offsets={0: 10}, until_offsets={0: 150}), [Stretch(0, 100, 150, gone=90)]),
        (Selection(from_offsets={0: 500}), [Stretch(0, 200, 200)]),
        (Selection(partitions=(0, 7)), [Stretch(0, 100, 200, gone=100)]),
    ],
)
def test_what_retention_removed_is_told(selection: Selection, found: list[Stretch]) -> None:
    assert stretches(selection, {0: LogRange(100, 200, 100)}) == found


def test_a_time_behind_the_log_start_misses_nothing() -> None:
    later = Selection(since=START)
    assert stretches(later, {0: LogRange(100, 200, 130)}) == [Stretch(0, 130, 200)]
    assert stretches(later, {0: LogRange(100, 200, 100)}) == [Stretch(0, 100, 200, gone=100)]


def test_a_shipment_is_sought_where_it_may_stand() -> None:
    ranges = {partition: LogRange(0, 10, 0) for partition in range(4)}
    everything = Selection(everything=True, shipment="dash:A")
    assert [each.partition for each in stretches(everything, ranges, homes={1, 3})] == [1, 3]
    assert stretches(Selection(partitions=(0,), shipment="dash:A"), ranges, homes={1}) == []
