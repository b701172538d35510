"""What is counted of the observations of a range: by whom a status was told, how late webhooks are, who was healed."""

from datetime import timedelta

import msgspec
import pytest

from processor.core.reading import observe
from reconcile.told import Healed, Lateness, StatusCount, Told, quantile
from schemas.events import Event
from schemas.observation import Observation
from schemas.records import Provenance
from schemas.vocabulary import Source, Status
from tests.property.driving import zone_of
from tests.strategies import START, dash_body, encoded
from tests.unit.schemas.examples import EXAMPLES


def said(word: str, source: Source = Source.PUSH, name: str = "DE-1", late: float = 0) -> Observation:
    """Return what a webhook, or an answer, of a parcel says; it came so many seconds after the event."""
    body = encoded({**dash_body(word, 0, START), "deliveryID": name})
    found = observe(body, Provenance(courier="dash", received_at=START + timedelta(seconds=late)), zone_of)
    return msgspec.structs.replace(found, source=source)


def event(status: Status, previous: Status) -> Event:
    """Return an event that moves a shipment so."""
    example = msgspec.json.decode((EXAMPLES / "shipment.events.v1.001.json").read_bytes(), type=Event)
    return msgspec.structs.replace(example, status=status, previous_status=previous)


def test_a_status_counts_as_only_pulled_until_a_webhook_tells_it() -> None:
    told = Told()
    told.add(said("VERIFIED", Source.PULL), kept=True, event=None)
    told.add(said("VERIFIED", Source.PULL, "DE-2"), kept=True, event=None)
    told.add(said("PENDING_DELIVERY", Source.PULL), kept=True, event=None)
    told.add(said("PENDING_DELIVERY"), kept=True, event=None)
    assert set(told.only_pulled()) == {"dash:DE-1", "dash:DE-2"}
    told.add_webhook(said("VERIFIED", name="DE-2"))
    assert set(told.only_pulled()) == {"dash:DE-1"}
    assert told.statuses() == (StatusCount("dash", "PENDING_DELIVERY", 1, 0), StatusCount("dash", "VERIFIED", 2, 1))


def test_what_is_not_kept_has_no_status_and_operators_words_do_not_count() -> None:
    told = Told()
    told.add(said("VERIFIED"), kept=False, event=None)
    told.add(said("VERIFIED", Source.OPERATOR), kept=True, event=None)
    assert (told.statuses(), told.lateness(), told.healed()) == ((), (), ())


def test_webhooks_are_late_by_their_own_word() -> None:
    told = Told()
    for seconds in (1, 2, 3, 4):
        told.add(said("VERIFIED", late=seconds), kept=True, event=None)
    told.add(said("VERIFIED", Source.PULL, late=99), kept=True, event=None)
    assert told.lateness() == (Lateness("dash", 4, 2.5, 3.7, 3.97),)


def test_an_answer_heals_a_shipment_that_it_moves() -> None:
    told = Told()
    moved, unmoved = event(Status.FAILED, Status.IN_DELIVERY), event(Status.FAILED, Status.FAILED)
    told.add(said("FAILED", Source.PULL), kept=True, event=moved)
    told.add(said("FAILED", Source.PULL), kept=True, event=moved)
    told.add(said("FAILED", Source.PULL, "DE-2"), kept=True, event=unmoved)
    told.add(said("FAILED", Source.PUSH, "DE-3"), kept=True, event=moved)
    assert told.healed() == (Healed("dash", 1),)


@pytest.mark.parametrize(
    ("values", "share", "found"), [([7.0], 0.9, 7.0), ([1.0, 2.0], 0.5, 1.5), ([1.0, 2.0, 3.0], 0.99, 2.98)]
)
def test_quantiles_lie_between_their_neighbours(values: list[float], share: float, found: float) -> None:
    assert quantile(values, share) == pytest.approx(found)
