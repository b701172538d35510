"""How one courier's shipments are asked about: tried again, claimed once, given up when it makes no sense."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from reconcile import waiting
from reconcile.asking import OVERLAP, AskingContext, CourierLoop
from reconcile.errors import NotNowError
from reconcile.outcomes import Answered, AskOutcome, Count, Failed, Refused, Throttled, Unknown
from reconcile.store import LONG_AGO, DueShipment
from reconcile.waiting import ATTEMPTS, Standing
from runtime.metrics import AskResult, ReconcileMetrics, new_registry
from runtime.settings import Settings, load_settings
from schemas.couriers import COURIERS
from schemas.couriers.base import WebhookItem
from schemas.observation import Observation
from schemas.records import NewRecord, Provenance, read_provenance
from schemas.vocabulary import Source

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BROKEN = Failed("broken", again=True)
SPOILT = Failed("spoilt")


def due(name: str) -> DueShipment:
    return DueShipment(
        shipment_id=f"dash:{name}",
        courier="dash",
        reference=name,
        status="CREATED",
        silent_since=NOW,
        asked_at=None,
        standing=Standing(),
    )


def piece(name: str, word: str = "COMPLETED") -> WebhookItem:
    return WebhookItem(f'{{"deliveryID":"{name}","status":"{word}","updatedAt":"2026-10-01T00:00:00Z"}}'.encode(), name)


class World:
    """The courier, its line, the database and Kafka, scripted and remembering."""

    def __init__(self, outcomes: dict[str, list[AskOutcome | NotNowError]], moved: Iterable[str] = ()) -> None:
        self.outcomes = outcomes
        self.moved = set(moved)
        self.in_the_way: list[Throttled | Failed | Refused] = []
        self.asked: list[str] = []
        self.turns = 0
        self.claims: Counter[str] = Counter()
        self.notes: list[tuple[str, AskResult]] = []
        self.appended: list[NewRecord] = []
        self.known_observations: list[Observation] = []
        self.looked_back_to: list[datetime] = []

    # the API
    async def prepare(self) -> Throttled | Failed | Refused | None:
        return self.in_the_way.pop(0) if self.in_the_way else None

    async def ask(self, reference: str) -> AskOutcome:
        self.asked.append(reference)
        outcome = self.outcomes[reference].pop(0)
        if isinstance(outcome, NotNowError):
            raise outcome
        return outcome

    # the line
    async def turn(self) -> None:
        self.turns += 1

    def give_back(self) -> None:
        self.turns -= 1

    # the ledger
    async def claim(self, due: DueShipment, _now: datetime) -> bool:
        assert due.reference not in self.asked, "it is claimed before the first request"
        self.claims[due.reference] += 1
        return due.reference not in self.moved

    async def note(self, due: DueShipment, said: AskResult, _now: datetime) -> None:
        self.notes.append((due.reference, said))

    # the store and the appender
    async def known(self, _shipment_id: str) -> list[Observation]:
        return self.known_observations

    async def append(self, records: Iterable[NewRecord]) -> None:
        self.appended += records

    async def due(self, courier: str, _now: datetime, since: datetime) -> AsyncGenerator[DueShipment, None]:
        assert courier == "dash"
        self.looked_back_to.append(since)
        for name in self.outcomes:
            yield due(name)

    def tools(self, settings: Settings) -> AskingContext:
        world = cast("Any", self)
        self.stop = asyncio.Event()
        self.used = AskingContext(settings, world, world, world, ReconcileMetrics(new_registry()), self.stop)
        return self.used

    def lane(self) -> CourierLoop:
        world = cast("Any", self)
        return CourierLoop("dash", world, world, self.tools(load_settings({"WAYBILL_RECONCILE_RATE": "1"})))

    async def run(self) -> CourierLoop:
        lane = self.lane()

        async def dues() -> AsyncGenerator[DueShipment, None]:
            for name in self.outcomes:
                yield due(name)

        await lane.run(dues(), lambda: None)
        return lane


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_DELAY", 0.001)


@pytest.mark.parametrize(
    ("outcome", "said", "appended"),
    [
        (Answered([piece("a", "FAILED"), piece("a")]), AskResult.NEWS, 2),
        (Answered([piece("a"), piece("a")]), AskResult.NEWS, 1),
        (Answered([]), AskResult.NO_NEWS, 0),
        (Unknown(), AskResult.NOT_FOUND, 0),
        (SPOILT, AskResult.FAILED, 0),
        (Refused("no"), AskResult.REFUSED, 0),
    ],
)
async def test_each_outcome_is_noted_once(outcome: AskOutcome, said: AskResult, appended: int) -> None:
    world = World({"a": [outcome]})
    lane = await world.run()
    assert world.notes == [("a", said)]
    assert lane.count == Count().plus(said, appended)
    assert len(world.appended) == appended
    for number, record in enumerate(world.appended, start=1):
        provenance = read_provenance(record.headers, record.timestamp_ms)
        assert record.key == b"dash:a"
        assert (provenance.source, provenance.courier, provenance.item) == (Source.PULL, "dash", number)
        assert provenance.webhook_id
        assert record.timestamp_ms == int(provenance.received_at.timestamp() * 1000)


async def test_what_is_known_is_not_appended() -> None:
    provenance = Provenance(courier="dash", received_at=NOW)
    world = World({"a": [Answered([piece("a")])]})
    world.known_observations = [COURIERS["dash"].read(piece("a").value, provenance, UTC)]
    await world.run()
    assert world.notes == [("a", AskResult.NO_NEWS)]


@pytest.mark.parametrize("outcome", [BROKEN, Throttled(), Throttled(0.0), Failed("away", again=True, hold=0.0)])
async def test_what_may_help_is_tried_again_and_claimed_once(outcome: AskOutcome) -> None:
    world = World({"a": [outcome, outcome, Unknown()], "b": [outcome] * ATTEMPTS})
    lane = await world.run()
    assert world.asked == ["a"] * 3 + ["b"] * ATTEMPTS
    assert world.claims == {"a": 1, "b": 1}
    assert world.turns == len(world.asked)
    assert [name for name, _ in world.notes] == ["a", "b"]
    assert (lane.count.asked, lane.count.not_found, lane.count.failed + lane.count.throttled) == (2, 1, 1)


async def test_what_moved_meanwhile_is_left_alone() -> None:
    world = World({"a": [Unknown()], "b": [Unknown()]}, moved=["a"])
    lane = await world.run()
    assert world.asked == ["b"]
    assert world.turns == 1
    assert lane.count.asked == 1


async def test_a_refusal_ends_it_for_good() -> None:
    world = World({"a": [Unknown()], "b": [Refused("wrong key")], "c": [Unknown()]})
    lane = await world.run()
    assert world.asked == ["a", "b"]
    assert lane.refused == lane.given_up == "wrong key"


async def test_a_refused_sign_in_claims_nobody() -> None:
    world = World({"a": [Unknown()], "b": [Unknown()]})
    world.in_the_way = [Refused("wrong key")]
    lane = await world.run()
    assert (world.asked, world.claims, world.notes) == ([], {}, [])
    assert lane.count.refused == 1


async def test_a_sign_in_that_fails_is_tried_again() -> None:
    world = World({"a": [Unknown()]})
    world.in_the_way = [BROKEN, BROKEN]
    await world.run()
    assert world.notes == [("a", AskResult.NOT_FOUND)]


async def test_a_courier_that_wants_to_be_left_alone_is_given_up() -> None:
    world = World({"a": [Throttled(), NotNowError("not now")], "b": [Unknown()]})
    lane = await world.run()
    assert world.notes == [("a", AskResult.THROTTLED)], "what was claimed is noted"
    assert lane.given_up == "not now"
    assert lane.refused is None


async def test_a_round_looks_only_at_who_fell_silent_since_the_one_before() -> None:
    world = World({"A": [Unknown()]})
    lane = world.lane()
    await lane.round(NOW, lambda: None)
    world.outcomes = {}
    await lane.round(NOW + timedelta(hours=1), lambda: None)
    silent_before = NOW - load_settings({}).reconcile_stale_after
    assert world.looked_back_to == [LONG_AGO, silent_before - OVERLAP]


@pytest.mark.parametrize("why", ["refused", "stopped"])
async def test_a_round_that_was_not_whole_is_made_up_for(why: str) -> None:
    world = World({"A": [Refused("401") if why == "refused" else Unknown()]})
    lane = world.lane()
    if why == "stopped":
        world.stop.set()
    await lane.round(NOW, lambda: None)
    assert lane.since == LONG_AGO
