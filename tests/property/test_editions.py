"""What an older edition has shown: the next event goes on from there, and a replay brings all to today's truth."""

from collections.abc import Mapping, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from processor.core.fold import Snapshot
from processor.core.plan import Plan, Planner
from processor.core.state import Shipment
from schemas.events import Event
from schemas.topics import Topic
from schemas.vocabulary import EventType, Status, Transition
from tests.property.driving import (
    NOW,
    RAW_TOPIC,
    plan_in_batches,
    planned_both_ways,
    readings_of,
    refolded,
    roots_of,
    snapshots,
)
from tests.property.driving import observations_of as observed
from tests.property.test_plan import logs
from tests.property.test_replay import after, again


def of_the_older_edition(plans: Sequence[Plan], shown: Mapping[str, Snapshot | None]) -> dict[str, Shipment]:
    """Return the shipments as read back from rows that an older edition wrote, which showed something else."""
    rows = [
        msgspec.structs.replace(row, observation=msgspec.structs.replace(row.observation, edition=1))
        for made in plans
        for row in made.observations
        if row.stored
    ]
    shipments = {name: refolded(shipment, rows) for name, shipment in after(plans).items()}
    for name, shipment in shipments.items():
        shipment.shown = shown[name]
    return shipments


@st.composite
def showing(draw: st.DrawFn, plans: Sequence[Plan]) -> dict[str, Snapshot | None]:
    """Draw what was shown of each shipment: today's snapshot, one of another status, or nothing yet."""
    found: dict[str, Snapshot | None] = {}
    for name, shipment in sorted(after(plans).items()):
        found[name] = shipment.snapshot
        if shipment.snapshot is not None and draw(st.booleans()):
            status = draw(st.sampled_from(Status))
            found[name] = msgspec.structs.replace(shipment.snapshot, status=status, courier_status="older")
        elif draw(st.integers(0, 4)) == 0:
            found[name] = None
    return found


@given(data=st.data())
def test_events_go_on_from_what_was_shown_and_a_replay_brings_todays_truth(data: st.DataObject) -> None:
    log = data.draw(logs(), "log")
    cut = data.draw(st.integers(0, len(log)), "cut")
    plans = plan_in_batches(readings_of(log[:cut]), [])
    shown = data.draw(showing(plans), "shown")
    shipments = of_the_older_edition(plans, shown)
    plans.append(Planner(shipments, RAW_TOPIC, NOW).add_all(readings_of(log[cut:])))
    shipments.update(plans[-1].shipments)
    order = data.draw(st.permutations(log), "order")
    plans.append(planned_both_ways(shipments, roots_of(plans, shipments), again(log, order)))
    shipments.update(plans[-1].shipments)

    events = [output.event for made in plans[-2:] for output in made.outputs if output.topic is Topic.EVENTS]
    last: dict[str, Status | None] = {name: each.status if each else None for name, each in shown.items()}
    for event in events:
        assert event is not None
        assert_goes_on(event, last.get(event.shipment_id))
        last[event.shipment_id] = event.status
    truth = {name: each for name, each in snapshots(observed(log)).items() if each}
    assert {name: each.shown for name, each in shipments.items() if each.shown} == truth

    second = planned_both_ways(shipments, roots_of(plans, shipments), again(log, log, "second"))
    assert not second.outputs
    assert not [row for row in second.observations if row.stored]


def assert_goes_on(event: Event, shown: Status | None) -> None:
    assert event.previous_status == shown
    assert (event.transition is Transition.INITIAL) is (shown is None)
    if event.type in {EventType.UPDATED, EventType.HISTORY_ADDED}:
        assert event.status is shown
