"""Asking a courier from the console, by requests: of what, by whom, and sent twice. PostgreSQL is stood in for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest

from console.actions.shipment import ASK
from console.database import Database
from operators.decisions.known_shipment import KnownShipment
from operators.requests import asking
from operators.shared.errors import OperatorError
from reconcile import store
from schemas.vocabulary import Service, Status
from tests.unit.console.consoles import Ask, console
from tests.unit.console.test_actions import WRITES, form_of
from tests.unit.console.test_requests import FILE as ACCESS
from tests.unit.console.test_requests import JSON, session_of

NOW: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
KNOWN: Final = KnownShipment("dash:1", "dash", None, Service.EXPRESS, Status.CREATED, 1, NOW)
STATEMENTS: Final = {text: name for queries in (asking._Q, store._Q) for name, text in queries.items()}


class Tables:
    """What the statements of asking find and write, as PostgreSQL would. `answers`: with which outcome, and at once."""

    def __init__(self, known: KnownShipment | None = KNOWN, *, runs: bool = False, answers: str | None = None) -> None:
        self.known = known
        self.runs = runs
        self.answers = answers
        self.requests: list[dict[str, Any]] = []
        self.log: list[tuple[str, str, Any]] = []
        self.waiting = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["Tables"]:
        yield self

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def fetch(self, statement: str, shipment_id: str, _most: int) -> list[dict[str, Any]]:
        assert STATEMENTS[statement] == "requests_of_shipment"
        return [each for each in reversed(self.requests) if each["shipment_id"] == shipment_id]

    async def fetchrow(self, statement: str, *values: Any) -> dict[str, Any] | None:
        if STATEMENTS[statement] == "asks_of_shipment":
            return {"asked_at": NOW, "outcome": "no_news"}
        assert STATEMENTS[statement] == "request"
        named = [each for each in self.requests if each["request"] == values[0]]
        about = [each for each in self.requests if each["shipment_id"] == values[1] and each["ended_at"] is None]
        return next(iter(named + about), None)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        match STATEMENTS[statement]:
            case "is_asking":
                return self.runs
            case "count_waiting_requests":
                return self.waiting
            case "request_ask":
                row = dict(zip(("request", "shipment_id", "operator", "reason", "requested_at"), values, strict=True))
                ended = {"taken_at": NOW, "ended_at": NOW} if self.answers else {"taken_at": None, "ended_at": None}
                self.requests.append({**row, **ended, "outcome": self.answers, "appended": 2, "detail": "it is away"})
                return values[0]
            case name:
                raise AssertionError(name)

    async def execute(self, _statement: str, operator: str, command: str, detail: str) -> None:
        self.log.append((operator, command, msgspec.json.decode(detail)))


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    made = Tables()

    async def known_shipment(_pool: Any, name: str) -> KnownShipment:
        if made.known is None:
            raise OperatorError(f"no shipment has the id, reference, order or AWB {name!r}")
        return made.known

    monkeypatch.setattr(asking, "known_shipment", known_shipment)
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(Database, "pool", made)
    return made


async def send(ask: Ask, headers: dict[str, str] | None = None, **changed: str) -> Any:
    fields, sent = await form_of(ask, ASK, headers or {})
    answer = await ask(ASK.path, "POST", data=fields | changed, headers=sent | JSON)
    return answer.status, msgspec.json.decode(answer.text)


async def plan(ask: Ask) -> Any:
    return msgspec.json.decode((await ask(f"{ASK.path}?shipment=dash:1", headers=JSON)).text)


async def test_the_plan_says_what_is_asked_of_whom_and_the_last_answer(tables: Tables) -> None:
    async with console(WRITES) as ask:
        told = await plan(ask)
    assert told["possible"]
    assert [told["words"][place] for place in (1, 3, 4)] == [
        "dash would be asked what it knows of 1",
        "it was last asked at 2026-11-27T12:00:00.000000Z: no news",
        "no `waybill reconcile` runs: it waits until one does",
    ]
    assert (tables.requests, tables.log) == ([], [])


async def test_without_a_service_it_waits_and_says_so(tables: Tables) -> None:
    async with console(WRITES) as ask:
        status, told = await send(ask)
        assert (status, told["whole"]) == (200, False)
        assert "no `waybill reconcile` runs" in told["words"][0]
        again = await plan(ask)
    assert not again["possible"]
    assert "sari asked for it" in again["words"][-2]
    ((operator, command, detail),) = tables.log
    assert (operator, command, detail["shipment_id"], detail["reason"]) == ("sari", "shipment ask", "dash:1", "because")


@pytest.mark.parametrize(("outcome", "said"), [("news", "2 records"), ("failed", "it is away"), ("moved", "an event")])
async def test_the_answer_is_told(outcome: str, said: str, tables: Tables) -> None:
    tables.runs, tables.answers = True, outcome
    async with console(WRITES) as ask:
        status, told = await send(ask)
    assert (status, told["whole"], said in told["words"][0]) == (200, True, True)


async def test_a_form_sent_twice_asks_once(tables: Tables) -> None:
    async with console(WRITES) as ask:
        fields, headers = await form_of(ask, ASK, {})
        other, _ = await form_of(ask, ASK, headers)
        sent = [ask(ASK.path, "POST", data=form, headers=headers) for form in (fields, fields, fields)]
        assert [each.status for each in await asyncio.gather(*sent)] == [200] * 3
        # another form, loaded before: the request that waits stands for both
        later = await ask(ASK.path, "POST", data=other, headers=headers)
    assert (len(tables.requests), len(tables.log), later.status) == (1, 1, 200)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"retired_at": NOW}, "was archived"),
        ({"status": None}, "has no status yet"),
        ({"courier": "jet"}, "no courier that this version knows"),
        (None, "no shipment has the id"),
    ],
)
async def test_what_cannot_be_asked_is_told(changed: dict[str, Any] | None, why: str, tables: Tables) -> None:
    async with console(WRITES) as ask:
        fields, headers = await form_of(ask, ASK, {})
        tables.known = None if changed is None else msgspec.structs.replace(KNOWN, **changed)
        looked = await ask(f"{ASK.path}?shipment=dash:1", headers=JSON)
        done = await ask(ASK.path, "POST", data=fields, headers=headers | JSON)
    assert (looked.status, why in looked.text) == (404, True)
    assert (done.status, why in done.text) == (409, True)
    assert (tables.requests, tables.log) == ([], [])


async def test_a_courier_without_an_api_is_not_asked(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "COURIERS", {"dash": SimpleNamespace(tracking=None)})
    async with console(WRITES) as ask:
        answer = await ask(f"{ASK.path}?shipment=dash:1")
    assert (answer.status, "dash has no API that can be asked" in answer.text) == (404, True)
    assert tables.requests == []


async def test_an_erased_shipment_is_asked_about_and_that_is_said(tables: Tables) -> None:
    tables.known = msgspec.structs.replace(KNOWN, erased_at=NOW)
    async with console(WRITES) as ask:
        told = await plan(ask)
        assert "its personal data was erased" in told["words"][1]
        assert (await send(ask))[0] == 200
    assert len(tables.requests) == 1


async def test_requests_are_bounded(tables: Tables) -> None:
    tables.waiting = asking.MOST_WAITING
    async with console(WRITES) as ask:
        status, told = await send(ask)
    assert (status, "wait already" in told["detail"]) == (409, True)
    assert tables.log == []


async def test_it_takes_the_role_and_the_form(tables: Tables) -> None:
    async with console(ACCESS | WRITES) as ask:
        viewer, operator = await session_of(ask, "ani"), await session_of(ask, "budi")
        assert (await ask(f"{ASK.path}?shipment=dash:1", headers=viewer)).status == 403
        fields, headers = await form_of(ask, ASK, operator)
        for wrong in (headers | viewer, headers | {"Origin": "null"}, headers | {"Sec-Fetch-Site": "same-site"}):
            assert (await ask(ASK.path, "POST", data=fields, headers=wrong)).status == 403
        assert (await ask(ASK.path, "POST", data=fields | {"token": "x"}, headers=headers)).status == 403
        assert tables.requests == []
        assert (await ask(ASK.path, "POST", data=fields, headers=headers)).status == 200
    ((name, *_),) = tables.log
    assert name == "budi"
