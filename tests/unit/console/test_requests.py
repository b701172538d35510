"""Requests for every way of access and every role, over real HTTP; what is answered when a page cannot be given."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import pytest

from console import app as module
from console.database import Database
from console.identity import FORM_COOKIE, SESSION_COOKIE
from console.log_in import NOT_BY_TLS
from console.page import Looks
from console.pages import PAGES
from console.passwords import WAITING, BusyError, Passwords
from console.sessions import FAILURES
from operators.doctor.finding import Finding, Level
from operators.views.attention import LastWebhook
from operators.views.drift import Drift
from runtime.errors import UnreachableError
from tests.unit.console.consoles import PASSWORD, USERS, Answer, Ask, console, context_of
from tests.waiting import until

JSON: Final = {"Accept": "application/json"}
FILE: Final = {"WAYBILL_CONSOLE_ACCESS": "file", "WAYBILL_CONSOLE_USERS_FILE": "users"}
PROXY: Final = {
    "WAYBILL_CONSOLE_ACCESS": "proxy",
    "WAYBILL_CONSOLE_PROXY_PEERS": "127.0.0.0/8",
    "WAYBILL_CONSOLE_VIEWER_GROUPS": "staff",
    "WAYBILL_CONSOLE_PERSONAL_GROUPS": "leads",
}
LOOKS: Final = [
    "/shipments/dash:1?personal=1",
    "/dead-letters/1:2?personal=1",
    "/tail?personal=1",
    "/tail/stream?personal=1",
]


async def log_in(ask: Ask, name: str, password: str = PASSWORD, **changed: Any) -> Answer:
    """Log in as a browser does: get the form, send it back with its cookie and token."""
    form = await ask("/login")
    token = re.search(r'name="token" value="([^"]+)"', form.text)
    assert token is not None
    headers = {"Cookie": f"{FORM_COOKIE}={form.cookies[FORM_COOKIE].value}", "Origin": ask.origin}  # type: ignore[attr-defined]
    data = {"name": name, "password": password, "token": token[1]}
    headers |= changed.pop("headers", {})
    return await ask("/login", "POST", data=data | changed, headers={k: v for k, v in headers.items() if v})


async def session_of(ask: Ask, name: str) -> dict[str, str]:
    answer = await log_in(ask, name)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.cookies[SESSION_COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert not cookie["secure"]
    return {"Cookie": f"{SESSION_COOKIE}={cookie.value}"}


async def test_every_answer_has_its_headers() -> None:
    async with console() as ask:
        for path in ("/", "/contract", "/nothing", "/static/console.css", "/static/htmx.min.js", "/openapi.json"):
            answer = await ask(path)
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'")
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Referrer-Policy"] == "same-origin"
            kept = "max-age=3600" if path.startswith("/static") else "no-store"
            assert answer.headers["Cache-Control"] == kept
            assert "aiohttp" not in answer.headers["Server"]


async def test_what_a_proxy_ends_is_never_left_unencrypted() -> None:
    async with console(FILE | {"WAYBILL_CONSOLE_TLS": "1"}) as ask:
        encrypted = {"Origin": ask.origin.replace("http:", "https:")}  # type: ignore[attr-defined]
        refused = await log_in(ask, "ani")
        assert (refused.status, NOT_BY_TLS in refused.text) == (403, True)
        answer = await log_in(ask, "ani", headers=encrypted)
        assert answer.cookies[SESSION_COOKIE]["secure"]
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_without_a_database_each_page_says_so(page: Any) -> None:
    path = page.path.replace("{name}", "1:2")
    async with console() as ask:
        answer, told = await ask(path), await ask(path, headers=JSON)
    if page.name in {"attention", "contract", "tail", "flow"}:
        assert (answer.status, told.status) == (200, 200)
    else:
        assert (answer.status, told.status) == (503, 503)
        assert (answer.kind, told.kind) == ("text/html", "application/problem+json")
        assert "PostgreSQL was not asked yet" in answer.text
        assert "PostgreSQL was not asked yet" in told.text


async def test_attention_tells_of_each_part_that_cannot_be_looked_at() -> None:
    async with console() as ask:
        told = msgspec.json.decode((await ask("/", headers=JSON)).text)
        page = (await ask("/")).text
    assert told["nothing_to_do"] is False
    assert told["findings"]["trouble"] == told["anomalies"]["trouble"] == "the store is away"
    assert told["silent"]["trouble"] == told["jobs"]["trouble"] == "PostgreSQL was not asked yet"
    assert page.count("could not be looked at") == 8
    assert "Nothing needs attention" not in page


async def test_probes_need_nobody() -> None:
    async with console(FILE) as ask:
        assert (await ask("/healthz")).status == 200
        assert (await ask("/readyz")).status == 503
        assert "waybill_console_requests_total" in (await ask("/metrics")).text
        assert (await ask("/static/console.css")).kind == "text/css"


async def test_a_console_that_asks_nobody_is_reached_by_a_loopback_name_only() -> None:
    async with console() as ask:
        assert (await ask("/contract")).status == 200
        for name in ("evil.example", "evil.example:9466", "127.0.0.1.evil.example"):
            answer = await ask("/contract", headers={"Host": name})
            assert answer.status == 403
            assert "shipment.events" not in answer.text
        assert (await ask("/openapi.json", headers={"Host": "evil.example"})).status == 403
        assert (await ask("/login")).status == 404


async def test_a_listed_proxy_names_who_looks() -> None:
    named = {"X-Forwarded-User": "sari", "X-Forwarded-Groups": "staff"}
    async with console(PROXY) as ask:
        answer = await ask("/contract", headers=named)
        assert (answer.status, ">sari<" in answer.text) == (200, True)
        assert (await ask("/contract")).status == 403
        assert (await ask("/contract", headers=named | {"X-Forwarded-Groups": "others"})).status == 403
        several = [("X-Forwarded-User", "sari"), ("X-Forwarded-User", "root"), ("X-Forwarded-Groups", "staff")]
        assert (await ask("/contract", headers=several)).status == 403
        for path in LOOKS:
            assert (await ask(path, headers=named)).status == 403
            leads = named | {"X-Forwarded-Groups": "staff, leads"}
            assert (await ask(path, headers=leads)).status == 503  # there is no database behind it
            assert (await ask(path, headers=leads | {"Sec-Fetch-Site": "cross-site"})).status == 403
    async with console(PROXY | {"WAYBILL_CONSOLE_PROXY_PEERS": "10.0.0.7"}) as ask:
        assert (await ask("/contract", headers=named)).status == 403


async def test_whom_the_file_does_not_list_sees_nothing() -> None:
    async with console(FILE) as ask:
        for page in PAGES:
            path = page.path.replace("{name}", "1:2")
            answer = await ask(path)
            assert (answer.status, answer.headers["Location"], answer.text) == (303, "/login", "")
            told = await ask(path, headers=JSON)
            assert (told.status, msgspec.json.decode(told.text)["title"]) == (401, "Log in first")
        assert (await ask("/openapi.json", headers=JSON)).status == 401
        assert (await ask("/tail/stream")).status == 401
        refreshed = await ask("/", headers={"HX-Request": "true"})
        assert (refreshed.status, refreshed.headers["HX-Redirect"], refreshed.text) == (401, "/login", "")
        assert (await ask("/contract", headers={"Cookie": f"{SESSION_COOKIE}=forged.forged"})).status == 303


@pytest.mark.parametrize("name", USERS)
async def test_each_role_sees_what_is_its_own(name: str) -> None:
    async with console(FILE) as ask:
        session = await session_of(ask, name)
        answer = await ask("/contract", headers=session)
        assert (answer.status, f">{name}<" in answer.text) == (200, True)
        for path in LOOKS:  # where it may be seen, there is no database behind it
            assert (await ask(path, headers=session)).status == (503 if "personal" in USERS[name] else 403)


async def test_a_wrong_name_and_a_wrong_password_are_told_alike() -> None:
    async with console(FILE) as ask:
        wrong = [await log_in(ask, "ani", "wrong"), await log_in(ask, "nobody"), await log_in(ask, "ani", "x" * 5000)]
        assert [each.status for each in wrong] == [401, 401, 401]
        assert {SESSION_COOKIE in each.cookies for each in wrong} == {False}
        texts = {re.sub(r'value="[0-9a-f]+"', "", each.text) for each in wrong}
        assert len(texts) == 1


async def test_attempts_are_bounded() -> None:
    async with console(FILE) as ask:
        for _ in range(FAILURES):
            assert (await log_in(ask, "ani", "wrong")).status == 401
        answer = await log_in(ask, "ani")
        assert (answer.status, int(answer.headers["Retry-After"]) > 60) == (429, True)
        assert (await log_in(ask, "budi")).status == 303


async def test_only_some_log_ins_wait_for_their_turn() -> None:
    passwords = Passwords({user.name: user for user in context_of(FILE).settings.console_users})
    many = await asyncio.gather(*(passwords.log_in("ani", PASSWORD) for _ in range(20)), return_exceptions=True)
    assert [isinstance(each, BusyError) for each in many] == [False] * WAITING + [True] * (20 - WAITING)
    assert await passwords.log_in("ani", PASSWORD) is not None


async def test_a_log_in_is_sent_by_our_own_form_alone() -> None:
    async with console(FILE) as ask:
        refused = [
            await log_in(ask, "ani", token="forged"),
            await log_in(ask, "ani", headers={"Cookie": ""}),
            await log_in(ask, "ani", headers={"Origin": ""}),
            await log_in(ask, "ani", headers={"Origin": "http://evil.example"}),
            await log_in(ask, "ani", headers={"Sec-Fetch-Site": "cross-site"}),
        ]
        assert [each.status for each in refused] == [403] * 5
        assert all(SESSION_COOKIE not in each.cookies for each in refused)
        assert (await ask("/login", "POST", data={"name": "x" * 20_000})).status == 413


async def test_logging_out_takes_the_form_s_token() -> None:
    async with console(FILE) as ask:
        session = await session_of(ask, "ani")
        page = await ask("/contract", headers=session)
        token = re.search(r'action="/logout".*?name="token" value="([^"]+)"', page.text)
        assert token is not None
        origin = {"Origin": ask.origin}  # type: ignore[attr-defined]
        assert (await ask("/logout", "POST", data={"token": "x"}, headers=session | origin)).status == 403
        assert (await ask("/logout", "POST", data={"token": token[1]}, headers=session)).status == 403
        assert (await ask("/logout", "POST", data={"token": token[1]}, headers=origin)).status == 403
        done = await ask("/logout", "POST", data={"token": token[1]}, headers=session | origin)
        assert (done.status, done.cookies[SESSION_COOKIE].value) == (303, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_pages_are_looked_at_only(method: str) -> None:
    async with console() as ask:
        for page in PAGES:
            answer = await ask(page.path.replace("{name}", "1:2"), method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
            assert "This address takes GET, HEAD only." in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/shipments?status=NOWHERE",
        "/shipments?courier=nobody",
        "/shipments?stale_for=soon",
        "/shipments?stale_for=99999999999d",
        "/shipments?behind=x",
        "/shipments?behind=2026-11-27T12:00:00~x",
        "/shipments?q=" + "x" * 400,
        "/shipments/dash:1?until=x",
        "/anomalies?kind=odd",
        "/anomalies?since=soon",
        "/anomalies?behind=2026-11-27T12:00:00Z~1.2",
        "/anomalies?behind=2026-11-27T12:00:00Z~1.2.3." + "9" * 30,
        "/dead-letters?reason=odd",
        "/dead-letters?start=x",
        "/log?behind=2026-11-27T12:00:00Z~x",
    ],
)
async def test_what_cannot_be_asked_is_told(path: str) -> None:
    async with console() as ask:
        answer, told = await ask(path), await ask(path, headers=JSON)
    assert (answer.status, told.status) == (400, 400)
    assert "That cannot be asked" in answer.text
    assert msgspec.json.decode(told.text)["status"] == 400


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("application/json;q=0.1, text/html", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/json;q=0", "text/html"),
        ("application/json;q=much", "text/html"),
    ],
)
async def test_json_is_answered_to_whoever_asks_for_it(accept: str, kind: str) -> None:
    async with console() as ask:
        answer = await ask("/contract", headers={"Accept": accept})
    assert (answer.status, answer.kind) == (200, kind)
    assert answer.headers["Vary"] == "Accept, Cookie"


async def test_nothing_is_a_page_too() -> None:
    async with console() as ask:
        answer = await ask("/nothing/%3Cscript%3E")
        assert (answer.status, "No page has this address" in answer.text) == (404, True)
        assert "<script>" not in answer.text
        assert (await ask("/static/../app.py")).status == 404
        assert (await ask("/static/%2e%2e%2fapp.py")).status == 404


async def fails() -> Any:
    raise ZeroDivisionError("hunter2")


async def hangs() -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("load", "status", "said"),
    [
        (fails, 500, "something it does not know"),
        (hangs, 504, "took too long"),
    ],
)
async def test_a_page_that_fails_or_hangs_is_answered(
    load: Callable[[], Awaitable[Any]], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_SECONDS", 0.2)
    broken = tuple(
        msgspec.structs.replace(page, load=lambda *_: load()) if page.name == "contract" else page for page in PAGES
    )
    monkeypatch.setattr(module, "PAGES", broken)
    async with console() as ask:
        answer = await ask("/contract")
    assert (answer.status, said in answer.text, "hunter2" in answer.text) == (status, True, False)


async def test_one_look_serves_everybody_and_is_kept() -> None:
    asked = 0
    go_on = asyncio.Event()

    async def findings() -> list[Finding]:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return [Finding(Level.FAIL, "kafka", "is away", "start it"), Finding(Level.OK, "postgres", "is there")]

    context = context_of({}, findings=findings)
    looks = [asyncio.create_task(context.looks.findings.latest()) for _ in range(20)]
    await until(lambda: asked == 1)
    slow = await context.looks.findings.latest(patience=0)
    assert (slow.found, slow.under_way) == (None, True)
    go_on.set()
    seen = await asyncio.gather(*looks)
    assert {each.found is not None and each.found[0].level for each in seen} == {Level.FAIL}
    async with console(context=context) as ask:
        told = msgspec.json.decode((await ask("/", headers=JSON)).text)
        assert [each["found"] for each in told["findings"]["found"]] == ["is away"]
    assert asked == 1


async def test_a_look_that_fails_keeps_what_it_found_before() -> None:
    answers: list[Any] = [[Finding(Level.OK, "a", "b")], UnreachableError("away"), ZeroDivisionError()]

    async def findings() -> list[Finding]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        found: list[Finding] = answer
        return found

    look = context_of({}, findings=findings).looks.findings
    look._keep *= 0
    assert (await look.latest()).trouble is None
    for trouble in ("away", "it failed: the console's log says why"):
        seen = await look.latest()
        assert (seen.trouble, seen.found is not None, seen.under_way) == (trouble, True, False)


def test_every_look_is_closed_by_its_name() -> None:
    assert set(Looks.__struct_fields__) == {"findings", "halted", "lag", "letters", "anomalies", "drift", "flow"}


async def test_couriers_are_answered_at_once_while_their_drift_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON says that it is counted, a page asks again by itself; both have it when it is done."""
    counted = asyncio.Event()

    async def drifted() -> Drift:
        await counted.wait()
        return Drift("2026-11-26T12:00:00Z", "2026-11-27T12:00:00Z", ())

    async def spoke(_connection: Any) -> list[LastWebhook]:
        return [LastWebhook("dash", None, None)]

    monkeypatch.setattr(Database, "pool", Anything())
    monkeypatch.setattr("console.pages.couriers.last_webhooks", spoke)
    async with console(context=context_of({}, drift=drifted)) as ask:
        async with asyncio.timeout(2):
            told, page = await ask("/couriers", headers=JSON), await ask("/couriers")
        drift = msgspec.json.decode(told.text)["drift"]
        assert (drift["found"], drift["under_way"], drift["trouble"]) == (None, True, None)
        assert 'hx-get="/couriers"' in page.text
        assert "Being counted" in page.text
        counted.set()

        async def is_told() -> bool:
            found = msgspec.json.decode((await ask("/couriers", headers=JSON)).text)["drift"]
            return found["found"] is not None

        await until(is_told)
        assert "hx-get" not in (await ask("/couriers")).text


class Anything:
    """A pool whose connections nobody asks."""

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[None]:
        yield None
