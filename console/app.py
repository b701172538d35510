"""The console over HTTP: its addresses, and what is answered there, in time, whatever goes wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web
from multidict import MultiDictProxy

from console import openapi
from console.access import Access, RefusedError, Who, is_own_look, is_own_origin
from console.actions import ACTIONS
from console.actions.acting import Acting, Answer
from console.actions.action import ACTION_SECONDS, Action
from console.answering import HEADERS, Answering, json_answer, see, static_file, wants_json
from console.identity import FORM_COOKIE, Identity
from console.log_in import LogIn
from console.page import Asked, Context, ElsewhereError, Page, read_query
from console.pages import PAGES
from console.pages.tail import permit
from console.problems import UNKNOWN, Problem, problem_of
from console.sessions import SESSION_LENGTH
from console.tail_stream import stream
from console.users import Users, UsersError
from runtime.metrics import ConsoleMetrics

PAGE_SECONDS: Final = 8.0
"""How long a page may take: well under a second when all is well. Then it says that it took too long."""

MAX_FORM_BYTES: Final = 16 * 1024
"""The largest form: a name, a password, a token; or a filter and a reason."""

TAIL_STREAM: Final = "/tail/stream"
"""Where the tail is followed: the one answer that takes as long as it takes."""

FORM_SECONDS: Final = 8.0
"""How long a form may take to arrive, whatever an action takes then."""

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Known = Callable[[web.Request, Who], Awaitable[web.StreamResponse]]
"""Answers those who are known."""


class Console:
    """Answers requests."""

    def __init__(self, context: Context, metrics: ConsoleMetrics, key: bytes, users: Users | None = None) -> None:
        """Serve pages from a context. `key` signs sessions and forms. `users`: who may log in, if not the settings'."""
        self._context = context
        self._metrics = metrics
        self._tls = context.settings.console_tls
        self._identity = Identity(context.settings, users or Users(context.settings), key)
        self._answering = Answering(context, self._identity, key)
        self._acting = Acting(context, key)
        self._log_in = LogIn(self._answering, self._identity, metrics, key, tls=self._tls)

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
        app.router.add_get("/static/{file}", static_file)
        if self._identity.access is Access.FILE:
            app.add_routes(self._log_in.routes())
        app.add_routes(routes)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer within a limit of time, whatever goes wrong, with the headers of every answer."""
        try:
            async with asyncio.timeout(_limit(request.path)):
                response = await handler(request)
        except ElsewhereError as found:
            response = see(found.location)
        except Exception as error:
            too_long = isinstance(error, TimeoutError) and request.path in ACTION_PATHS
            problem = ACTED_TOO_LONG if too_long else problem_of(error)
            if problem is UNKNOWN:
                log.exception("page failed", path=request.path)
            response = self._answering.problem(request, problem)
        self._answering.set_headers(response)
        self._metrics.requests.labels(request.match_info.route.name or "", str(response.status)).inc()
        return response

    def _handler(self, page: Page) -> Handler:
        async def handle(request: web.Request, who: Who) -> web.StreamResponse:
            query = read_query(page, {name: request.query.getall(name) for name in request.query})
            asked = Asked(request.match_info.get("name", ""), who, is_own_look(request.headers))
            answer = await page.load(self._context, query, asked)
            if wants_json(request):
                return json_answer(answer)
            values = {name: getattr(answer, name) for name in answer.__struct_fields__}
            return self._answering.page(request, page.template, page.title, values)

        return self._known(handle)

    def _look(self, action: Action) -> Known:
        async def handle(request: web.Request, who: Who) -> web.StreamResponse:
            given = {name: request.query.getall(name) for name in request.query}
            answer = await self._acting.look(action, who, given, self._identity.bound(request, who))
            return self._acted(request, answer)

        return handle

    def _act(self, action: Action) -> Known:
        async def handle(request: web.Request, who: Who) -> web.StreamResponse:
            form = await _form(request)
            given = {name: [str(value) for value in form.getall(name)] for name in form}
            own = is_own_origin(request.headers, tls=self._tls)
            answer = await self._acting.act(action, who, given, self._identity.bound(request, who), own_origin=own)
            return self._acted(request, answer)

        return handle

    def _known(self, handle: Known) -> Handler:
        """Return what answers those who are known, and sends the others to the log-in."""

        async def answer(request: web.Request) -> web.StreamResponse:
            who = self._identity.who(request)
            if who is not None:
                return await handle(request, who)
            posted = request.method == hdrs.METH_POST
            return self._answering.problem(request, NOT_LOGGED_IN) if posted else self._to_log_in(request)

        return answer

    def _acted(self, request: web.Request, answer: Answer) -> web.Response:
        """Return what is answered about an action; its form is bound to a session or a cookie."""
        if wants_json(request):
            return json_answer(answer.told)
        response = self._answering.page(request, "action.html", answer.title, answer.values)
        if answer.bound is not None:
            self._answering.set_cookie(response, FORM_COOKIE, answer.bound, int(SESSION_LENGTH.total_seconds()))
        return response

    async def _tail_stream(self, request: web.Request) -> web.StreamResponse:
        who = self._identity.who(request)
        if who is None:
            return self._answering.problem(request, NOT_LOGGED_IN)
        personal = request.query.get("personal") == "1"
        await permit(self._context, Asked("", who, is_own_look(request.headers)), personal=personal)

        def may_look() -> bool:
            try:
                return self._identity.who(request) == who
            except (RefusedError, UsersError):
                return False

        return await stream(request, self._context.tail, HEADERS, may_look, shows_personal=personal)

    async def _let_go(self, _app: web.Application) -> None:
        """End what would otherwise be waited for at a stop."""
        await self._context.tail.close()

    def _to_log_in(self, request: web.Request) -> web.Response:
        """Lead whoever has not logged in to where they do. A page that refreshes itself is led there as a whole."""
        if request.headers.get("HX-Request"):
            return web.Response(status=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": "/login"})
        return self._answering.problem(request, NOT_LOGGED_IN) if wants_json(request) else see("/login")

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        if self._identity.who(request) is None:
            return self._answering.problem(request, NOT_LOGGED_IN)
        return web.Response(text=openapi.text(), content_type="application/json")


NOT_LOGGED_IN: Final = Problem("Log in first", HTTPStatus.UNAUTHORIZED, "POST /login gives a session")

ACTED_TOO_LONG: Final = Problem(
    "That took too long",
    HTTPStatus.GATEWAY_TIMEOUT,
    "Some of it may have been done: the log says what was decided. Look again at what it would do.",
)

ACTION_PATHS: Final = frozenset(action.path for action in ACTIONS)

ROUTES: Final = (*(page.name for page in PAGES), "tail-stream", *(action.name for action in ACTIONS))
"""What requests are counted by."""

CODES: Final = (200, 303, 400, 401, 403, 404, 405, 408, 409, 413, 429, 500, 503, 504)
"""Status codes that are answered."""


async def _form(request: web.Request) -> "MultiDictProxy[str | bytes | bytearray | web.FileField]":
    """Return the form that is sent.

    Raises:
        HTTPRequestTimeout: it arrives too slowly. Nothing was done.

    """
    try:
        async with asyncio.timeout(FORM_SECONDS):
            return await request.post()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error


def _limit(path: str) -> float | None:
    """Return how many seconds an answer may take; None: it ends by itself."""
    if path == TAIL_STREAM:
        return None
    return ACTION_SECONDS if path in ACTION_PATHS else PAGE_SECONDS
