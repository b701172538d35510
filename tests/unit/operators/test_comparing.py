"""What an audit calls a difference, and what it takes for traffic."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from operators.audit.compare import compare, compare_counts, compare_outdated, compare_raw, unlike
from operators.audit.content import Account, content_of, told_by
from operators.audit.facts import Counts, Difference, Facts, PublishedState, ShipmentRow, StoredEvent
from operators.audit.judge_state import Differing, Late, judge_state, published
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from runtime.values import MASK
from schemas.events import Event, Personal, state_after
from schemas.records import Provenance, RawRecord
from schemas.topics import Topic

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
ID = "dash:D"
WORDS = ("PREPARING", "VERIFIED", "PENDING_DELIVERY")


def _history() -> tuple[Shipment, list[Event]]:
    """Plan the webhooks of one shipment, as a worker does."""
    records = []
    for offset, word in enumerate(WORDS):
        at = START + timedelta(minutes=offset)
        body = {
            "deliveryID": "D",
            "status": word,
            "updatedAt": at.isoformat(),
            "courier": {"name": "Budi Santoso"},
        }
        headers = tuple(Provenance(courier="dash", received_at=at).headers())
        records.append(RawRecord(0, offset, ID.encode(), msgspec.json.encode(body), headers, 0))
    planned = Planner({}, "raw", START).add_all([read(record, lambda _courier, _source: UTC, 1) for record in records])
    events = [output.event for output in planned.outputs if output.topic is Topic.EVENTS]
    return planned.shipments[ID], [event for event in events if event is not None]


def _folded() -> Account:
    found = content_of(SHIPMENT)
    assert found is not None
    return found


SHIPMENT, EVENTS = _history()
FOLDED = _folded()


def facts(**changes: Any) -> Facts:
    """Return the facts of a shipment whose three events are stored and published, with some changed."""
    healthy = Facts(
        shipment_id=ID,
        partition=0,
        row=ShipmentRow(3, FOLDED),
        folded=FOLDED,
        said=3,
        versions=(1, 2, 3),
        events=stored(3),
        published=state(3),
    )
    return replace(healthy, **changes)


def stored(due: int) -> tuple[StoredEvent, ...]:
    """Return the three events; those up to `due` must be on the topics."""
    return tuple(stored_event(event, published=event.version <= due) for event in EVENTS)


def stored_event(event: Event, *, published: bool) -> StoredEvent:
    return StoredEvent(event.version, event.id, published, lambda: event)


def changed(account: Account, **changes: Any) -> Account:
    """Return an account with other values, those about persons among them."""
    persons = {name: changes.pop(name) for name in Personal.__struct_fields__ if name in changes}
    return replace(account, **changes, personal=replace(account.personal, **persons))


def state(version: int, /, **changes: Any) -> PublishedState:
    """Return the published state behind an event."""
    told = replace(state_after(EVENTS[version - 1]), **changes)
    return published(msgspec.json.encode(told), 0)


def misnamed() -> StoredEvent:
    """Return the third event under the fourth's id."""
    return stored_event(replace(EVENTS[2], id=f"{ID}/4"), published=True)


def row(**changes: Any) -> ShipmentRow:
    return ShipmentRow(3, changed(FOLDED, **changes))


def told(differences: list[Difference]) -> list[tuple[str, str]]:
    return [(each.where, each.field) for each in differences]


