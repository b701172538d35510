"""What operators ask for: answered once, whatever the courier says, and left where nobody can be asked now."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest

from reconcile.asking import CourierLoop
from reconcile.errors import NotNowError
from reconcile.outcomes import Answered, AskOutcome, Failed, Refused, Throttled, Unknown
from reconcile.requests import KEPT, _answer_others, answer, attend
from reconcile.store import AskRequest, DueShipment
from runtime.settings import load_settings
from tests.unit.reconcile.test_asking import SPOILT, World, due, piece
from tests.waiting import until


class Wishes(World):
    """Requests that wait, beside what there is to ask."""

    def __init__(
        self,
        outcomes: dict[str, list[AskOutcome | NotNowError]],
        moved: Iterable[str] = (),
        courier: str = "dash",
    ) -> None:
        super().__init__(outcomes, moved)
        self.courier = courier
        self.waiting = list(outcomes)
        self.taken: list[str] = []
        self.ended: dict[str, tuple[str, int, str | None]] = {}
        self.forgotten: list[datetime] = []

    async def requests(self, courier: str) -> list[AskRequest]:
        wanted = self.waiting if courier == self.courier else []
        return [AskRequest(name, f"dash:{name}") for name in wanted if name not in self.ended]

    async def one(self, shipment_id: str) -> DueShipment:
        return due(shipment_id.partition(":")[2])

    async def take_request(self, request: str, _now: datetime) -> None:
        self.taken.append(request)

    async def end_request(self, request: str, outcome: str, appended: int, detail: str | None, _now: datetime) -> None:
        assert request not in self.ended
        self.ended[request] = outcome, appended, detail

    async def forget_requests(self, before: datetime) -> None:
        self.forgotten.append(before)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Answered([piece("A")]), ("news", 1, None)),
        (Answered([]), ("no_news", 0, None)),
        (Unknown(), ("not_found", 0, None)),
        (Throttled(0.0), ("throttled", 0, None)),
        (SPOILT, ("failed", 0, "spoilt")),
        (Refused("401"), ("refused", 0, "401")),
    ],
)
async def test_a_request_is_answered_with_what_the_courier_said(outcome: AskOutcome, told: Any) -> None:
    world = Wishes({"A": [outcome] * 4})
    await answer(world.lane(), world.used)
    assert world.ended == {"A": told}
    assert world.taken == ["A"]
    await answer(world.lane(), world.used)
    assert len(world.taken) == 1


async def test_what_has_moved_is_not_asked_about() -> None:
    world = Wishes({"A": []}, moved=["A"])
    await answer(world.lane(), world.used)
    assert (world.ended, world.asked) == ({"A": ("moved", 0, None)}, [])


async def test_a_request_waits_while_nobody_can_be_asked() -> None:
    class Away(Wishes):
        async def turn(self) -> None:
            raise NotNowError("stopping")

    world = Away({"A": [], "B": []})
    await answer(world.lane(), world.used)
    assert (world.ended, world.taken) == ({}, ["A"])


async def test_a_courier_that_refuses_us_is_not_asked_again() -> None:
    world = Wishes({"A": [Refused("401")], "B": []})
    lane = world.lane()
    await answer(lane, world.used)
    assert world.ended == {"A": ("refused", 0, "401"), "B": ("refused", 0, "401")}
    assert world.asked == ["A"]


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "WAYBILL_KIRIMINAJA_API_URL and WAYBILL_KIRIMINAJA_API_KEY not set there"),
        (
            {"WAYBILL_KIRIMINAJA_API_URL": "https://x.example", "WAYBILL_KIRIMINAJA_API_KEY": "k" * 20},
            "it was started without this courier",
        ),
    ],
)
async def test_who_is_not_asked_is_told(environ: dict[str, str], why: str) -> None:
    world = Wishes({"A": []}, courier="kiriminaja")
    lane = world.lane()
    world.used = world.tools(load_settings(environ))
    await _answer_others([lane], world.used)
    assert world.ended == {"A": ("not_asked", 0, why)}
    assert len(world.forgotten) == 1
    assert KEPT.days == 30


async def test_requests_are_answered_beside_a_round_until_a_stop() -> None:
    world = Wishes({"A": [Answered([])], "B": [Failed("broken")]})
    lane: CourierLoop = world.lane()

    async def stopping() -> None:
        await until(lambda: len(world.ended) == 2)
        world.stop.set()

    await asyncio.gather(attend([lane], world.used), stopping())
    assert lane.count.asked == 0, "a round counts its own"
    assert [said for said, *_ in world.ended.values()] == ["no_news", "failed"]
