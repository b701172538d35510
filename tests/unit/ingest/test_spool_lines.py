"""The spool's lines: each partition's records in their order, whatever becomes of the others; and the spool's limit."""

import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.spool_db import FILE, write_headers
from ingest.spool_file import _FIRST, _NEW, SpoolFile
from schemas.partitioning import partition_of
from schemas.records import NewRecord

HEADERS = [("courier", b"dash"), ("item", b"1/1")]
ALL = 10**12
LAYOUT_1 = """
    create table spooled (
        seq integer primary key autoincrement,
        key blob not null,
        value blob not null,
        headers blob not null,
        timestamp_ms integer not null
    ) strict;
    create table refused (
        seq integer primary key,
        key blob not null,
        value blob not null,
        headers blob not null,
        timestamp_ms integer not null,
        reason text not null
    ) strict;
    pragma user_version = 1;
"""
"""The tables of the version before lines."""


def record(number: int, size: int = 20) -> NewRecord:
    """Number decides the key, and so the partition; seven keys."""
    return NewRecord(f"dash:{number % 7}".encode(), b"%0*d" % (size, number), HEADERS, 1_000 + number)


def records(*numbers: int) -> list[NewRecord]:
    return [record(number) for number in numbers]


def of(partition: int, partitions: int, *those: NewRecord) -> list[NewRecord]:
    return [each for each in those if partition_of(each.key or b"", partitions) == partition]


def kept(file: SpoolFile, partition: int) -> list[NewRecord]:
    return [spooled.record for spooled in file.first(partition, ALL, ALL)]


def older(directory: Path, waiting: list[NewRecord], refused: list[NewRecord] | None = None) -> None:
    """Make a spool as the version before left it."""
    directory.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(directory / FILE)
    db.executescript(LAYOUT_1)
    rows = [(each.key, each.value, write_headers(each.headers), each.timestamp_ms) for each in waiting]
    db.executemany("insert into spooled (key, value, headers, timestamp_ms) values (?, ?, ?, ?)", rows)
    for each in refused or ():
        row = (each.key, each.value, write_headers(each.headers), each.timestamp_ms)
        db.execute(
            "insert into refused (key, value, headers, timestamp_ms, reason) values (?, ?, ?, ?, 'InvalidTimestamp')",
            row,
        )
    db.commit()
    db.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_a_partition_s_records_are_discarded_though_others_wait(directory: Path) -> None:
    file = SpoolFile(directory)
    file.place(4)
    all_ = records(*range(28))
    file.append([all_], ALL)
    busy = partition_of(all_[0].key or b"", 4)
    file.discard(busy, file.first(busy, ALL, ALL))
    assert busy not in file.lines
    assert file.records == len(all_) - len(of(busy, 4, *all_))
    file.close()
    again = SpoolFile(directory)
    assert again.partitions == 4, "remembered, so that records are in line before Kafka is there"
    for partition in set(range(4)) - {busy}:
        assert kept(again, partition) == of(partition, 4, *all_)
    assert kept(again, busy) == []
    again.close()


def test_a_spool_of_the_version_before_opens_and_drains_in_order(directory: Path) -> None:
    left, new = records(*range(14)), records(*range(14, 28))
    older(directory, left, records(99))
    file = SpoolFile(directory)
    assert (file.records, file.refused) == (14, 1)
    file.append([new], ALL)
    file.place(3)
    found: dict[int, list[NewRecord]] = defaultdict(list)
    for partition in range(3):
        assert file.lines[partition].records == len(of(partition, 3, *left, *new))
        while batch := file.first(partition, 2, ALL):
            found[partition] += [spooled.record for spooled in batch]
            file.discard(partition, batch)
    assert found == {partition: of(partition, 3, *left, *new) for partition in range(3)}
    assert (file.records, file.lines) == (0, {})
    assert file._db.execute("select count(*) from spooled").fetchone() == (0,)
    file.close()


def test_a_partition_s_next_batch_is_found_by_an_index(directory: Path) -> None:
    file = SpoolFile(directory)
    file.place(12)
    sql = _FIRST.format(where=_NEW.format(partitions=12))
    (plan,) = file._db.execute(f"explain query plan {sql}", (3, 0, 10)).fetchall()
    assert "SEARCH spooled USING" in plan[3]
    assert "spooled_of_12" in plan[3]
    file.place(16)
    assert [name for (name,) in file._db.execute("select name from sqlite_schema where type = 'index'")] == [
        "spooled_of_16"
    ]
    file.close()


def test_a_disk_without_room_for_an_index_drains_all_the_same(directory: Path) -> None:
    file = SpoolFile(directory)
    all_ = records(*range(500))
    file.append([all_], ALL)
    pages = file._db.execute("pragma page_count").fetchone()[0]
    file._db.execute(f"pragma max_page_count = {pages}")
    file.place(4)
    for partition in range(4):
        assert kept(file, partition) == of(partition, 4, *all_)
    file.close()


def test_the_limit_holds_within_an_append(directory: Path) -> None:
    file = SpoolFile(directory)
    one = record(0, 1_000)
    file.append([[one]], ALL)
    size = file.bytes
    assert file.append([[one] * 2, [one] * 10, [one]], 5 * size) == [True, False, True]
    assert (file.records, file.bytes) == (4, 4 * size)
    assert file.append([[one] * 200], 5 * size) == [False]
    assert file.append([[one], [one]], 5 * size) == [True, False]
    assert file.bytes == 5 * size
    file.close()
    again = SpoolFile(directory)
    assert (again.records, again.bytes) == (5, 5 * size)
    again.close()


def test_what_others_change_among_the_refused_is_seen(directory: Path) -> None:
    file = SpoolFile(directory)
    file.append([records(0, 1)], ALL)
    for _ in range(2):
        file.set_aside(0, file.first(0, 1, ALL)[0], "too large")
    size = file.bytes
    with sqlite3.connect(directory / FILE) as other:
        other.execute("delete from refused where seq = 1")
    other.close()
    file.look()
    assert (file.refused, file.bytes) == (1, size // 2)
    file.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 60)),
        st.tuples(st.just("discard"), st.integers(1, 40)),
        st.tuples(st.just("place"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["set aside", "tidy", "restart"]), st.just(1)),
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=st.integers(0, 40), steps=STEPS, chance=st.randoms(use_true_random=False))
def test_it_is_a_list_for_each_partition(
    tmp_path_factory: pytest.TempPathFactory, left: int, steps: list[tuple[str, int]], chance: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    model = records(*range(left))
    older(directory, model)
    file = SpoolFile(directory)
    number = left
    try:
        for step, count in steps:
            partition = chance.choice(range(file.partitions))  # type: ignore[attr-defined]
            match step:
                case "append":
                    batch = records(*range(number, number + count))
                    number += count
                    file.append([batch], ALL)
                    model += batch
                case "discard" | "set aside":
                    first = file.first(partition, count, ALL)
                    if step == "discard" and first:
                        file.discard(partition, first)
                    elif first:
                        file.set_aside(partition, first[0], "why")
                    for spooled in first:
                        model.remove(spooled.record)
                case "place":
                    file.place(count)
                case "tidy":
                    while file.tidy():
                        pass
                case _:
                    file.close()
                    file = SpoolFile(directory)
            assert file.records == len(model)
            for each in range(file.partitions):
                mine = of(each, file.partitions, *model)
                assert kept(file, each) == mine
                line = file.lines.get(each)
                assert (line.records, line.oldest_ms) == (len(mine), mine[0].timestamp_ms) if line else not mine
            assert file.oldest_ms == min((each.timestamp_ms for each in model), default=None)
    finally:
        file.close()
