"""What somebody sends who means no good, by each way of access: over real HTTP, also by bytes that no client sends."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest

from console import app as module
from console.actions import ACTIONS
from console.identity import FORM_COOKIE, SESSION_COOKIE
from console.pages import PAGES
from console.users import Users
from tests.unit.console.consoles import FILE as LINES
from tests.unit.console.consoles import HASH, USERS, Answer, Ask, console, context_of
from tests.unit.console.test_actions import FORM, QUERIES, WRITES, Trial, form_of, origin, trial  # noqa: F401 - a fixture
from tests.unit.console.test_requests import FILE, JSON, LOOKS, PROXY, session_of
from tests.waiting import until

GROUPS: Final = PROXY | {"WAYBILL_CONSOLE_OPERATOR_GROUPS": "mends"}
NAMED: Final = {
    "viewer": {"X-Forwarded-User": "ani", "X-Forwarded-Groups": "staff"},
    "operator": {"X-Forwarded-User": "budi", "X-Forwarded-Groups": "mends"},
    "personal": {"X-Forwarded-User": "citra", "X-Forwarded-Groups": "leads"},
    "stranger": {"X-Forwarded-User": "joko", "X-Forwarded-Groups": "others, , staff2"},
    "nobody": {},
}
"""By proxy: who comes, as which role."""


async def raw(ask: Ask, text: bytes, *, whole: bool = True) -> bytes:
    """Send bytes as they are, and return what is answered: the `whole`, until the connection ends, or its head."""
    parts = urlsplit(ask.origin)  # type: ignore[attr-defined]
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(text)
        return await asyncio.wait_for(reader.read() if whole else reader.readuntil(b"\r\n\r\n"), 10)
    finally:
        writer.close()


@pytest.mark.parametrize("role", NAMED)
async def test_every_page_and_action_by_every_role_of_a_proxy(role: str, trial: Trial) -> None:  # noqa: F811
    known, headers = role not in {"stranger", "nobody"}, NAMED[role]
    async with console(GROUPS | WRITES) as ask:
        for page in PAGES:
            answer = await ask(page.path.replace("{name}", "1:2"), headers=headers)
            assert (answer.status in {200, 503}) is known, page.name
            assert (answer.status == 403) is not known, page.name
        for path in LOOKS:
            assert (await ask(path, headers=headers)).status == (503 if role == "personal" else 403)
        for action in ACTIONS:
            looked = await ask(f"{action.path}{QUERIES.get(action.name, '?shipment=dash:1')}", headers=headers)
            assert looked.status == (200 if role == "operator" else 403)
            done = await ask(action.path, "POST", data=FORM, headers=headers | origin(ask))
            assert done.status == 403
    assert trial.acted == []


@pytest.mark.parametrize("way", ["none", "proxy", "file"])
async def test_a_form_is_taken_by_its_own_way_alone(way: str, trial: Trial) -> None:  # noqa: F811
    environ = {"none": {}, "proxy": GROUPS, "file": FILE}[way]
    action = ACTIONS[0]
    async with console(environ | WRITES) as ask:
        who = {"none": {}, "proxy": NAMED["operator"], "file": await session_of(ask, "budi") if way == "file" else {}}
        fields, headers = await form_of(ask, action, who[way])
        for changed in (
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": ask.origin.replace("127.0.0.1", "localhost")},  # type: ignore[attr-defined]
            {"Origin": ask.origin + ".evil.example"},  # type: ignore[attr-defined]
            {"Origin": ask.origin, "Sec-Fetch-Site": "same-site"},  # type: ignore[attr-defined]
            {"Host": "evil.example"},
        ):
            assert (await ask(action.path, "POST", data=fields, headers=headers | changed)).status == 403
        twice = [*headers.items(), ("Origin", "http://evil.example")]
        assert (await ask(action.path, "POST", data=fields, headers=twice)).status in {200, 400, 403}
        # a method by another name is no method
        for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
            looked = await ask(f"{action.path}?kind=too_deep&_method=POST", headers=who[way] | {name: "POST"})
            assert looked.status in {200, 400}
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert (await ask(action.path, method, data=fields, headers=headers)).status == 405
        # the query is not the form
        query = "&".join(f"{name}={value}" for name, value in fields.items() if name in {"token", "command_id", "why"})
        assert (await ask(f"{action.path}?{query}", "POST", headers=headers)).status == 403
        assert (await ask(action.path, "POST", json=fields, headers=headers)).status == 403
    assert len(trial.acted) <= 1


@pytest.mark.parametrize(
    "path",
    [
        "/shipments/../static/console.css",
        "/static//etc/passwd",
        "/static/..%2f..%2fapp.py",
        "/static/%00",
        "//evil.example/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/do/accept/",
        "/DO/accept",
        "/do/accept;x",
        "/login",
    ],
)
async def test_odd_addresses_lead_nowhere(path: str) -> None:
    async with console(WRITES) as ask:
        answer = await raw(ask, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    status = int(answer.split(b" ", 2)[1])
    assert status in {400, 404} or b"Location: /" in answer or path.startswith("/shipments"), answer[:200]
    assert b"evil.example" not in answer.partition(b"\r\n\r\n")[0]


async def test_where_a_search_leads_is_ours() -> None:
    async with console() as ask:
        for name in ("//evil.example", "/\\evil.example", "dash:%0d%0aSet-Cookie:x=1"):
            answer = await ask(f"/shipments?q={name}")
            assert answer.status == 503  # there is no database behind it
            assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "name",
    ["", " ", "a" * 500, "a\tb", "b\u202eidi", "\u0000", "budi, root", "budi\u00a0"],
)
async def test_names_of_the_proxy_are_no_more_than_names(name: str) -> None:
    lines = ("GET /contract HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "X-Forwarded-Groups: staff")
    head = "\r\n".join((*lines, f"X-Forwarded-User: {name}"))
    async with console(GROUPS) as ask:
        answer = await raw(ask, f"{head}\r\n\r\n".encode())
        head = head.replace("\0", "")  # such a line is not read at all
        injected = await raw(ask, f"{head}<script>\r\nX-Forwarded-User: root\r\n\r\n".encode())
    assert int(answer.split(b" ", 2)[1]) in ({200} if name == "budi, root" else {400, 403})
    assert b"<script>" not in injected
    assert int(injected.split(b" ", 2)[1]) in {400, 403}


async def test_headers_of_a_proxy_mean_nothing_elsewhere() -> None:
    claims = NAMED["personal"] | {
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
        "X-Real-IP": "127.0.0.1",
    }
    async with console(PROXY | {"WAYBILL_CONSOLE_PROXY_PEERS": "10.0.0.0/8"}) as ask:
        assert (await ask("/contract", headers=claims)).status == 403
    async with console(FILE) as ask:
        assert (await ask("/contract", headers=claims)).status == 303


async def test_large_and_slow_forms_are_refused(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(module, "FORM_SECONDS", 0.2)
    async with console(WRITES) as ask:
        fields, headers = await form_of(ask, ACTIONS[0], {})
        path = ACTIONS[0].path
        assert (await ask(path, "POST", data=fields | {"why": "x" * 20_000}, headers=headers)).status == 413
        many = {f"n{number}": "x" for number in range(5_000)}
        assert (await ask(path, "POST", data=fields | many, headers=headers)).status == 413
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        kind = "Content-Type: application/x-www-form-urlencoded"
        slow = f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}{kind}\r\nContent-Length: 900\r\n\r\ntoken="
        host = urlsplit(ask.origin).netloc  # type: ignore[attr-defined]
        answer = await raw(ask, slow.replace("Host: x", f"Host: {host}\r\nConnection: close").encode(), whole=False)
        assert answer.startswith(b"HTTP/1.1 408"), answer[:200]
    assert trial.acted == []


async def test_over_tls_a_form_of_an_unencrypted_page_is_not_ours(trial: Trial) -> None:  # noqa: F811
    async with console(WRITES | {"WAYBILL_CONSOLE_TLS": "1"}) as ask:
        fields, headers = await form_of(ask, ACTIONS[0], {})
        assert (await ask(ACTIONS[0].path, "POST", data=fields, headers=headers)).status == 403
        encrypted = headers | {"Origin": ask.origin.replace("http:", "https:")}  # type: ignore[attr-defined]
        assert (await ask(ACTIONS[0].path, "POST", data=fields, headers=encrypted)).status == 200
    assert len(trial.acted) == 1


class Edited:
    """A console whose file of users is edited."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "users"
        self.file.write_text(LINES)
        context = context_of(FILE | WRITES)
        settings = msgspec.structs.replace(context.settings, console_users_file=str(self.file))
        self.context = msgspec.structs.replace(context, settings=settings)
        self.users = Users(settings)


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    return Edited(tmp_path)


