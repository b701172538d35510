"""What `waybill doctor` concludes from what it found."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from operators.doctor.cursors import of_lag
from operators.doctor.finding import Level
from operators.doctor.kafka import of_auto_create, of_brokers_clock, of_replicas
from operators.doctor.machine import is_writable, of_refused, of_settings
from operators.doctor.postgres import of_clocks, of_schema, of_server, of_session
from operators.views.lag import Lag, measured, total
from processor.core.cursor import MARK, Committed, Cursor
from runtime.migrations import Migration
from runtime.postgres import OPERATOR_SESSION
from runtime.settings import load_settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CURSOR = Cursor(raw_topic="raw", partitions=1, consumer_group="g", next_offset=10, emitted=4, epoch=1)


@pytest.mark.parametrize(
    ("environ", "what", "level"),
    [
        ({}, "couriers", Level.WARN),
        ({"WAYBILL_DASH_SECRETS": "x"}, "couriers", Level.OK),
        ({"WAYBILL_DASH_SECRETS": "x", "WAYBILL_INGEST_SPOOL_DIR": ""}, "spool", Level.WARN),
        ({"WAYBILL_DASH_SECRETS": "x", "WAYBILL_INGEST_SPOOL_DIR": "/dev/null/spool"}, "spool", Level.FAIL),
        ({"WAYBILL_RETENTION": "31d"}, "retention", Level.OK),
        ({"WAYBILL_RETENTION": "30d"}, "retention", Level.FAIL),
        ({"WAYBILL_RETENTION_UNFINISHED": "30d"}, "retention", Level.FAIL),
        ({"WAYBILL_DLQ_MAX_RATIO": "1"}, "dead letters", Level.WARN),
    ],
)
def test_settings(environ: dict[str, str], what: str, level: Level) -> None:
    (found,) = [each for each in of_settings(load_settings(environ), is_writable) if each.what == what]
    assert found.level is level
    assert (found.mend is None) == (level is Level.OK)


def test_a_spool_is_judged_where_there_is_a_door() -> None:
    """Not in the container of a console, whose file system is read-only."""
    settings = load_settings({"WAYBILL_INGEST_SPOOL_DIR": "/dev/null/spool"})
    assert "spool" not in {each.what for each in of_settings(settings, is_writable)}


def test_what_is_left_for_after_the_roll_out_is_told() -> None:
    assert of_schema(()).level is Level.OK
    found = of_schema([Migration(28, "after_old", "")])
    assert (found.level, found.found) == (Level.WARN, "0028_after_old waits for the end of the roll-out")


def test_a_directory_that_is_not_there_can_be_made_in_one_that_is(tmp_path: Path) -> None:
    assert is_writable(tmp_path / "a" / "b")
    file = tmp_path / "file"
    file.touch()
    assert not is_writable(file)
    assert not is_writable(file / "below")


@pytest.mark.parametrize(
    ("replicas", "isr", "leader", "level", "says"),
    [
        (3, 3, 1, Level.OK, "3 copies"),
        (3, 2, 1, Level.WARN, "not every copy"),
        (3, 1, 1, Level.FAIL, "too few"),
        (3, 0, -1, Level.FAIL, "without a leader"),
        (1, 1, 1, Level.WARN, "one copy"),
    ],
)
def test_durability_of_a_topic(replicas: int, isr: int, leader: int, level: Level, says: str) -> None:
    partition = {"partition": 0, "leader": leader, "replicas": list(range(replicas)), "isr": list(range(isr))}
    (found,) = of_replicas({"raw": [partition]})
    assert found.level is level
    assert says in found.found


@pytest.mark.parametrize(
    ("found", "level"),
    [
        ({1: "false", 2: "false"}, Level.OK),
        ({1: "false", 2: "true"}, Level.WARN),
        ({1: "false", 2: None}, Level.WARN),
    ],
)
def test_brokers_that_make_topics(found: dict[int, str | None], level: Level) -> None:
    finding = of_auto_create(found)
    assert finding.level is level
    assert (finding.mend is None) == (level is Level.OK)


@pytest.mark.parametrize(
    ("told", "pids", "changed", "level"),
    [
        (7, {7}, {}, Level.OK),
        (7, {7, 8}, {}, Level.FAIL),
        (7, {8}, {}, Level.FAIL),
        (7, {7}, {"transaction_timeout": "0"}, Level.FAIL),
    ],
)
def test_a_pooler_is_noticed(told: int, pids: set[int], changed: dict[str, str], level: Level) -> None:
    assert of_session(told, pids, {**OPERATOR_SESSION, **changed}).level is level


def test_durability_of_the_server() -> None:
    good = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    assert [each.level for each in of_server(good, commits=True)] == [Level.OK]
    (bad,) = of_server(good | {"fsync": "off"}, commits=True)
    assert bad.level is Level.FAIL
    assert "fsync = off" in bad.found
    (stalled,) = of_server(good | {"synchronous_standby_names": "north"}, commits=False)
    assert stalled.level is Level.FAIL
    assert "synchronous_standby_names = north" in stalled.found
    (hung,) = of_server(good | {"synchronous_standby_names": ""}, commits=False)
    assert hung.level is Level.FAIL
    assert "standby" not in hung.found


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.5, Level.OK), (-1, Level.OK), (10, Level.WARN), (-10, Level.WARN), (3600, Level.FAIL)]
)
def test_clocks(seconds: float, level: Level) -> None:
    theirs = NOW + timedelta(seconds=seconds)
    assert of_clocks(NOW, theirs, NOW + timedelta(milliseconds=3)).level is level


@pytest.mark.parametrize(
    ("ahead", "level", "says"),
    [
        (timedelta(0), Level.OK, "agree"),
        (timedelta(seconds=2), Level.OK, "agree"),
        (timedelta(hours=7), Level.WARN, "25200 s ahead of"),
        (-timedelta(minutes=1), Level.WARN, "60 s behind"),
    ],
)
def test_this_machine_s_clock_against_the_brokers(ahead: timedelta, level: Level, says: str) -> None:
    found = of_brokers_clock(ahead)
    assert found.level is level
    assert says in found.found


def test_what_the_door_s_spool_holds_refused() -> None:
    assert of_refused(0).level is Level.OK
    found = of_refused(2)
    assert (found.level, found.found[:9]) == (Level.FAIL, "2 records")
    assert "waybill spool" in (found.mend or "")


def test_lag_of_a_partition() -> None:
    assert measured(0, 2, 15, None, None) == Lag(0, 2, 15, None, None, 13, 0, None)
    assert measured(0, 2, 15, CURSOR, None) == Lag(0, 2, 15, 10, 4, 5, 6, None)
    assert measured(0, 2, 15, CURSOR, Committed(9, MARK)) == Lag(0, 2, 15, 10, 9, 5, 1, None)
    assert measured(0, 2, 15, CURSOR, Committed(14, "moved by hand")).emitted == 4
    assert measured(0, 12, 15, CURSOR, Committed(10, MARK)).behind == 3, "retention has taken two"


def test_old_waiting_records_and_new_partitions_are_worth_a_word() -> None:
    calm, slow, new = (
        Lag(0, 0, 9, 9, 9, 0, 0, None),
        Lag(0, 0, 9, 8, 8, 1, 0, 301.0),
        Lag(1, 0, 9, None, None, 9, 0, 1.0),
    )
    assert [each.level for each in of_lag([calm], {0: CURSOR})] == [Level.OK, Level.OK]
    assert [(each.what, each.level) for each in of_lag([slow, new], {0: CURSOR})] == [
        ("cursors", Level.WARN),
        ("lag", Level.WARN),
    ]
    assert total([slow, new]).behind == 10
    assert total([slow, new]).oldest_seconds == 301.0


@pytest.mark.parametrize("seconds", [301.0, -3600.0])
def test_outputs_that_are_stored_and_not_published_for_long_are_a_failure(seconds: float) -> None:
    """Those of a time to come were recorded by a clock that was ahead."""
    lags = [Lag(0, 0, 9, 9, 4, 0, 5, None, seconds), Lag(1, 0, 9, 9, 4, 0, 5, None, 2.0)]
    (found,) = [each for each in of_lag(lags, {0: CURSOR, 1: CURSOR}) if each.what == "outputs"]
    assert found.level is Level.FAIL
    assert found.found.endswith("partition 0")


@pytest.mark.parametrize(("log_start", "told"), [(0, True), (4, True), (5, False)])
def test_records_gone_before_they_were_applied_are_told_while_the_log_begins_there(
    log_start: int, *, told: bool
) -> None:
    cursor = msgspec.structs.replace(CURSOR, began_at=4)
    found = list(of_lag([Lag(0, log_start, 10, 10, 10, 0, 0, None)], {0: cursor}))
    assert [each.level for each in found if each.what == "lost records"] == [Level.WARN] * told
