"""The HTTP shell: aiohttp's server, saying nothing about itself and answering every error as problem+json."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from aiohttp import web

from ingest import problems
from ingest.problems import Problem

LINGER_SECONDS: Final = 3.0
"""How long the rest of a refused body is read, so that its sender gets to see the answer."""

KEEPALIVE_SECONDS: Final = 75.0
"""How long a connection may be idle, or take to send a request's head."""

log = structlog.get_logger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make the answer that tells a problem."""
    return web.Response(status=problem.status, body=problem.body(), content_type=problems.MEDIA_TYPE, headers=headers)


class DoorServer(web.Server):
    """Makes a protocol for each connection."""

    def __init__(self, handler: Handler, on_error: Callable[[int], None]) -> None:
        """Serve with `handler`; `on_error` is told the status of each request that did not come so far, or failed."""
        super().__init__(handler, request_factory=_request)
        self.on_error = on_error

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return _Protocol(self)


class _Protocol(web.RequestHandler):
    __slots__ = ("_on_error",)

    def __init__(self, server: DoorServer) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,  # bounded and judged by ourselves
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
        )
        self._on_error = server.on_error

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer a request that is no HTTP, or whose handler failed, without a word about why. Then close."""
        if status < 500:
            log.debug("malformed request", error=type(exc).__name__)
            problem = problems.MALFORMED_REQUEST
        else:
            log.error("request failed", exc_info=exc)
            if request.writer.output_size:
                raise ConnectionError("the answer is cut off")
            problem = problems.INTERNAL_ERROR
        self._on_error(problem.status)
        response = problem_response(problem)
        response.force_close()
        return response


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Take out the header by which aiohttp names itself and Python, with their versions."""
        response.headers.popall("Server", None)


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())
