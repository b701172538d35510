"""Logging in and out, by access `file`."""

import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import hdrs, web

from console.access import is_own_origin
from console.answering import Answering, see
from console.identity import FORM_COOKIE, SESSION_COOKIE, Identity
from console.page import ForbiddenError
from console.passwords import BusyError, Passwords
from console.sessions import SESSION_LENGTH, form_token, is_form_token, new_session
from runtime.metrics import ConsoleMetrics

NOT_OWN: Final = "The form was not this browser's: try again."
NOT_BY_TLS: Final = "This console is reached by https only: open it through the proxy that ends TLS."

log = structlog.get_logger(__name__)


class LogIn:
    """Answers at `/login` and `/logout`."""

    def __init__(
        self, answering: Answering, identity: Identity, metrics: ConsoleMetrics, key: bytes, *, tls: bool
    ) -> None:
        """`key` signs sessions and forms. `tls`: the console is reached over TLS only."""
        self._answering = answering
        self._identity = identity
        self._metrics = metrics
        self._key = key
        self._tls = tls
        self._passwords = Passwords(identity.users)

    def routes(self) -> list[web.RouteDef]:
        """Return where it answers."""
        return [
            web.get("/login", self._page),
            web.post("/login", self._log_in),
            web.post("/logout", self._log_out),
        ]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return self._login(request, HTTPStatus.OK, None)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        bound = request.cookies.get(FORM_COOKIE, "")
        if not is_own_origin(request.headers, tls=self._tls) or not is_form_token(
            self._key, bound, str(form.get("token", ""))
        ):
            self._metrics.refused_logins.inc()
            unencrypted = self._tls and request.headers.get(hdrs.ORIGIN, "").startswith("http:")
            return self._login(request, HTTPStatus.FORBIDDEN, NOT_BY_TLS if unencrypted else NOT_OWN)
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
        response = see("/")
        self._answering.set_cookie(response, SESSION_COOKIE, session, int(SESSION_LENGTH.total_seconds()))
        response.del_cookie(FORM_COOKIE, path="/")
        return response

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        who = self._identity.who(request)
        form = await request.post()
        own = who is not None and is_form_token(self._key, who.session or "", str(form.get("token", "")))
        if not own or not is_own_origin(request.headers, tls=self._tls):
            raise ForbiddenError("the form was not this browser's")
        response = see("/login")
        response.del_cookie(SESSION_COOKIE, path="/")
        return response

    def _login(self, request: web.Request, status: int, complaint: str | None) -> web.Response:
        bound = secrets.token_urlsafe(16)
        values = {"token": form_token(self._key, bound), "complaint": complaint}
        response = self._answering.page(request, "login.html", "Log in", values, status)
        self._answering.set_cookie(response, FORM_COOKIE, bound, int(SESSION_LENGTH.total_seconds()))
        return response
