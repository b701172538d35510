"""What pages and commands show of letters, events and reports: groups, changes, drift, last webhooks."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from operators.dead_letters.letters import Letter, LetterState
from operators.dead_letters.shown import LetterGroup, grouped, shown, today
from operators.views.attention import LastWebhook, last_of_couriers
from operators.views.changes import FieldChange, changes
from operators.views.drift import by_courier
from processor.core.reading import read
from reconcile.drift import Report
from reconcile.told import Healed, Lateness, StatusCount
from runtime.moments import length, moment
from schemas.records import RawRecord
from schemas.vocabulary import Source
from tests.unit.processor.test_accepting import said

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def letter(number: int, reason: str = "invalid_json", state: LetterState = LetterState.OPEN, **other: object) -> Letter:
    at = NOW + timedelta(minutes=number)
    values = {
        "root": (0, 1, number),
        "place": (0, 1, number),
        "reason": reason,
        "detail": "",
        "courier": "dash",
        "source": "push",
        "key": None,
        "size": 3,
        "received_at": None,
        "recorded_at": at,
        "of_this_log": True,
        "state": state,
    }
    return Letter(**{**values, **other})  # type: ignore[arg-type]


def test_groups_count_what_needs_something_and_the_largest_comes_first() -> None:
    found = [
        letter(1),
        letter(2, "too_deep"),
        letter(3, "too_deep", LetterState.WAITING),
        letter(4, "too_deep", LetterState.MENDED),
        letter(5, state=LetterState.DROPPED),
        letter(6, courier=None),
    ]
    many, *others = grouped(found)
    assert many == LetterGroup("too_deep", "dash", 1, 1, "2026-11-27T12:02:00.000000Z", "2026-11-27T12:03:00.000000Z")
    assert [(each.reason, each.courier, each.open) for each in others] == [
        ("invalid_json", None, 1),
        ("invalid_json", "dash", 1),
    ]
    assert grouped([]) == ()


def test_a_letter_is_shown_by_its_root() -> None:
    told = shown(letter(5, place=(0, 2, 9)))
    assert (told.at, told.record, told.bytes, told.received_at) == ("1:5", "2:9", 3, None)


def test_todays_reading_says_why_it_reads_nothing() -> None:
    record = RawRecord(0, 0, None, b"{", (("courier", b"dash"),), timestamp_ms=0)
    told = today(read(record, lambda _courier, _source: UTC, 1))
    assert (told.readable, told.reason) == (False, "invalid_json")
    assert told.in_words.startswith("would come back: invalid_json, ")


def test_changes_name_the_field_wherever_it_stands() -> None:
    before = {"id": "a/1", "version": 1, "status": "FAILED", "personal": {"driver": None, "signed_by": "A"}, "awb": "1"}
    after = {"id": "a/2", "version": 2, "status": "FAILED", "personal": {"driver": {"name": "B"}, "signed_by": "A"}}
    assert changes(before, after) == [
        FieldChange("personal.driver", None, {"name": "B"}),
        FieldChange("awb", "1", None),
    ]
    assert changes(None, after) == []
    assert changes(after, after) == []


def test_the_last_webhook_is_the_newest_that_was_pushed() -> None:
    old, new = said("FAILED", 1), said("COMPLETED", 2)
    pushed = msgspec.structs.replace(old, source=Source.PUSH, received_at=NOW)
    pulled = msgspec.structs.replace(new, source=Source.PULL, received_at=NOW + timedelta(hours=1))
    found = {each.courier: each for each in last_of_couriers([pushed, pulled])}
    assert found[pushed.courier] == LastWebhook(pushed.courier, "2026-11-27T12:00:00.000000Z", pushed.shipment_id)
    assert all(each.received_at is None for name, each in found.items() if name != pushed.courier)


def test_drift_tells_by_courier_what_never_comes_first() -> None:
    statuses = (StatusCount("dash", "DELIVERED", 10, 1), StatusCount("dash", "LOST", 2, 2))
    late, healed = (Lateness("dash", 5, 1, 2, 3),), (Healed("dash", 4),)
    found = by_courier(Report(NOW, NOW, statuses, late, healed), ["dash", "kiriminaja"])
    dash, silent = found.couriers
    assert [each.status for each in dash.statuses] == ["LOST", "DELIVERED"]
    assert [each.status for each in dash.never_come] == ["LOST"]
    assert (dash.lateness, dash.healed) == (late[0], 4)
    assert (silent.statuses, silent.lateness, silent.healed) == ((), None, 0)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("2h", NOW - timedelta(hours=2)), ("1h30m", NOW - timedelta(minutes=90)), ("2026-11-27t12:00:00z", NOW)],
)
def test_moments(text: str, meant: datetime) -> None:
    assert moment(text, NOW) == meant


@pytest.mark.parametrize("text", ["", "soon", "2026-11-27T12:00:00", "999999999d"])
def test_what_is_no_moment_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        moment(text, NOW)


def test_a_length_is_no_moment() -> None:
    with pytest.raises(ValueError, match="duration such as"):
        length("2026-11-27T12:00:00Z")
