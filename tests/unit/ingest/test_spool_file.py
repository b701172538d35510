"""The spool's file: all or nothing, in order, for one process, and nothing left behind."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import SpoolError
from ingest.spool_db import FILE
from ingest.spool_file import SpoolFile
from ingest.spool_lines import ROWS_A_STATEMENT
from runtime.errors import SetupError
from schemas.records import NewRecord

HEADERS = [("courier", b"dash"), ("item", b"1/1"), ("content-type", "Größe".encode())]
ALL = 1_000_000_000
SQLITE_SETTINGS = {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "secure_delete": 1, "auto_vacuum": 2}


def record(number: int, size: int = 20) -> NewRecord:
    return NewRecord(f"dash:{number}".encode(), b"%0*d" % (size, number), HEADERS, 1_000 + number)


def records(*numbers: int) -> list[NewRecord]:
    return [record(number) for number in numbers]


def kept(file: SpoolFile, partition: int = 0) -> list[NewRecord]:
    return [spooled.record for spooled in file.first(partition, ALL, ALL)]


def append(file: SpoolFile, *webhooks: list[NewRecord]) -> None:
    assert file.append(webhooks, ALL) == [True] * len(webhooks)


def on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


def fill_the_disk(file: SpoolFile) -> None:
    pages = file._db.execute("pragma page_count").fetchone()[0]
    file._db.execute(f"pragma max_page_count = {pages}")


def make_room(file: SpoolFile) -> None:
    file._db.execute("pragma max_page_count = 1000000")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "a" / "spool"


def test_records_come_back_whole_and_in_order_after_a_restart(directory: Path) -> None:
    numbers = range(3 * ROWS_A_STATEMENT + 7)
    file = SpoolFile(directory)
    append(file, records(*numbers[:5]), records(), records(*numbers[5:]))
    size, oldest = file.bytes, file.oldest_ms
    file.close()
    again = SpoolFile(directory)
    assert kept(again) == records(*numbers)
    assert (again.records, again.bytes, again.oldest_ms) == (len(numbers), size, oldest)
    assert oldest == 1_000
    again.close()


def test_a_batch_is_bounded_but_never_empty(directory: Path) -> None:
    file = SpoolFile(directory)
    append(file, [record(0, 500), record(1, 500), record(2, 500)])
    assert len(file.first(0, 2, ALL)) == 2
    assert len(file.first(0, ALL, 1_300)) == 2
    assert len(file.first(0, ALL, 10)) == 1
    file.close()


def test_what_is_done_does_not_come_again(directory: Path) -> None:
    file = SpoolFile(directory)
    append(file, records(0, 1, 2, 3))
    file.discard(0, file.first(0, 2, ALL))
    assert (file.records, file.oldest_ms) == (2, 1_002)
    file.set_aside(0, file.first(0, 1, ALL)[0], "too large")
    assert kept(file) == records(3)
    assert (file.records, file.refused, file.oldest_ms) == (1, 1, 1_003)
    file.close()
    again = SpoolFile(directory)
    assert kept(again) == records(3)
    assert (again.records, again.refused, again.bytes) == (1, 1, file.bytes)
    again.close()
    with sqlite3.connect(directory / FILE) as db:
        assert db.execute("select key, value, reason from refused").fetchall() == [
            (record(2).key, record(2).value, "too large")
        ]
    db.close()


def test_a_full_disk_keeps_nothing_of_what_it_cannot_keep_whole(directory: Path) -> None:
    file = SpoolFile(directory)
    append(file, records(0))
    fill_the_disk(file)
    before = (file.records, file.bytes)
    with pytest.raises(SpoolError):
        append(file, records(1), [record(number, 5_000) for number in range(2, 9)])
    assert (file.records, file.bytes) == before
    assert kept(file) == records(0)
    make_room(file)
    append(file, records(9))
    assert kept(file) == records(0, 9)
    file.close()


def test_a_broken_record_breaks_its_group_and_no_more(directory: Path) -> None:
    file = SpoolFile(directory)
    with pytest.raises(UnicodeEncodeError):
        append(file, records(0), [NewRecord(b"k", b"v", [("\ud800", b"")], 0)])
    append(file, records(1))
    assert kept(file) == records(1)
    file.close()


def test_what_cannot_be_deleted_is_done_all_the_same(directory: Path) -> None:
    file = SpoolFile(directory)
    append(file, records(0, 1))
    file._db.execute("pragma query_only = on")
    batch = file.first(0, 1, ALL)
    with pytest.raises(SpoolError):
        file.discard(0, batch)
    assert kept(file) == records(1)
    with pytest.raises(SpoolError):
        file.tidy()
    file._db.execute("pragma query_only = off")
    assert not file.tidy()
    file.close()
    again = SpoolFile(directory)
    assert kept(again) == records(1)
    again.close()


def test_a_disk_too_full_to_delete_is_emptied_all_the_same(directory: Path) -> None:
    file = SpoolFile(directory)
    append(file, records(0, 1))
    file._db.execute("pragma query_only = on")
    with pytest.raises(SpoolError):
        file.discard(0, file.first(0, ALL, ALL))
    assert not file.tidy()
    append(file, records(2))
    assert kept(file) == records(2)
    file.close()
    again = SpoolFile(directory)
    assert kept(again) == records(2)
    assert again.bytes == sum(spooled.size for spooled in again.first(0, ALL, ALL))
    again.close()


def test_what_cannot_be_set_aside_waits(directory: Path) -> None:
    file = SpoolFile(directory)
    append(file, records(0, 1))
    file._db.execute("pragma query_only = on")
    with pytest.raises(SpoolError):
        file.set_aside(0, file.first(0, 1, ALL)[0], "too large")
    assert kept(file) == records(0, 1)
    assert file.refused == 0
    file.close()


def test_the_directory_is_one_process_s_own(directory: Path) -> None:
    file = SpoolFile(directory)
    with pytest.raises(SetupError, match=r"in use by another ingest \(process \d+\).*WAYBILL_INGEST_SPOOL_DIR"):
        SpoolFile(directory)
    file.close()
    SpoolFile(directory).close()


def test_nobody_else_may_read_it(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o755)
    file = SpoolFile(directory)
    append(file, records(0))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == {
        "lock": 0o600,
        FILE: 0o600,
        f"{FILE}-wal": 0o600,
        f"{FILE}-shm": 0o600,
    }
    file.close()


def test_a_directory_shared_with_other_files_is_left_open(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o755)
    (directory / "notes").touch()
    SpoolFile(directory).close()
    assert directory.stat().st_mode & 0o777 == 0o755


def test_nothing_of_a_body_stays_on_the_disk(directory: Path) -> None:
    file = SpoolFile(directory)
    secret = b"+62-812-3456-7890"
    append(file, [NewRecord(b"k", secret * 1_000, HEADERS, 1), NewRecord(b"k", secret, HEADERS, 1)])
    assert secret in on_disk(directory)
    file.discard(0, file.first(0, ALL, ALL))
    while file.tidy():
        pass
    assert secret not in on_disk(directory)
    assert sum(path.stat().st_size for path in directory.iterdir()) < 100_000
    file.close()


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 5_000])
def test_a_damaged_file_is_one_clear_error(directory: Path, content: bytes) -> None:
    directory.mkdir(parents=True)
    (directory / FILE).write_bytes(content)
    for _ in range(2):  # the lock is not left behind
        with pytest.raises(SetupError, match="cannot be opened"):
            SpoolFile(directory)


def test_another_version_s_file_is_left_alone(directory: Path) -> None:
    SpoolFile(directory).close()
    db = sqlite3.connect(directory / FILE)
    db.execute("pragma user_version = 9")
    db.close()
    with pytest.raises(SetupError, match="another version"):
        SpoolFile(directory)


def test_a_place_that_is_no_directory_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be used"):
        SpoolFile(tmp_path / "file")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 120)),
        st.tuples(st.just("discard"), st.integers(1, 120)),
        st.tuples(st.sampled_from(["set aside", "tidy", "restart", "full disk"]), st.just(1)),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_it_is_a_list(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    directory = tmp_path_factory.mktemp("spool")
    file = SpoolFile(directory)
    model: list[NewRecord] = []
    number = 0
    try:
        for step, count in steps:
            match step:
                case "append":
                    batch = records(*range(number, number + count))
                    number += count
                    append(file, batch)
                    model += batch
                case "discard" if model:
                    file.discard(0, file.first(0, count, ALL))
                    del model[:count]
                case "set aside" if model:
                    file.set_aside(0, file.first(0, 1, ALL)[0], "why")
                    del model[0]
                case "tidy":
                    while file.tidy():
                        pass
                case "restart":
                    file.close()
                    file = SpoolFile(directory)
                case "full disk":
                    fill_the_disk(file)
                    with pytest.raises(SpoolError):
                        append(file, [record(0, 1_000_000)])
                    make_room(file)
                case _:
                    pass
            assert kept(file) == model
            assert file.records == len(model)
            assert file.oldest_ms == (model[0].timestamp_ms if model else None)
    finally:
        file.close()


def test_a_commit_is_on_the_disk_and_what_is_deleted_is_overwritten(directory: Path) -> None:
    file = SpoolFile(directory)
    settings = {name: file._db.execute(f"pragma {name}").fetchone()[0] for name in SQLITE_SETTINGS}
    assert settings == SQLITE_SETTINGS
    file.close()
