"""What an operator sees of a door's spool, and drops: beside a door that holds it, or none; of any version."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.main import main
from ingest.spool_file import SpoolFile
from operators.doctor.finding import Level
from operators.doctor.machine import look_at_spool
from operators.shared.errors import OperatorError
from operators.spool import RefusedRecord, SpoolSelection, look, select, until_drained
from runtime.errors import SetupError
from runtime.settings import load_settings
from schemas.records import NewRecord
from tests.unit.ingest.test_spool_lines import LAYOUT_1, older

Run = Callable[..., tuple[int, str]]

HEADERS = [("courier", b"dash"), ("webhook-id", b"w-1"), ("item", b"1/1")]
AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)


def record(number: int, courier: bytes = b"dash") -> NewRecord:
    return NewRecord(b"dash:%d" % number, b"body %d" % number, [("courier", courier), *HEADERS[1:]], MS + number)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def run(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("WAYBILL_INGEST_SPOOL_DIR", str(directory))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["spool", *arguments])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def door(directory: Path) -> Iterator[SpoolFile]:
    """A door's file, held while the test runs: one record waits, three are refused."""
    file = SpoolFile(directory)
    file.append([[record(1), record(2), record(3, b"kiriminaja"), record(4)]], 10**9)
    for number in (1, 2, 3):
        file.set_aside(0, file.first(0, 1, 10**9)[0], f"too large: {number}")
    yield file
    file.close()


def test_a_directory_without_a_spool_holds_nothing(directory: Path, run: Run) -> None:
    code, out = run("list", "--json")
    assert (code, json.loads(out)["refused"]) == (0, [])
    assert run("drop", "--yes") == (0, "0 refused records\n")
    assert not directory.exists(), "looking makes nothing"


def test_what_it_holds_is_listed_beside_a_running_door(door: SpoolFile, run: Run) -> None:
    code, out = run("list", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["waiting"]["records"] == 1
    assert found["waiting"]["oldest_received_at"] == "2026-11-27T12:00:00.004000Z"
    assert [(each["seq"], each["key"], each["reason"]) for each in found["refused"]] == [
        (1, "dash:1", "too large: 1"),
        (2, "dash:2", "too large: 2"),
        (3, "dash:3", "too large: 3"),
    ]
    assert sum(each["bytes"] for each in found["refused"]) + found["waiting"]["bytes"] == door.bytes
    code, out = run("list")
    assert code == 0
    assert "1 wait for Kafka" in out
    assert "too large: 2" in out
    assert "body" not in out


def test_those_that_are_meant_are_dropped_and_the_door_sees_it(door: SpoolFile, run: Run) -> None:
    assert run("drop", "--dry-run", "--json")[0] == 0
    assert run("drop") == (2, ""), "nobody can be asked"
    code, out = run("drop", "--courier", "dash", "--limit", "1", "--yes", "--json")
    assert code == 0
    assert [each["seq"] for each in json.loads(out)["dropped"]] == [1]
    assert run("drop", "3", "--yes")[0] == 0
    door.look()
    assert door.refused == 1
    assert run("drop", "77", "--yes")[0] == 1, "it is not there"
    assert [each.seq for each in look(door.directory).refused] == [2]


def test_the_refused_of_an_older_version_are_seen(directory: Path, run: Run) -> None:
    older(directory, [record(1)], [record(2)])
    found = json.loads(run("list", "--json")[1])
    assert (found["waiting"]["records"], len(found["refused"])) == (1, 1)
    assert run("drop", "--yes")[0] == 0
    assert json.loads(run("list", "--json")[1])["refused"] == []
    SpoolFile(directory).close()


async def test_doctor_fails_while_something_is_refused(door: SpoolFile, directory: Path) -> None:
    settings = load_settings({"WAYBILL_INGEST_SPOOL_DIR": str(directory)})
    (found,) = [finding async for finding in look_at_spool(settings)]
    assert (found.level, found.found[:9]) == (Level.FAIL, "3 records")
    none = load_settings({"WAYBILL_INGEST_SPOOL_DIR": str(directory.parent / "elsewhere")})
    assert [finding.level async for finding in look_at_spool(none)] == [Level.OK]


def test_a_file_of_another_version_is_one_clear_error(directory: Path) -> None:
    directory.mkdir()
    db = sqlite3.connect(directory / "spool.sqlite3")
    db.executescript(LAYOUT_1.replace("user_version = 1", "user_version = 9"))
    db.close()
    with pytest.raises(SetupError, match="another version"):
        look(directory)


def test_selection() -> None:
    def refused(seq: int, courier: str) -> RefusedRecord:
        return RefusedRecord(seq, "k", courier, None, None, AT, 1, "why")

    all_ = [refused(1, "dash"), refused(2, "kiriminaja"), refused(3, "dash")]
    assert select(all_, SpoolSelection()) == tuple(all_)
    assert [each.seq for each in select(all_, SpoolSelection(seqs=(3, 1)))] == [1, 3]
    assert [each.seq for each in select(all_, SpoolSelection(couriers=("dash",), limit=1))] == [1]
    assert select(all_, SpoolSelection(since=datetime(2026, 11, 28, tzinfo=UTC))) == ()
    with pytest.raises(OperatorError, match="4"):
        select(all_, SpoolSelection(seqs=(4,)))


async def test_a_drained_spool_is_waited_for(door: SpoolFile, directory: Path) -> None:
    waiting = asyncio.create_task(until_drained(directory, 30))
    await asyncio.sleep(0)
    assert not waiting.done(), "one waits"
    door.discard(0, door.first(0, 1, 10**9))
    assert (await waiting).records == 0


def test_a_wait_for_a_spool_has_an_end(door: SpoolFile, run: Run) -> None:
    assert run("wait", "--seconds", "1")[0] == 1
    door.discard(0, door.first(0, 1, 10**9))
    assert run("wait") == (0, "")


def test_without_a_spool_nothing_is_waited_for(run: Run) -> None:
    assert run("wait")[0] == 0
