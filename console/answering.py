"""How requests are answered: as a page or as JSON, with the headers of every answer; and an error as what it is."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import hdrs, web

from console.access import RefusedError
from console.actions.action import may_act
from console.identity import Identity
from console.page import Context
from console.pages import PAGES
from console.problems import Problem
from console.rendering import FOLDER, Frame, render
from console.sessions import form_token
from console.users import UsersError

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

STATIC: Final = {
    "console.css": "text/css",
    "htmx.min.js": "text/javascript",
    "htmx.LICENSE": "text/plain",
    "tail.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The files that pages refer to."""

NAVIGATION: Final = tuple((page.path, page.title) for page in PAGES if "{" not in page.path)


class Answering:
    """Makes answers."""

    def __init__(self, context: Context, identity: Identity, key: bytes) -> None:
        """Answer in a context. `key` signs forms."""
        self._context = context
        self._identity = identity
        self._key = key

    def page(
        self,
        request: web.Request,
        template: str,
        title: str,
        values: Mapping[str, object],
        status: int = HTTPStatus.OK,
    ) -> web.Response:
        """Return a page, in the frame of whoever asks."""
        try:
            who = self._identity.who(request)
        except (RefusedError, UsersError):
            who = None
        token = form_token(self._key, who.session) if who is not None and who.session else None
        acts = who is not None and may_act(self._context, who)
        frame = Frame(title, request.path, who, NAVIGATION, token, acts)
        return web.Response(text=render(template, frame, values), content_type="text/html", status=status)

    def problem(self, request: web.Request, problem: Problem) -> web.Response:
        """Return an error."""
        if wants_json(request):
            body = msgspec.json.encode(problem)
            return web.Response(body=body, status=problem.status, content_type="application/problem+json")
        response = self.page(request, "problem.html", problem.title, {"problem": problem}, problem.status)
        if problem.allow:
            response.headers["Allow"] = ", ".join(problem.allow)
        return response

    def set_cookie(self, response: web.Response, name: str, value: str, seconds: int) -> None:
        """Set a cookie that scripts cannot read and that no other site's request carries."""
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self._context.settings.console_tls,
        )

    def set_headers(self, response: web.StreamResponse) -> None:
        """Set the headers of every answer."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if self._context.settings.console_tls:
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def json_answer(answer: msgspec.Struct) -> web.Response:
    """Return an answer as JSON."""
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def see(location: str) -> web.Response:
    """Lead to another address of ours."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": location})


async def static_file(request: web.Request) -> web.StreamResponse:
    """Return one of the files that pages refer to.

    Raises:
        HTTPNotFound: it is none of them.

    """
    name = request.match_info["file"]
    if name not in STATIC:
        raise web.HTTPNotFound
    path = FOLDER / "static" / name
    if path not in _FILES:
        _FILES[path] = path.read_bytes()
    headers = {"Cache-Control": "max-age=3600"}
    return web.Response(body=_FILES[path], content_type=STATIC[name], charset="utf-8", headers=headers)


_FILES: Final[dict[Path, bytes]] = {}
"""The files of `STATIC` that were asked for."""


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
