"""Who may act, and by which requests: over real HTTP, without stores behind it."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any, Final

import msgspec
import pytest

from console import actions
from console.access import contradictions
from console.actions import ACTIONS
from console.actions.action import Action, Came, Order, Plan, counted, read_order
from console.identity import FORM_COOKIE
from console.page import Asked, Context, WrongQueryError
from console.rendering import render
from operators.decisions.decide import EventSummary
from operators.shared.errors import OperatorError
from runtime.settings import load_settings
from schemas.decisions import MAX_DECIDED
from tests.hostile import HOSTILE
from tests.unit.console.consoles import USERS, Answer, Ask, console
from tests.unit.console.test_pages import FRAME, TEXTS, read
from tests.unit.console.test_requests import FILE as ACCESS
from tests.unit.console.test_requests import JSON, PROXY, session_of

WRITES: Final = {"WAYBILL_CONSOLE_WRITES": "1"}
FORM: Final = {"why": "because", "command_id": "decision-0123456789abcdef"}
QUERIES: Final = {
    "set-status": "?shipment=dash:1&status=LOST",
    "accept": "?kind=illegal_transition",
    "replay": "?all=1&partition=0&rate=5",
    **dict.fromkeys(("pause", "resume", "cancel"), "?job=replay-1"),
}
EVENT: Final = EventSummary("dash:1/2", "shipment.corrected", "LOST", "CREATED", ("dash:1/anomaly/1",))


class Trial:
    """An action in the place of a real one: it tells and does nothing, and remembers what it was told."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.acted: list[tuple[Any, str, Order]] = []

    async def look(self, _context: Context, query: Any, _asked: Asked) -> Plan:
        return Plan((f"{query}",), possible=True, event=EVENT, until="2026-11-27T12:00:00Z")

    async def act(self, _context: Context, query: Any, asked: Asked, order: Order) -> Came:
        if self.fails is not None:
            raise self.fails
        self.acted.append((query, asked.who.name, order))
        return Came(("it is done",), whole=True, event=EVENT)


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Trial:
    made = Trial()
    changed = tuple(msgspec.structs.replace(each, look=made.look, act=made.act) for each in ACTIONS)
    monkeypatch.setattr(actions, "ACTIONS", changed)
    monkeypatch.setattr("console.app.ACTIONS", changed)
    return made


def origin(ask: Ask) -> dict[str, str]:
    return {"Origin": ask.origin}  # type: ignore[attr-defined]


def fields_of(page: str) -> dict[str, str]:
    """Return what a page's form would send."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


async def form_of(ask: Ask, action: Action, headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the fields of an action's form, and the headers by which a browser sends it."""
    answer = await ask(f"{action.path}{QUERIES.get(action.name, '?shipment=dash:1')}", headers=headers)
    assert answer.status == 200
    form = answer.text[answer.text.index('<form class="act"') :]
    cookies = {"Cookie": f"{FORM_COOKIE}={answer.cookies[FORM_COOKIE].value}"} if FORM_COOKIE in answer.cookies else {}
    return fields_of(form) | {"why": "because"}, {**headers, **cookies, **origin(ask)}


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
async def test_a_console_that_only_looks_does_nothing(action: Action, trial: Trial) -> None:
    async with console() as ask:
        for answer in (await ask(action.path), await ask(action.path, "POST", data=FORM, headers=origin(ask))):
            assert (answer.status, "this console only looks" in answer.text) == (403, True)
        assert "/do/" not in (await ask("/contract")).text
    assert trial.acted == []


@pytest.mark.parametrize("name", USERS)
async def test_those_with_the_role_operator_act(name: str, trial: Trial) -> None:
    async with console(ACCESS | WRITES) as ask:
        session = await session_of(ask, name)
        for action in ACTIONS:
            query = QUERIES.get(action.name, "?shipment=dash:1")
            if "operator" in USERS[name]:
                fields, headers = await form_of(ask, action, session)
                done = await ask(action.path, "POST", data=fields, headers=headers)
                assert (done.status, "it is done" in done.text) == (200, True)
            else:
                assert (await ask(f"{action.path}{query}", headers=session)).status == 403
                refused = await ask(action.path, "POST", data=FORM, headers=session | origin(ask))
                assert (refused.status, "acting takes the role operator" in refused.text) == (403, True)
    assert {who for _, who, _ in trial.acted} == ({name} if "operator" in USERS[name] else set())
    assert {order.reason for _, _, order in trial.acted} <= {"because"}


async def test_nobody_acts_without_having_logged_in(trial: Trial) -> None:
    async with console(ACCESS | WRITES) as ask:
        for action in ACTIONS:
            assert (await ask(action.path, "POST", data=FORM, headers=origin(ask))).status == 401
            assert (await ask(action.path)).headers["Location"] == "/login"
    assert trial.acted == []