def test_the_accounts_of_a_sound_shipment_agree() -> None:
    assert compare(facts()) == []
    assert judge_state(facts()) is None
    assert compare_raw(facts(), FOLDED) == []
    assert told_by(EVENTS[-1]) == FOLDED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"row": row(status="FAILED")}, [("shipments", "status")]),
        ({"row": row(reason="x", order_id="O")}, [("shipments", "order_id"), ("shipments", "reason")]),
        ({"row": ShipmentRow(3, None)}, [("shipments", "row")]),
        ({"row": None}, [("shipments", "row")]),
        ({"row": None, "events": (), "folded": None, "versions": ()}, [("shipments", "row")]),
        ({"row": ShipmentRow(4, FOLDED)}, [("shipments", "version")]),
        ({"folded": None, "said": 0, "versions": ()}, [("observations", "history"), *[("observations", "event")] * 3]),
        ({"versions": (1, 3)}, [("observations", "event")]),
        ({"events": stored(3)[::2]}, [("outputs", "event")]),
        ({"events": stored(3)[::2], "versions": (1, 3)}, [("outputs", "version")]),
        ({"events": (*stored(3), stored(3)[0])}, [("outputs", "versions")]),
        ({"events": (*stored(3)[:2], StoredEvent(3, None, published=True, read=None))}, [("outputs", "id")]),
        ({"events": (*stored(3)[:2], misnamed())}, [("outputs", "id")]),
    ],
)
def test_damage_is_named_where_it_is(changes: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert told(compare(facts(**changes))) == expected


def test_what_an_older_edition_read_otherwise_is_told_and_is_no_damage() -> None:
    """Its row, its newest event and its published state agree: only today's rules have it otherwise."""
    today = changed(FOLDED, reason="x", final=True)
    assert told(compare(facts(folded=today))) == [("shipments", field) for field in ("final", "reason")] * 1 + [
        ("outputs", field) for field in ("final", "reason")
    ]
    outdated = facts(folded=today, outdated=True)
    assert compare(outdated) == []
    assert judge_state(outdated) is None
    assert [(each.field, each.expected, each.found) for each in compare_outdated(outdated)] == [
        ("final", True, False),
        ("reason", "x", None),
    ]
    assert compare_outdated(facts(folded=today)) == []


def test_what_an_older_edition_read_is_damaged_where_its_row_and_its_newest_event_differ() -> None:
    damaged = facts(row=row(status="FAILED"), outdated=True)
    assert told(compare(damaged)) == [("outputs", "status")]


def test_a_newest_event_that_says_another_thing_than_the_fold() -> None:
    wrong = replace(EVENTS[2], failed_count=5)
    damaged = facts(events=(*stored(3)[:2], stored_event(wrong, published=True)))
    (difference,) = compare(damaged)
    assert (difference.where, difference.field, difference.expected, difference.found) == (
        "outputs",
        "failed_count",
        0,
        5,
    )


def test_a_retired_shipment_needs_no_history() -> None:
    bare = {"folded": None, "said": 0, "versions": (), "events": ()}
    retired = facts(row=ShipmentRow(3, FOLDED, retired=True), **bare)
    assert compare(retired) == []
    assert judge_state(replace(retired, published=None)) is None
    assert isinstance(judge_state(retired), Late)
    assert judge_state(replace(retired, forgetting=True)) is None


def test_what_a_recovery_leaves_is_no_damage() -> None:
    assert told(compare(facts(events=stored(3)[:1], derived=frozenset({2, 3}), recovered=True))) == []
    assert told(compare(facts(row=ShipmentRow(7, FOLDED), recovered=True))) == []
    lost = facts(row=ShipmentRow(3, FOLDED), folded=None, said=0, versions=(), events=(), recovered=True)
    assert lost.lost
    assert compare(lost) == []
    assert judge_state(lost) is None
    assert isinstance(judge_state(replace(lost, published=None)), Late)
    assert told(compare(facts(row=ShipmentRow(2, FOLDED), recovered=True)))[0] == ("shipments", "version")


def test_a_state_that_lags_is_traffic_until_it_must_be_there() -> None:
    assert judge_state(facts(events=stored(2), published=state(2))) is None
    assert judge_state(facts(events=stored(0), published=None)) is None
    assert isinstance(judge_state(facts(events=stored(3), published=state(2))), Late)
    assert isinstance(judge_state(facts(events=stored(1), published=None)), Late)


def test_a_state_of_another_content_differs_whatever_its_age() -> None:
    assert judge_state(facts(published=state(3, reason="x"))) == Differing(state_after(EVENTS[2]))
    assert judge_state(facts(events=stored(1), published=state(2, recorded_at="x"))) == Differing(
        state_after(EVENTS[1])
    )


def test_a_state_without_its_event_is_compared_with_the_row() -> None:
    derived = facts(events=stored(3)[:1], recovered=True)
    assert judge_state(replace(derived, published=state(3, recorded_at="x"))) is None
    assert judge_state(replace(derived, published=state(3, reason="x"))) == Differing(FOLDED)


def test_a_state_ahead_of_the_database_and_one_that_is_none() -> None:
    ahead = judge_state(facts(published=state(3, version=9)))
    assert isinstance(ahead, Difference)
    assert (ahead.field, ahead.expected, ahead.found) == ("version", 3, 9)
    odd = judge_state(facts(published=published(b"{", 0)))
    assert isinstance(odd, Difference)
    assert odd.field == "value"


def test_a_state_from_before_an_erasure_is_not_held_against_the_rewritten_event() -> None:
    rewritten = replace(EVENTS[1], description="gone")
    events = (stored(1)[0], stored_event(rewritten, published=False), stored(1)[2])
    assert judge_state(facts(row=ShipmentRow(3, FOLDED, erased=True), events=events, published=state(2))) is None
    assert judge_state(facts(row=ShipmentRow(3, FOLDED), events=events, published=state(2))) is not None


def test_the_raw_topic_against_the_row() -> None:
    other = changed(FOLDED, order_id="O")
    assert told(compare_raw(facts(), other)) == [("raw", "order_id")]
    assert told(compare_raw(facts(), None)) == [("raw", "status")]
    assert told(compare_raw(facts(row=None), FOLDED)) == [("raw", "status")]
    assert compare_raw(facts(row=None), None) == []


COUNTS = Counts(
    records=12,
    rowless=1,
    observations=10,
    events=5,
    duplicates=2,
    anomalies=2,
    unchanged=1,
    stored_events=5,
    stored_anomalies=2,
    dead_letters=1,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"records": 13}, ["records"]),
        ({"dead_letters": 0}, ["records"]),
        ({"observations": 9, "events": 4}, ["records", "events"]),
        ({"stored_anomalies": 3}, ["anomalies"]),
        ({"unchanged": 0}, ["outcomes"]),
    ],
)
def test_conservation(changes: dict[str, int], expected: list[str]) -> None:
    counts = replace(COUNTS, **changes)
    assert [each.field for each in compare_counts(0, counts, recovered=False)] == expected
    outputs = {"events", "anomalies"}
    assert [each.field for each in compare_counts(0, counts, recovered=True)] == [
        name for name in expected if name not in outputs
    ]


def test_persons_are_masked_and_nothing_else() -> None:
    named = changed(FOLDED, description="left with Budi", reason="closed")
    nobody = changed(FOLDED, driver=None)
    found = {each.field: each.masked() for each in unlike(facts(), "raw", named, nobody)}
    assert (found["driver"].expected, found["driver"].found) == (MASK, None)
    assert (found["description"].expected, found["description"].found) == (MASK, None)
    assert (found["reason"].expected, found["reason"].found) == ("closed", None)
