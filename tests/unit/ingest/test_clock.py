"""A door whose clock is wrong: what it takes, when it finds out, what it says."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import ingest.clock
from ingest.clock import MOST_OFF, ClockGuard, guarded, is_wrong
from ingest.errors import UnavailableError
from runtime.clock import Comparison
from runtime.errors import DeniedError, SetupError, UnreachableError
from schemas.records import NewRecord
from tests.unit.ingest.doors import FakePublisher

START = datetime(2026, 11, 27, 12, tzinfo=UTC)
RECORD = NewRecord(b"k", b"v", [], 0)
HOUR = timedelta(hours=1)


class Clocks:
    """The brokers' clock, this machine's, and the steady one, moved by hand."""

    def __init__(self) -> None:
        self.passed = timedelta(0)
        self.ahead = timedelta(0)
        self.failure: SetupError | None = None
        self.asked = 0

    def now(self) -> datetime:
        return START + self.passed + self.ahead

    def steady(self) -> float:
        return self.passed.total_seconds()

    async def ask(self) -> Comparison:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return Comparison(self.now(), START + self.passed, self.now())


class Guarded:
    def __init__(self) -> None:
        self.clocks = Clocks()
        self.publisher = FakePublisher()
        self.guard = ClockGuard(self.publisher, self.clocks.ask, self.clocks.now, self.clocks.steady)

    async def takes(self) -> bool:
        before = len(self.publisher.records)
        try:
            await self.guard.publish([RECORD])
        except UnavailableError:
            assert len(self.publisher.records) == before
            return False
        return True


@pytest.fixture
def door() -> Guarded:
    return Guarded()


@given(
    st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2050, 1, 1)),  # noqa: DTZ001
    st.timedeltas(timedelta(0), timedelta(seconds=3)),
    st.timedeltas(-1000 * HOUR, 1000 * HOUR),
)
def test_how_far_ahead_is_never_overstated(before: datetime, took: timedelta, ahead: timedelta) -> None:
    """The answer was given at some moment between the two looks; the last one, for instance, or the first."""
    for moment in (before, before + took / 2, before + took):
        said = Comparison(before, moment - ahead, before + took).ahead
        assert abs(said) <= abs(ahead)
        assert abs(said - ahead) <= took
        assert said == timedelta(0) or (said > timedelta(0)) == (ahead > timedelta(0))


@pytest.mark.parametrize(
    ("ahead", "wrong"),
    [
        (timedelta(0), False),
        (MOST_OFF, False),
        (-MOST_OFF, False),
        (timedelta(minutes=30), True),
        (HOUR, True),
        (-7 * HOUR, True),
        (-timedelta(days=60), True),
    ],
)
async def test_a_clock_that_is_off_is_refused_both_ways(door: Guarded, ahead: timedelta, wrong: bool) -> None:
    door.clocks.ahead = ahead
    assert is_wrong(ahead) is wrong
    assert await door.takes() is not wrong
    assert door.guard.right is not wrong


async def test_the_first_webhook_is_not_stamped_by_a_wrong_clock(door: Guarded) -> None:
    door.clocks.ahead = -timedelta(days=60)
    assert not await door.takes()
    assert door.clocks.asked == 1


async def test_a_clock_that_jumps_is_compared_at_once_and_again_when_it_is_right(door: Guarded) -> None:
    assert await door.takes()
    door.clocks.passed += timedelta(seconds=20)
    assert await door.takes()
    assert door.clocks.asked == 1, "not with every webhook"
    with capture_logs() as logs:
        for _ in range(2):
            door.clocks.ahead = 7 * HOUR
            assert not await door.takes()
            assert not await door.takes()
            door.clocks.ahead = timedelta(0)
            assert await door.takes()
    assert door.clocks.asked == 5
    assert [(entry["event"], entry["ahead_seconds"]) for entry in logs] == [
        ("clock wrong", 25_200),
        ("clock right again", 0),
    ] * 2


async def test_many_webhooks_at_a_jump_ask_once(door: Guarded) -> None:
    door.clocks.ahead = 7 * HOUR
    assert await asyncio.gather(*(door.takes() for _ in range(50))) == [False] * 50
    assert door.clocks.asked == 1


async def test_a_clock_that_cannot_be_compared_is_taken_for_right_and_that_is_said(door: Guarded) -> None:
    door.clocks.ahead = 7 * HOUR
    door.clocks.failure = DeniedError("not for you")
    with capture_logs() as logs:
        assert await door.takes()
        door.clocks.ahead = timedelta(0)
        assert await door.takes()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("clock not compared", "warning")]
    assert "not for you" in logs[0]["reason"]


async def test_a_clock_known_to_be_wrong_is_not_right_for_the_brokers_being_away(door: Guarded) -> None:
    door.clocks.ahead = 7 * HOUR
    assert not await door.takes()
    door.clocks.failure = UnreachableError("away")
    await door.guard._compare()
    assert not await door.takes()
    door.clocks.ahead = timedelta(0)
    assert await door.takes(), "it jumped, and nobody knows where to"


async def test_the_door_opens_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.clock, "CHECK_WRONG_SECONDS", 0.01)
    clocks = Clocks()
    clocks.ahead = HOUR

    async def at_once() -> None:
        return

    async with guarded(FakePublisher(), clocks.ask, clocks.now, at_once) as guard, asyncio.timeout(10):
        while guard.right:
            await asyncio.sleep(0.01)
        clocks.ahead = timedelta(0)
        while not guard.right:
            await asyncio.sleep(0.01)
