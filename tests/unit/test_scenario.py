"""The bundled stories: what they promise is what the pure core makes of them, and the check can tell."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import msgspec
import pytest

from cli.demo.healing import life_of
from cli.demo.scenario import Play, Seen, Story, differences, everything_came, load_stories, play
from devstack.couriers.kiriminaja import tracking
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from schemas.couriers import COURIERS
from schemas.couriers.base import NotFound, WebhookItem
from schemas.couriers.pulling import news
from schemas.events import Anomaly, Event
from schemas.partitioning import partition_of
from schemas.records import Provenance, RawRecord
from schemas.shipment_ids import shipment_id
from schemas.topics import Topic
from schemas.vocabulary import EventType, Outcome, Source, Transition
from tests.unit.schemas.reading import answered

NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
STORIES = load_stories()


def zone_of(courier: str, source: Source) -> tzinfo:
    return ZoneInfo(COURIERS[courier].zone_settings.get(source, ("", "UTC"))[1])


class Performance(msgspec.Struct):
    """What the pure core made of a play."""

    seen: dict[str, Seen] = {}
    outcomes: list[Outcome] = []
    dead_letters: int = 0


def perform(scenario: Play, account: str | None = None) -> Performance:
    """Take every webhook as the door and the processor do, without either."""
    stage = Stage()
    for place, webhook in enumerate(scenario.webhooks):
        courier = COURIERS[webhook.story.courier]
        pieces = courier.split(webhook.body)
        for item, piece in enumerate(pieces, start=1):
            received_at = NOW + timedelta(seconds=place)
            provenance = Provenance(
                courier=courier.name, received_at=received_at, account=account, item=item, items=len(pieces)
            )
            stage.take(piece, provenance)
    for healing in scenario.healings:
        courier = COURIERS[healing.story.courier]
        answer = answered(courier.name, msgspec.json.encode(tracking(life_of(healing))), healing.reference)
        assert not isinstance(answer, NotFound)
        received_at = NOW + timedelta(seconds=len(scenario.webhooks))
        asked = Provenance(courier=courier.name, received_at=received_at, account=account, source=Source.PULL)
        known = stage.shipments[healing.shipment_id].records.values()
        for piece, provenance in news(courier, answer, known, asked, zone_of(courier.name, Source.PULL)):
            stage.take(piece, provenance)
    return stage.performance


class Stage:
    """The pure core, fed with one record after the other."""

    def __init__(self) -> None:
        self.performance = Performance()
        self.shipments = dict[str, Shipment]()
        self._offset = 0

    def take(self, piece: WebhookItem, provenance: Provenance) -> None:
        assert piece.reference is not None
        key = shipment_id(provenance.courier, provenance.account, piece.reference).encode()
        record = RawRecord(partition_of(key, 4), self._offset, key, piece.value, tuple(provenance.headers()), 0)
        self._offset += 1
        made = Planner(self.shipments, "raw", provenance.received_at).add_all([read(record, zone_of, 4)])
        self.shipments |= made.shipments
        self.performance.outcomes += [row.outcome for row in made.observations]
        self.performance.dead_letters += len(made.dead_letters)
        for output in made.outputs:
            seen = self.performance.seen.setdefault(output.shipment_id or "", Seen())
            if output.topic is Topic.EVENTS:
                seen.events.append(msgspec.json.decode(output.value or b"", type=Event))
            elif output.topic is Topic.ANOMALIES:
                seen.anomalies.append(msgspec.json.decode(output.value or b"", type=Anomaly))


@pytest.mark.parametrize("account", [None, "shop-1"])
def test_the_pure_core_makes_of_the_stories_what_they_promise(account: str | None) -> None:
    scenario = play(STORIES, "t3st", NOW, account)
    performance = perform(scenario, account)
    assert differences(scenario.expected, performance.seen) == ()
    assert everything_came(scenario.expected, performance.seen)
    assert set(performance.seen) == set(scenario.expected)
    assert performance.dead_letters == 0
    assert performance.outcomes.count(Outcome.DUPLICATE) == 1
    assert performance.outcomes.count(Outcome.ANOMALY) == 1
    assert performance.outcomes.count(Outcome.UNCHANGED) == 0


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_each_story_alone_keeps_its_promise(story: Story) -> None:
    scenario = play([story], "t3st", NOW, None)
    assert differences(scenario.expected, perform(scenario).seen) == ()


def test_the_last_webhook_of_every_shipment_gives_an_event() -> None:
    """Else what must not appear could appear behind what is waited for."""
    for story in STORIES:
        last: dict[str, bool] = {}
        for delivery in story.deliveries:
            named = {event.shipment or story.shipment or "" for event in delivery.events}
            for reference in named or {story.shipment or ""}:
                last[reference] = bool(delivery.events)
        assert all(last.values()), story.title


def test_the_stories_show_what_they_should() -> None:
    events = [event for story in STORIES for delivery in story.deliveries for event in delivery.events]
    assert {event.transition for event in events} == {*Transition, None} - {Transition.CORRECTION}
    assert EventType.HISTORY_ADDED in {event.type for event in events}
    assert any(event.skipped for event in events)
    assert {story.courier for story in STORIES} >= {"dash", "kiriminaja"}


def test_every_time_lies_in_the_past_and_every_run_has_shipments_of_its_own() -> None:
    one, other = (play(STORIES, run, NOW, None) for run in ("aaaa", "bbbb"))
    assert not set(one.expected) & set(other.expected)
    for seen in perform(one).seen.values():
        for event in seen.events:
            assert event.occurred_at <= event.received_at


def test_webhooks_of_different_shipments_are_interleaved_and_each_story_keeps_its_order() -> None:
    scenario = play(STORIES, "t3st", NOW, None)
    titles = [webhook.story.title for webhook in scenario.webhooks]
    assert len(set(titles[: len(STORIES)])) > len(STORIES) // 2
    for story in STORIES:
        alone = [webhook.body for webhook in play([story], "t3st", NOW, None).webhooks]
        assert [webhook.body for webhook in scenario.webhooks if webhook.story is story] == alone


def cancelled() -> tuple[Play, dict[str, Seen]]:
    story = next(story for story in STORIES if "cancelled before" in story.title)
    scenario = play([story], "t3st", NOW, None)
    return scenario, perform(scenario).seen


def test_a_missing_event_is_told() -> None:
    scenario, seen = cancelled()
    ((name, shipment),) = seen.items()
    shipment.events.pop()
    assert not everything_came(scenario.expected, seen)
    assert [str(difference) for difference in differences(scenario.expected, seen)] == [
        f"{name}: missing: event 3, shipment.status_changed PENDING_PICKUP → CANCELLED (forward, attempt 1)"
    ]
    assert len(differences(scenario.expected, {})) == 3


def test_an_unexpected_event_is_told() -> None:
    scenario, seen = cancelled()
    ((name, shipment),) = seen.items()
    shipment.events.append(shipment.events[-1])
    assert [str(difference) for difference in differences(scenario.expected, seen)] == [
        f"{name}: unexpected: event 4, shipment.status_changed PENDING_PICKUP → CANCELLED (forward, attempt 1)"
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"type": EventType.UPDATED},
        {"status": "DELIVERED"},
        {"previous_status": None},
        {"transition": Transition.RETURN},
        {"attempt": 2},
        {"skipped": ("PICKING_UP",)},
        {"version": 7},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_event_that_says_something_else_is_told(change: dict[str, object]) -> None:
    scenario, seen = cancelled()
    (shipment,) = seen.values()
    shipment.events[1] = msgspec.structs.replace(shipment.events[1], **change)
    (difference,) = differences(scenario.expected, seen)
    assert difference.text.startswith("event 2 should ")


def test_anomalies_are_compared() -> None:
    story = next(story for story in STORIES if "too late" in story.title)
    scenario = play([story], "t3st", NOW, None)
    seen = perform(scenario).seen
    (shipment,) = seen.values()
    (anomaly,) = shipment.anomalies
    shipment.anomalies.append(anomaly)
    assert "unexpected: anomaly illegal_transition" in str(differences(scenario.expected, seen))
    shipment.anomalies[:] = [msgspec.structs.replace(anomaly, status=None)]
    assert "should be anomaly illegal_transition at PENDING_DELIVERY" in str(differences(scenario.expected, seen))
    shipment.anomalies.clear()
    assert "missing: anomaly illegal_transition" in str(differences(scenario.expected, seen))
    assert not everything_came(scenario.expected, seen)
