"""The console over HTTP: who asks, for which page, as HTML or JSON, and what is answered when it cannot be given."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs, web

from console import openapi
from console.access import (
    EVERYTHING,
    Access,
    RefusedError,
    Who,
    is_local_name,
    is_own_look,
    is_own_origin,
    named_by_proxy,
    roles_of,
)
from console.actions import ACTIONS
from console.actions.acting import Acting, Answer
from console.actions.action import ACTION_SECONDS, Action, may_act
from console.page import Asked, Context, ElsewhereError, ForbiddenError, Page, read_query
from console.pages import PAGES
from console.pages.tail import permit
from console.passwords import BusyError, Passwords
from console.problems import UNKNOWN, Problem, problem_of
from console.rendering import FOLDER, Frame, render
from console.sessions import SESSION_LENGTH, form_token, is_form_token, new_session, whose
from console.tail_stream import stream
from operators.shared.operator_log import operator_name
from runtime.metrics import ConsoleMetrics

PAGE_SECONDS: Final = 8.0
"""How long a page may take: well under a second when all is well. Then it says that it took too long."""

MAX_FORM_BYTES: Final = 16 * 1024
"""The largest form: a name, a password, a token; or a filter and a reason."""

TAIL_STREAM: Final = "/tail/stream"
"""Where the tail is followed: the one answer that takes as long as it takes."""

SESSION_COOKIE: Final = "waybill_console"
FORM_COOKIE: Final = "waybill_console_form"

STATIC: Final = {
    "console.css": "text/css",
    "htmx.min.js": "text/javascript",
    "htmx.LICENSE": "text/plain",
    "tail.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files that pages refer to."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Vary": "Accept, Cookie",
    "Server": "waybill",
}
"""Sent with every answer: nothing is loaded from elsewhere, nothing frames us, nothing is kept."""

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Known = Callable[[web.Request, Who], Awaitable[web.StreamResponse]]
"""Answers those who are known."""


class Console:
    """Answers requests."""

    def __init__(self, context: Context, metrics: ConsoleMetrics, key: bytes) -> None:
        """Serve pages from a context. `key` signs sessions and forms."""
        self._context = context
        self._settings = context.settings
        self._metrics = metrics
        self._key = key
        self._access = Access(context.settings.console_access)
        self._users = {user.name: user for user in context.settings.console_users}
        self._acting = Acting(context, key)
        self._passwords = Passwords(self._users)
        self._here = Who(operator_name(context.settings), EVERYTHING) if self._access is Access.NONE else None

    def application(self, routes: Iterable[web.RouteDef]) -> web.Application:
        """Return the application: the pages, and other routes that nobody need show who they are for."""
        app = web.Application(middlewares=[self._answer], client_max_size=MAX_FORM_BYTES)
        for page in PAGES:
            path = page.path.replace("{name}", "{name:(?s:.+)}")
            app.router.add_get(path, self._handler(page), name=page.name)
        for action in ACTIONS:
            app.router.add_get(action.path, self._known(self._look(action)), name=action.name)
            app.router.add_post(action.path, self._known(self._act(action)))
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get(TAIL_STREAM, self._tail_stream, name="tail-stream", allow_head=False)
        app.on_shutdown.append(self._let_go)
        app.router.add_get("/static/{file}", self._static)
        if self._access is Access.FILE:
            app.router.add_get("/login", self._login_page)
            app.router.add_post("/login", self._log_in)
            app.router.add_post("/logout", self._log_out)
        app.add_routes(routes)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer within a limit of time, whatever goes wrong, with the headers of every answer."""
        try:
            async with asyncio.timeout(_limit(request.path)):
                response = await handler(request)
        except ElsewhereError as found:
            response = _see(found.location)
        except Exception as error:
            too_long = isinstance(error, TimeoutError) and request.path in ACTION_PATHS
            problem = ACTED_TOO_LONG if too_long else problem_of(error)
            if problem is UNKNOWN:
                log.exception("page failed", path=request.path)
            response = self._problem(request, problem)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if self._settings.console_tls:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        self._metrics.requests.labels(request.match_info.route.name or "", str(response.status)).inc()
        return response

    def _handler(self, page: Page) -> Handler:
        async def handle(request: web.Request, who: Who) -> web.StreamResponse:
            query = read_query(page, {name: request.query.getall(name) for name in request.query})
            asked = Asked(request.match_info.get("name", ""), who, is_own_look(request.headers))
            answer = await page.load(self._context, query, asked)
            if wants_json(request):
                return _json(answer)
            values = {name: getattr(answer, name) for name in answer.__struct_fields__}
            return self._html(request, page.template, page.title, values, who)

        return self._known(handle)

    def _look(self, action: Action) -> Known:
        async def handle(request: web.Request, who: Who) -> web.StreamResponse:
            given = {name: request.query.getall(name) for name in request.query}
            answer = await self._acting.look(action, who, given, self._bound(request, who))
            return self._acted(request, who, answer)

        return handle

    def _act(self, action: Action) -> Known:
        async def handle(request: web.Request, who: Who) -> web.StreamResponse:
            form = await request.post()
            given = {name: [str(value) for value in form.getall(name)] for name in form}
            own = is_own_origin(request.headers)
            answer = await self._acting.act(action, who, given, self._bound(request, who), own_origin=own)
            return self._acted(request, who, answer)

        return handle

    def _known(self, handle: Known) -> Handler:
        """Return what answers those who are known, and sends the others to the log-in."""

        async def answer(request: web.Request) -> web.StreamResponse:
            who = self._who(request)
            if who is not None:
                return await handle(request, who)
            posted = request.method == hdrs.METH_POST
            return self._problem(request, NOT_LOGGED_IN) if posted else self._to_log_in(request)

        return answer

    def _acted(self, request: web.Request, who: Who, answer: Answer) -> web.Response:
        """Return what is answered about an action; its form is bound to a session or a cookie."""
        if wants_json(request):
            return _json(answer.told)
        response = self._html(request, "action.html", answer.title, answer.values, who)
        if answer.bound is not None:
            self._set_cookie(response, FORM_COOKIE, answer.bound, int(SESSION_LENGTH.total_seconds()))
        return response

    def _bound(self, request: web.Request, who: Who) -> str:
        return who.session or request.cookies.get(FORM_COOKIE, "")

    async def _tail_stream(self, request: web.Request) -> web.StreamResponse:
        who = self._who(request)
        if who is None:
            return self._problem(request, NOT_LOGGED_IN)
        personal = request.query.get("personal") == "1"
        await permit(self._context, Asked("", who, is_own_look(request.headers)), personal=personal)
        return await stream(request, self._context.tail, HEADERS, shows_personal=personal)

    async def _let_go(self, _app: web.Application) -> None:
        """End what would otherwise be waited for at a stop."""
        await self._context.tail.close()

    def _who(self, request: web.Request) -> Who | None:
        """Return who sends a request; None: nobody has logged in.

        Raises:
            RefusedError: the request shows that its sender may not look.

        """
        match self._access:
            case Access.NONE:
                if not is_local_name(request.headers.get(hdrs.HOST, "")):
                    raise RefusedError("this console is reached by the name localhost, or 127.0.0.1, only")
                return self._here
            case Access.PROXY:
                settings = self._settings
                users = request.headers.getall(settings.console_proxy_user_header, [])
                groups = request.headers.getall(settings.console_proxy_groups_header, [])
                return named_by_proxy(settings, request.remote, users, groups)
            case Access.FILE:
                session = request.cookies.get(SESSION_COOKIE, "")
                user = whose(self._key, session, self._users, datetime.now(UTC))
                return None if user is None else Who(user.name, roles_of(user.roles), session)

    def _to_log_in(self, request: web.Request) -> web.Response:
        """Lead whoever has not logged in to where they do. A page that refreshes itself is led there as a whole."""
        if request.headers.get("HX-Request"):
            return web.Response(status=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": "/login"})
        return self._problem(request, NOT_LOGGED_IN) if wants_json(request) else _see("/login")

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        return self._login(request, HTTPStatus.OK, None)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        bound = request.cookies.get(FORM_COOKIE, "")
        if not is_own_origin(request.headers) or not is_form_token(self._key, bound, str(form.get("token", ""))):
            self._metrics.refused_logins.inc()
            return self._login(request, HTTPStatus.FORBIDDEN, "The form was not this browser's: try again.")
        try:
            user = await self._passwords.log_in(str(form.get("name", "")), str(form.get("password", "")))
        except BusyError as busy:
            self._metrics.refused_logins.inc()
            seconds = max(1, round(busy.wait.total_seconds()))
            response = self._login(
                request, HTTPStatus.TOO_MANY_REQUESTS, f"Too many attempts: come again in {seconds} s."
            )
            response.headers["Retry-After"] = str(seconds)
            return response
        if user is None:
            self._metrics.refused_logins.inc()
            return self._login(request, HTTPStatus.UNAUTHORIZED, "The name or the password is wrong.")
        log.info("logged in", name=user.name)
        session = new_session(self._key, user, datetime.now(UTC))
        response = _see("/")
        self._set_cookie(response, SESSION_COOKIE, session, int(SESSION_LENGTH.total_seconds()))
        response.del_cookie(FORM_COOKIE, path="/")
        return response

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        who = self._who(request)
        form = await request.post()
        own = who is not None and is_form_token(self._key, who.session or "", str(form.get("token", "")))
        if not own or not is_own_origin(request.headers):
            raise ForbiddenError("the form was not this browser's")
        response = _see("/login")
        response.del_cookie(SESSION_COOKIE, path="/")
        return response

    def _login(self, request: web.Request, status: int, complaint: str | None) -> web.Response:
        bound = secrets.token_urlsafe(16)
        values = {"token": form_token(self._key, bound), "complaint": complaint}
        response = self._html(request, "login.html", "Log in", values, None, status)
        self._set_cookie(response, FORM_COOKIE, bound, int(SESSION_LENGTH.total_seconds()))
        return response

    def _set_cookie(self, response: web.Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self._settings.console_tls,
        )

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        if self._who(request) is None:
            return self._problem(request, NOT_LOGGED_IN)
        return web.Response(text=openapi.text(), content_type="application/json")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        if name not in STATIC:
            raise web.HTTPNotFound
        return web.Response(
            body=_static_file(FOLDER / "static" / name),
            content_type=STATIC[name],
            charset="utf-8",
            headers={"Cache-Control": "max-age=3600"},
        )

    def _problem(self, request: web.Request, problem: Problem) -> web.Response:
        if wants_json(request):
            return web.Response(
                body=msgspec.json.encode(problem), status=problem.status, content_type="application/problem+json"
            )
        values = {"problem": problem}
        try:
            who = self._who(request)
        except RefusedError:
            who = None
        response = self._html(request, "problem.html", problem.title, values, who, problem.status)
        if problem.allow:
            response.headers["Allow"] = ", ".join(problem.allow)
        return response

    def _html(
        self,
        request: web.Request,
        template: str,
        title: str,
        values: Mapping[str, object],
        who: Who | None,
        status: int = HTTPStatus.OK,
    ) -> web.Response:
        token = form_token(self._key, who.session) if who is not None and who.session else None
        acts = who is not None and may_act(self._context, who)
        frame = Frame(title, request.path, who, NAVIGATION, token, acts)
        return web.Response(text=render(template, frame, values), content_type="text/html", status=status)


NAVIGATION: Final = tuple((page.path, page.title) for page in PAGES if "{" not in page.path)

NOT_LOGGED_IN: Final = Problem("Log in first", HTTPStatus.UNAUTHORIZED, "POST /login gives a session")

ACTED_TOO_LONG: Final = Problem(
    "That took too long",
    HTTPStatus.GATEWAY_TIMEOUT,
    "Some of it may have been done: the log says what was decided. Look again at what it would do.",
)

ACTION_PATHS: Final = frozenset(action.path for action in ACTIONS)

ROUTES: Final = (*(page.name for page in PAGES), "tail-stream", *(action.name for action in ACTIONS))
"""What requests are counted by."""

CODES: Final = (200, 303, 400, 401, 403, 404, 405, 409, 413, 429, 500, 503, 504)
"""Status codes that are answered."""


def _limit(path: str) -> float | None:
    """Return how many seconds an answer may take; None: it ends by itself."""
    if path == TAIL_STREAM:
        return None
    return ACTION_SECONDS if path in ACTION_PATHS else PAGE_SECONDS


def wants_json(request: web.Request) -> bool:
    """Whether JSON is asked for rather than a page."""
    json = _weight(request.headers.getall(hdrs.ACCEPT, []), "application/json")
    return json > 0 and json > _weight(request.headers.getall(hdrs.ACCEPT, []), "text/html")


def _weight(accepts: Iterable[str], kind: str) -> float:
    """Return how much a kind of answer is wanted, from 0 to 1, where it is named."""
    found = 0.0
    for entry in ",".join(accepts).split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        if name == kind:
            found = max(found, _quality(parameters))
    return found


def _quality(parameters: Iterable[str]) -> float:
    for each in parameters:
        if each.startswith("q="):
            try:
                return min(1.0, max(0.0, float(each.removeprefix("q="))))
            except ValueError:
                return 0.0
    return 1.0


def _json(answer: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def _see(location: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})


def _static_file(path: Path) -> bytes:
    if path not in _FILES:
        _FILES[path] = path.read_bytes()
    return _FILES[path]


_FILES: Final[dict[Path, bytes]] = {}
"""The files of `STATIC` that were asked for."""
