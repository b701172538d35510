"""The HTTP shell: aiohttp's server, bounded, saying nothing about itself and answering errors as problem+json."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time

from ingest import problems
from ingest.problems import Problem

LINGER_SECONDS: Final = 3.0
"""How long the rest of a refused body is read, so that its sender gets to see the answer."""

KEEPALIVE_SECONDS: Final = 75.0
"""How long a connection may be idle between two requests: longer than usual proxies keep theirs."""

HEAD_SECONDS: Final = 10.0
"""How long a request's head may take to arrive, the first one from the connection's opening on."""

HEAD_BYTES: Final = 32 * 1024
"""How large a head may be. Couriers' have a few hundred bytes; 2,000 unfinished ones must fit into memory."""

MAX_HEADERS: Final = 64

ANSWER_SECONDS: Final = 10.0
"""How long an answer may take to be read, if it does not fit into the connection's buffers."""

MAX_CONNECTIONS: Final = 2_048
"""More are told 503. Two thousand webhooks at once take about 2 s, and as many idle connections some 40 MB."""

READ_BYTES: Final = 8 * 1024
RECEIVE_BYTES: Final = 32 * 1024
SEND_BYTES: Final = 32 * 1024
"""How much of a connection's bytes we and the kernel hold before anybody reads them: little enough 2,000 times. Of
answers that a peer does not read the kernel would hold megabytes."""

RETRY_AFTER_SECONDS: Final = 5
"""When to come again after a 503: a broker's new leader is there by then."""

log = structlog.get_logger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make the answer that tells a problem."""
    return web.Response(status=problem.status, body=problem.body(), content_type=problems.MEDIA_TYPE, headers=headers)


def try_later(problem: Problem) -> web.Response:
    """Make the answer to a webhook that cannot be kept now."""
    return problem_response(problem, {"Retry-After": str(RETRY_AFTER_SECONDS)})


class JsonAnswer(web.StreamResponse):
    """A 200 with a JSON text. Its head is written as it stands: aiohttp puts one together in several times as long."""

    def __init__(self, body: bytes) -> None:
        """Answer with a text."""
        super().__init__()
        self._text = body

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the answer."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        major, minor = request.version
        connection = ""
        if self._keep_alive and request.version == HttpVersion10:
            connection = "Connection: keep-alive\r\n"
        elif not self._keep_alive and request.version == HttpVersion11:
            connection = "Connection: close\r\n"
        head = (
            f"HTTP/{major}.{minor} 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(self._text)}\r\n"
            f"Date: {rfc822_formatted_time()}\r\n{connection}\r\n"
        )
        await request.writer.write(head.encode() + self._text)
        await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class DoorServer(web.Server):
    """Makes a protocol for each connection."""

    def __init__(
        self, handler: Handler, on_error: Callable[[int], None], max_connections: int = MAX_CONNECTIONS
    ) -> None:
        """Serve with `handler`; `on_error` is told the status of each request that did not come so far, or failed."""
        super().__init__(handler, request_factory=_request)
        self.on_error = on_error
        self.max_connections = max_connections

    def __call__(self) -> web.RequestHandler:
        """Make the protocol of a new connection."""
        return _Protocol(self)


class _Protocol(web.RequestHandler):
    __slots__ = ("_head_bytes", "_head_timer", "_server")

    def __init__(self, server: DoorServer) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,  # bounded and judged by ourselves
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BYTES,
        )
        self._server = server
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it where there are too many."""
        transport = cast("asyncio.Transport", transport)
        if len(self._server.connections) >= self._server.max_connections:
            self._refuse(transport, problems.OVERLOADED)
            return
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head must come in time and be of some size only."""
        super().data_received(data)
        if self._waiter is None or self._waiter.done() or self.transport is None:
            if self._head_timer is not None:
                self._head_is_here()
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(self.transport, problems.MALFORMED_REQUEST)
        elif self._head_timer is None:
            self._await_head()

    def force_close(self) -> None:
        """Close now, without waiting for a peer that does not read."""
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()
        super().force_close()

    async def _drain_helper(self) -> None:
        """Wait until a peer has read what does not fit into the connection's buffers, not for long."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await super()._drain_helper()
        except TimeoutError as error:
            self.force_close()
            raise ConnectionError("the answer is not read") from error

    def _await_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.force_close)

    def _head_is_here(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, transport: asyncio.Transport, problem: Problem) -> None:
        """Answer whatever comes on a connection, without reading it, and close it."""
        self._server.on_error(problem.status)
        transport.write(_canned(problem))
        self._force_close = True
        transport.close()

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
        self._server.on_error(problem.status)
        response = problem_response(problem)
        response.force_close()
        return response


class _Request(web.BaseRequest):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Take out the header by which aiohttp names itself and Python, with their versions."""
        response.headers.popall("Server", None)


def _canned(problem: Problem) -> bytes:
    body = problem.body()
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}",
        f"Content-Type: {problems.MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        *([f"Retry-After: {RETRY_AFTER_SECONDS}"] if problem is problems.OVERLOADED else []),
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> web.BaseRequest:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())
