"""Order and repetition do not matter, and neither does how the state was reached."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.effects import Arrival
from processor.core.reading import Read
from processor.core.shipment import apply
from schemas.vocabulary import EventType, Status, Transition
from tests.property.driving import (
    decoded,
    observations_of,
    plan_in_batches,
    readings_of,
    refolded,
    snapshots,
)
from tests.strategies import WEBHOOKS, raw_records

every_kind = pytest.mark.parametrize("kind", WEBHOOKS)


@every_kind
@given(data=st.data())
def test_any_order_and_repetition_gives_the_same_snapshots(kind: str, data: st.DataObject) -> None:
    observations = observations_of(raw_records(data.draw(WEBHOOKS[kind], "webhooks")))
    expected = snapshots(observations)
    again = data.draw(st.lists(st.sampled_from(observations), max_size=4), "again") if observations else []
    for name in ("first order", "second order"):
        assert snapshots(data.draw(st.permutations([*observations, *again]), name)) == expected


@pytest.mark.parametrize("service", ["express", "instant"])
@given(data=st.data())
def test_pushed_and_pulled_in_any_order_give_the_same_snapshot(service: str, data: st.DataObject) -> None:
    pulled = data.draw(WEBHOOKS["kiriminaja pulled set"], "pulled")
    pushed = data.draw(WEBHOOKS[f"kiriminaja {service} life"], "pushed")
    observations = observations_of(raw_records([*pushed, *pulled]))
    assert snapshots(data.draw(st.permutations(observations), "order")) == snapshots(observations)


@every_kind
@given(data=st.data())
def test_a_state_read_back_is_the_state_that_was_built(kind: str, data: st.DataObject) -> None:
    """Snapshot, order, verdicts, digests, and what the next webhook leads to."""
    records = data.draw(st.permutations(raw_records(data.draw(WEBHOOKS[kind], "webhooks"))), "order")
    readings = readings_of(records)
    following = [reading.observation for reading in readings if isinstance(reading, Read)]
    cut = data.draw(st.integers(0, len(readings)), "cut")
    (done,) = plan_in_batches(readings[:cut], [])
    rows = data.draw(st.permutations(done.observations), "rows")
    for name, shipment in done.shipments.items():
        back = refolded(shipment, rows)
        assert back == shipment
        for observation in following:
            if observation.shipment_id == name:
                arrival = Arrival(observation, str)
                assert apply(back, arrival) == apply(shipment, arrival)
                assert back == shipment


@every_kind
@given(data=st.data())
def test_what_events_may_say(kind: str, data: st.DataObject) -> None:
    """Versions without gaps; finals left by corrections or reopened only; recoveries only behind a counted failure."""
    records = data.draw(st.permutations(raw_records(data.draw(WEBHOOKS[kind], "webhooks"))), "order")
    last: dict[str, dict[str, Any]] = {}
    for plan in plan_in_batches(readings_of(records), []):
        for output in plan.outputs:
            if output.version is None:
                continue
            event = decoded(output.value)
            before = last.get(event["shipment_id"])
            assert event["version"] == (before["version"] if before else 0) + 1
            assert event["previous_status"] == (before["status"] if before else None)
            _check_event(event, before)
            last[event["shipment_id"]] = event


def _check_event(event: dict[str, Any], before: dict[str, Any] | None) -> None:
    moved = event["status"] != event["previous_status"]
    late = event["type"] in {EventType.CORRECTED, EventType.HISTORY_ADDED}
    assert (event["observed"] is not None) == late
    if before is None:
        assert event["transition"] == Transition.INITIAL
        return
    reopened = event["transition"] == Transition.REOPENED
    if before["final"] and moved:
        assert event["type"] == EventType.CORRECTED or reopened
    if reopened:
        assert before["final"]
        assert event["skipped"] == []
    if event["type"] == EventType.STATUS_CHANGED:
        assert event["transition"] not in {None, Transition.INITIAL, Transition.CORRECTION}
    else:
        assert event["transition"] == (Transition.CORRECTION if late and moved else None)
        assert event["skipped"] == []
    if event["courier"] == "dash" and event["type"] == EventType.STATUS_CHANGED:
        _check_dash_recovery(event, before)


def _check_dash_recovery(event: dict[str, Any], before: dict[str, Any]) -> None:
    """A LOGISTIC recovery comes behind a counted failure, told or found out by the raised count.

    Of EXPRESS only the word that proves it is one: the FAILED before it was taken for LOGISTIC's.
    """
    recovered = event["transition"] == Transition.RECOVERY
    if event["previous_status"] == Status.FAILED and event["status"] in {
        Status.PENDING_DELIVERY,
        Status.PENDING_PICKUP,
    }:
        assert recovered or before["final"]
    if not recovered:
        return
    if event["service"] == "express":
        assert (before["service"], event["previous_status"]) == ("logistic", Status.FAILED)
        return
    count, known = event["failed_count"], before["failed_count"]
    assert count >= 1
    told = event["previous_status"] == Status.FAILED and Status.FAILED not in event["skipped"]
    assert count >= known if told else count > known
