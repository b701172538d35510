"""Make-believe traffic: what it consists of, that it stays bounded, and what becomes of it at a door that refuses."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from cli.demo import traffic as demo
from cli.demo.audience import SHOWN, Audience
from cli.demo.traffic import Sender
from cli.main import main
from devstack.couriers import traffic as simulated
from devstack.couriers.sending import attempts_of
from devstack.couriers.traffic import Traffic
from devstack.couriers.webhooks import Webhook
from schemas.couriers import COURIERS
from schemas.events import Event
from schemas.topics import Topic
from schemas.vocabulary import Outcome
from tests.field import Played
from tests.unit.ingest.doors import CREDENTIALS, FakePublisher, running_door
from tests.unit.schemas.examples import EXAMPLES
from tests.waiting import DEADLINE

NOW = datetime(2026, 11, 27, tzinfo=UTC)
RATE = 5


def webhooks(count: int, seed: int = 7) -> list[Webhook]:
    made = Traffic(seed, RATE)
    return [made.next(NOW + timedelta(seconds=place / RATE)) for place in range(count)]


def test_the_same_seed_gives_the_same_webhooks() -> None:
    assert webhooks(200) == webhooks(200)
    assert webhooks(200) != webhooks(200, seed=8)


def test_it_makes_events_of_every_courier_and_misbehaves() -> None:
    """Repeats and late webhooks come, and nothing that cannot be read."""
    sent = webhooks(1_500)
    played = Played()
    for place, webhook in enumerate(sent):
        played.pushed(webhook.courier, webhook.body, NOW + timedelta(seconds=(place + 1) / RATE))
    assert {webhook.courier for webhook in sent} == set(COURIERS)
    assert played.dead == []
    assert played.outcomes[Outcome.EVENT] > 1_300
    assert played.outcomes[Outcome.DUPLICATE] > 15
    kinds = Counter(event["type"] for told in played.events.values() for event in told)
    assert kinds["shipment.history_added"] + kinds["shipment.corrected"] > 3
    ended = Counter(state["final"] for state in played.states.values())
    assert ended[True] > ended[False] > 0


def test_lives_end_and_no_more_are_kept_than_are_under_way() -> None:
    made = Traffic(7, RATE)
    most = RATE * simulated.SECONDS_BETWEEN_MOVES
    sizes = []
    for place in range(5_000):
        made.next(NOW + timedelta(seconds=place / RATE))
        sizes.append(made.size)
    assert max(sizes[2_500:]) <= 1.5 * most
    assert Traffic(7, 1_000_000)._most == simulated.MOST_OPEN


def test_times_lie_behind_each_other_however_fast_it_goes() -> None:
    """All at one moment: couriers write whole seconds, so a parcel's moves are a second apart."""
    made = Traffic(7, 1)
    bodies = [msgspec.json.decode(made.next(NOW).body) for _ in range(400)]
    played = Played()
    for body in bodies:
        played.pushed("dash" if "deliveryID" in body else "kiriminaja", msgspec.json.encode(body), NOW)
    assert [each["kind"] for each in played.anomalies] == []


# ---- through a door --------------------------------------------------------------------------------------------------


async def until(sender: Sender, rate: int, enough: Any) -> None:
    """Send until enough was done."""
    task = asyncio.create_task(sender.run(rate))
    try:
        async with asyncio.timeout(DEADLINE):
            while not enough() and not task.done():
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert enough(), sender.counts


def sender_for(url: str, told: list[str], retry_seconds: float = 0.02) -> Sender:
    return Sender(url, CREDENTIALS, Traffic(7, RATE), told.append, retry_seconds=retry_seconds)


async def test_it_goes_through_the_door() -> None:
    publisher, told = FakePublisher(), list[str]()
    async with running_door(publisher) as door:
        sender = sender_for(door.url(""), told)
        await until(sender, 1_000, lambda: sender.counts["accepted"] >= 100)
    assert (sender.counts["refused"], told) == (0, [])
    assert len(publisher.records) >= 100


async def test_what_is_refused_is_told_and_sent_again_as_couriers_do() -> None:
    publisher, told = FakePublisher(), list[str]()
    publisher.available = False
    async with running_door(publisher) as door:
        sender = sender_for(door.url(""), told)
        await until(sender, 1_000, lambda: sender.counts["lost"] >= 20 and sender.counts["sent again"] >= 20)
        assert (sender.counts["accepted"], publisher.records) == (0, [])
        publisher.available = True
        await until(sender, 1_000, lambda: sender.counts["accepted"] >= 20)
    assert "× 503" in told[0]
    assert {attempts_of(courier) for courier in COURIERS} == {1, 3}


async def test_a_door_that_is_away_is_told_and_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MOST_WAITING", 5)
    told = list[str]()
    sender = sender_for("http://127.0.0.1:9", told, retry_seconds=1e6)
    await until(sender, 1_000, lambda: sender.counts["refused"] >= 50)
    assert "× no answer" in told[0]
    assert (len(sender._waiting), sender.counts["lost"] >= 45) == (5, True)


@pytest.mark.parametrize("rate", ["0", "1001", "-1", "1.5", "many"])
def test_a_rate_that_cannot_be(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["up", f"--traffic={rate}"])
    assert left.value.code == 2
    assert "is not a whole number from 1 to 1000" in capsys.readouterr().err


def test_traffic_has_no_end_and_once_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["up", "--once", "--traffic", "5"])
    assert left.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


class Watched:
    """Counts what is shown."""

    def __init__(self) -> None:
        self.shown = self.omitted = 0

    def event(self, event: Event) -> None:
        self.shown += 1

    def left_out(self, count: int) -> None:
        self.omitted += count


def test_nothing_is_kept_and_no_flood_is_shown_once_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr("cli.demo.audience.time.monotonic", lambda: seconds[0])
    live: Any = Watched()
    viewers = Audience(None, live)
    value = (EXAMPLES / "shipment.events.v1.001.json").read_bytes()
    for _ in range(SHOWN + 10):
        viewers._take(Topic.EVENTS, value)
    assert (live.shown, len(viewers.seen)) == (SHOWN + 10, 1)
    viewers.relax()
    for _ in range(SHOWN + 10):
        viewers._take(Topic.EVENTS, value)
    seconds[0] += 1
    viewers._take(Topic.EVENTS, value)
    assert (live.shown, live.omitted, viewers.seen) == (2 * SHOWN + 11, 10, {})
