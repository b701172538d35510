"""An operator's decision about a shipment that an older edition of the couriers' words has shown otherwise."""

import msgspec
import pytest

from processor.core.state import Shipment
from schemas.observation import Decision, Details, Dismiss, Driver, Erase
from schemas.topics import Topic
from schemas.vocabulary import EventType
from tests.hot_parcels import START, ends, hot_records
from tests.property.driving import decoded
from tests.property.test_decisions import WHO, World, decided

NAME = "dash:HOT-1"


@pytest.fixture
def world() -> World:
    """A shipment of which a driver was shown whom today's rules do not find."""
    world = World()
    world.take(hot_records(ends, [0, 1]))
    shipment = world.shipments[NAME]
    assert shipment.snapshot is not None
    shown = msgspec.structs.replace(shipment.snapshot.details, driver=Driver(name="Budi Santoso"))
    shipment.shown = msgspec.structs.replace(shipment.snapshot, details=shown)
    return world


@pytest.mark.parametrize(
    "decision", [Erase(shipment_id=NAME, **WHO), Dismiss(shipment_id=NAME, anomaly_id="another", **WHO)]
)
def test_a_decision_leaves_nothing_shown_that_is_not_so(world: World, decision: Decision) -> None:
    made = world.take([decided(decision, START, "c1")])
    (event,) = [decoded(output.value) for output in made.outputs if output.topic is Topic.EVENTS]
    assert event["type"] == EventType.CORRECTED
    assert event["personal"]["driver"] is None
    assert shown_driver(world.shipments[NAME]) is None


def shown_driver(shipment: Shipment) -> Driver | None:
    details = shipment.shown.details if shipment.shown else Details()
    return details.driver