CHANGES: Final[Mapping[str, tuple[str, str]]] = {
    "taken out": (f"budi:operator:{HASH}\n", ""),
    "another password": (f"budi:operator:{HASH}", f"budi:operator:{HASH[:-4]}AAAA"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_session_ends_with_the_line_it_came_from(change: str, edited: Edited, trial: Trial) -> None:  # noqa: F811
    async with console(context=edited.context, users=edited.users) as ask:
        gone, stays = await session_of(ask, "budi"), await session_of(ask, "ani")
        fields, headers = await form_of(ask, ACTIONS[0], gone)
        following = asyncio.ensure_future(ask("/tail/stream", headers=gone))
        await until(lambda: edited.context.tail.tabs == 1)
        before, after = CHANGES[change]
        assert before in LINES
        edited.file.write_text(LINES.replace(before, after))
        assert (await ask("/contract", headers=gone)).status == 303
        assert (await ask("/contract", headers=gone | JSON)).status == 401
        assert (await ask(ACTIONS[0].path, "POST", data=fields, headers=headers)).status == 401
        assert (await asyncio.wait_for(following, 10)).status == 200  # it has ended
        assert (await ask("/contract", headers=stays)).status == 200
    assert trial.acted == []


async def test_a_role_that_is_taken_away_is_gone_at_once(edited: Edited, trial: Trial) -> None:  # noqa: F811
    async with console(context=edited.context, users=edited.users) as ask:
        session = await session_of(ask, "budi")
        fields, headers = await form_of(ask, ACTIONS[0], session)
        edited.file.write_text(LINES.replace("budi:operator:", "budi:viewer:"))
        assert (await ask("/contract", headers=session)).status == 200
        assert (await ask(ACTIONS[0].path, "POST", data=fields, headers=headers)).status == 403
        edited.file.write_text(LINES + f"\ndewi:viewer:{HASH}\n")
        assert (await ask("/contract", headers=await session_of(ask, "dewi"))).status == 200
    assert trial.acted == []


@pytest.mark.parametrize("text", [None, "budi", "budi:admin:$argon2id$x", f"budi:viewer:{HASH}\nbudi:operator:{HASH}"])
async def test_while_the_file_cannot_be_read_nobody_is_let_in(text: str | None, edited: Edited) -> None:
    async with console(context=edited.context, users=edited.users) as ask:
        session = await session_of(ask, "ani")
        if text is None:
            edited.file.unlink()
        else:
            edited.file.write_text(text)
        answer: Answer = await ask("/contract", headers=session)
        assert (answer.status, "file of users cannot be read" in answer.text, HASH in answer.text) == (503, True, False)
        assert "shipment.events" not in answer.text
        edited.file.write_text(LINES)
        assert (await ask("/contract", headers=session)).status == 200


async def test_a_session_is_of_its_key_and_name() -> None:
    async with console(FILE) as ask, console(FILE, key=b"o" * 32) as other:
        session = await session_of(ask, "ani")
        assert (await other("/contract", headers=session)).status == 303
        text = session["Cookie"].partition("=")[2]
        for forged in (text[:-1], text.swapcase(), text.replace(".", "..", 1), f"{text}x", "." + text, "é.é"):
            cookie = {"Cookie": f"{SESSION_COOKIE}={forged}"}
            assert (await ask("/contract", headers=cookie)).status == 303
        # a form's cookie and token are no session
        form = await ask("/login")
        token: Any = re.search(r'name="token" value="([^"]+)"', form.text)
        bound = form.cookies[FORM_COOKIE].value
        assert (await ask("/contract", headers={"Cookie": f"{SESSION_COOKIE}={bound}.{token[1]}"})).status == 303
    assert "ani" in USERS