@pytest.mark.parametrize("way", ["none", "proxy", "file"])
async def test_an_action_is_sent_by_our_own_form_alone(way: str, trial: Trial) -> None:
    access = {"none": {}, "proxy": PROXY | {"WAYBILL_CONSOLE_OPERATOR_GROUPS": "staff"}, "file": ACCESS}[way]
    named = {"X-Forwarded-User": "sari", "X-Forwarded-Groups": "staff"} if way == "proxy" else {}
    async with console(access | WRITES) as ask:
        session = await session_of(ask, "budi") if way == "file" else {}
        fields, headers = await form_of(ask, ACTIONS[0], named | session)
        path = ACTIONS[0].path
        wrong: list[Answer] = [
            await ask(path, "POST", data=fields | {"token": "forged"}, headers=headers),
            await ask(path, "POST", data={k: v for k, v in fields.items() if k != "token"}, headers=headers),
            await ask(path, "POST", data=fields, headers=headers | {"Origin": "http://evil.example"}),
            await ask(path, "POST", data=fields, headers={k: v for k, v in headers.items() if k != "Origin"}),
            await ask(path, "POST", data=fields, headers=headers | {"Sec-Fetch-Site": "cross-site"}),
        ]
        other = headers | {"Cookie": f"{FORM_COOKIE}=another"}
        wrong.append(await ask(path, "POST", data=fields, headers=other))
        assert [each.status for each in wrong] == [403] * 5 + [401 if way == "file" else 403]
        assert trial.acted == []
        assert (await ask(path, "PUT", data=fields, headers=headers)).status == 405
        done = await ask(path, "POST", data=fields, headers=headers | JSON)
    assert msgspec.json.decode(done.text)["words"] == ["it is done"]
    ((query, who, order),) = trial.acted
    assert (tuple(query.kind), who, order.until) == (
        ("illegal_transition",),
        {"file": "budi"}.get(way, "sari"),
        "2026-11-27T12:00:00Z",
    )


async def test_what_cannot_be_done_is_told(trial: Trial) -> None:
    async with console(WRITES) as ask:
        fields, headers = await form_of(ask, ACTIONS[0], {})
        for changed in ({"why": " "}, {"why": "x" * (MAX_DECIDED + 1)}, {"command_id": "x"}, {"kind": "odd"}):
            assert (await ask(ACTIONS[0].path, "POST", data=fields | changed, headers=headers)).status == 400
        trial.fails = OperatorError("it is accepted: nothing is to be decided")
        refused = await ask(ACTIONS[0].path, "POST", data=fields, headers=headers | JSON)
    told = msgspec.json.decode(refused.text)
    assert (told["status"], told["title"], told["detail"]) == (409, "That cannot be done", str(trial.fails))


@pytest.mark.parametrize("command_id", ["", "decision-", "decision-XYZ", "0123456789abcdef", "decision-" + "g" * 16])
def test_a_command_id_is_one_of_a_form(command_id: str) -> None:
    with pytest.raises(WrongQueryError):
        read_order({"why": "because", "command_id": command_id})
    assert read_order(FORM) == Order("because", FORM["command_id"])


def test_whoever_asks_nobody_acts_on_this_machine_only() -> None:
    assert contradictions(load_settings(WRITES)) == []
    (told,) = contradictions(load_settings(WRITES | {"WAYBILL_CONSOLE_HOST": "0.0.0.0"}))
    assert "WAYBILL_CONSOLE_HOST must be 127.0.0.1 or ::1" in told


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("done", [True, False])
def test_every_action_is_whole_whatever_stands_in_it(text: str, done: bool) -> None:
    event = EventSummary(text, text, text, text, (text,))
    for action in ACTIONS:
        values: dict[str, Any] = {
            "action": action,
            "asked": [("shipment", text)],
            "plan": Plan((text,), possible=True, event=event, until=text),
            "came": Came((text,), whole=False, event=event) if done else None,
            "token": "t",
            "command_id": "c",
            "back": "/shipments",
            "here": "/do/accept",
        }
        page = render("action.html", FRAME, values)
        found = read(page)
        assert "script" not in found.main
        if not done:
            assert ("value", text) in found.attributes


def test_hostile_texts_come_back_as_they_were() -> None:
    page = render(
        "action.html",
        FRAME,
        {
            "action": ACTIONS[0],
            "asked": [("id", HOSTILE)],
            "plan": Plan(("x",), possible=True),
            "came": None,
            "token": "t",
            "command_id": "c",
            "back": "/",
            "here": "/do/accept",
        },
    )
    assert ("value", HOSTILE) in read(page).attributes


def test_one_is_not_said_as_many() -> None:
    said = [counted(each, "anomaly", "anomalies") for each in (0, 1, 1_000)]
    assert said == ["0 anomalies", "1 anomaly", "1,000 anomalies"]
