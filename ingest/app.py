"""The door's routes: what is judged, in which order, and what is answered."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

import msgspec
from aiohttp import web

from ingest import problems
from ingest.body import IDENTITY, decode, encoding_of, wire_limit
from ingest.credentials import Verifier, verify
from ingest.errors import (
    BodyTooLargeError,
    BrokenEncodingError,
    BrokenOffError,
    OverloadedError,
    UnavailableError,
)
from ingest.publisher import Publisher
from ingest.records import RawRecords
from ingest.server import JsonAnswer, problem_response, try_later
from ingest.splitting import Splitter
from runtime.metrics import IngestMetrics
from schemas.couriers.base import Courier, WebhookItem
from schemas.records import Provenance
from schemas.traces import DRAWN_BYTES, TRACEPARENT, is_traced

if TYPE_CHECKING:
    from runtime.spans import Spans

WEBHOOKS: Final = "/webhooks/"
HEALTH: Final = "/healthz"

BODY_SECONDS: Final = 15.0
"""How long a body may take to arrive. Couriers send a few kilobytes at once; the rest hold connections."""

BODIES_BYTES: Final = 24 * 1024 * 1024
"""How many bytes of bodies may be in memory at once, from their arrival to the answer; beyond, 503. Thousands of usual
webhooks. Each byte may be there five times over, in pieces and in batches on their way to Kafka."""

BODY_LIMITS_IN_MEMORY: Final = 20
"""At least so many bodies of just the limit fit, whatever the limit is."""

PIECE_BYTES: Final = 2 * 1024
"""What an item of a body counts beside its bytes: its record with its headers, on its way to Kafka. Of bodies with as
many tiny items as may be, one at a time fits into memory beside usual webhooks."""

CONTENT_TYPE_CHARACTERS: Final = 256
"""How much is kept of a request's Content-Type: it stands in the header of each of its records. A type has at most 255
(RFC 6838, 4.2), and couriers send some thirty."""

ANSWERS: Final = (200, 400, 401, 405, 413, 503)
"""The status codes of a courier's route."""

UNKNOWN_COURIER: Final = ""
"""The metrics' label of requests for no courier that is on."""


class Route(msgspec.Struct, frozen=True):
    """A courier that is on, and what its webhooks' secret is verified by."""

    courier: Courier
    verifier: Verifier


class Accepted(msgspec.Struct, frozen=True):
    """The answer to a webhook once all of its records are durable."""

    status: str
    webhook_id: str
    records: int


class MemoryBudget:
    """The memory that the bodies of all requests may take together."""

    def __init__(self, size: int) -> None:
        """Hold at most so many bytes."""
        self.left = size


class Share:
    """What one request takes of the budget. It returns at the end of the `with`."""

    def __init__(self, budget: MemoryBudget) -> None:
        """Begin with nothing."""
        self._budget = budget
        self._taken = 0

    def take(self, count: int) -> None:
        """Take so many bytes more. Raises OverloadedError where they are not left."""
        if count > self._budget.left:
            raise OverloadedError
        self._budget.left -= count
        self._taken += count

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Return all of it."""
        self._budget.left += self._taken


class Door:
    """Answers requests at the public port: webhooks of the couriers that are on, and `/healthz`."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        publisher: Publisher,
        metrics: IngestMetrics,
        *,
        account: str | None,
        max_body_bytes: int,
        now: Callable[[], datetime],
        spans: "Spans | None" = None,
        trace_ratio: float = 0,
    ) -> None:
        """Serve the routes, by courier's name. `max_body_bytes` counts after decompression.

        `spans` makes the spans of webhooks that are traced, a share of `trace_ratio`.
        """
        self._routes = {WEBHOOKS + name: route for name, route in routes.items()}
        self._publisher = publisher
        self._metrics = metrics
        self._account = account
        self._max_body_bytes = max_body_bytes
        self._budget = MemoryBudget(max(BODIES_BYTES, BODY_LIMITS_IN_MEMORY * max_body_bytes))
        self._now = now
        self._spans = spans
        self._trace_ratio = trace_ratio
        self._splitter = Splitter()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        metrics.begin(routes, ANSWERS)
        self._last_accepted = {name: metrics.last_accepted.labels(name) for name in routes}

    async def drain(self) -> None:
        """Return when no request is in flight. Connections are closed after their next answer."""
        self._draining = True
        await self._idle.wait()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self._in_flight += 1
        self._idle.clear()
        try:
            response = await self._route(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        if self._draining:
            response.force_close()
        return response

    def count_error(self, status: int) -> None:
        """Count a request that the server answered by itself: it was no HTTP, or `handle` failed."""
        self._metrics.answered(UNKNOWN_COURIER, status).inc()

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == HEALTH:
            return _health(request)
        began = time.perf_counter()
        route = self._routes.get(path)
        response = problem_response(problems.NOT_FOUND) if route is None else await self._judge(request, route)
        status = response.status
        if status != web.HTTPOk.status_code and "Expect" in request.headers:
            response.force_close()  # the body may never come
        self._metrics.answered(route.courier.name if route else UNKNOWN_COURIER, status).inc()
        self._metrics.request_duration.observe(time.perf_counter() - began)
        return response

    async def _judge(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        """Judge a request in the order that couriers rely on."""
        if request.method != "POST":
            return problem_response(problems.METHOD_NOT_ALLOWED, {"Allow": "POST"})
        if not verify(route.verifier, request.headers.getall(route.verifier.header, ())):
            challenge = f'{route.verifier.challenge} realm="{route.courier.name}"'
            return problem_response(problems.UNAUTHORIZED, {"WWW-Authenticate": challenge})
        with Share(self._budget) as share:
            try:
                body = await self._read(request, share)
                if not body:
                    return problem_response(problems.EMPTY_BODY)
                pieces = await self._splitter.split(route.courier, body)
                share.take(PIECE_BYTES * (len(pieces) - 1))
                return await self._accept(route.courier, pieces, request.headers)
            except BodyTooLargeError:
                return _closing(problem_response(problems.BODY_TOO_LARGE))
            except OverloadedError:
                return _closing(try_later(problems.OVERLOADED))
            except UnavailableError:
                return try_later(problems.UNAVAILABLE)
            except BrokenEncodingError:
                return problem_response(problems.BROKEN_ENCODING)
            except BrokenOffError:
                return _closing(problem_response(problems.MALFORMED_REQUEST))

    async def _accept(
        self, courier: Courier, pieces: list[WebhookItem], headers: Mapping[str, str]
    ) -> web.StreamResponse:
        webhook_id = _new_id()
        webhook = Provenance(
            courier=courier.name,
            received_at=self._now(),
            account=self._account,
            webhook_id=webhook_id,
            content_type=_storable(headers.get("Content-Type")),
        )
        if self._spans is None or not is_traced(self._trace_ratio, os.urandom(DRAWN_BYTES)):
            await self._publisher.publish(RawRecords(pieces, webhook))
        else:
            route, theirs = WEBHOOKS + courier.name, headers.get(TRACEPARENT)
            with self._spans.webhook(route, len(pieces), webhook.received_at, theirs) as traceparent:
                traced = msgspec.structs.replace(webhook, traceparent=traceparent)
                await self._publisher.publish(RawRecords(pieces, traced))
        self._last_accepted[courier.name].set(webhook.received_at.timestamp())
        return JsonAnswer(msgspec.json.encode(Accepted("accepted", webhook_id, len(pieces))))

    async def _read(self, request: web.BaseRequest, share: Share) -> bytes:
        """Read and decompress a body, of which no more than the limit is ever kept. `share` takes what comes.

        Raises:
            BodyTooLargeError: at once, where the request's head tells.
            BrokenEncodingError: it cannot be decompressed.
            BrokenOffError: it did not all come.
            OverloadedError: there is no memory for it.

        """
        encoding = encoding_of(request.headers.getall("Content-Encoding", ()))
        limit = wire_limit(encoding, self._max_body_bytes)
        if (request.content_length or 0) > limit:
            raise BodyTooLargeError
        try:
            if request.content.is_eof():  # it came with the head, as small ones do
                wire = request.content.read_nowait()
                if len(wire) > limit:
                    raise BodyTooLargeError
                share.take(len(wire))
            else:
                wire = await _arriving(request, limit, share)
        except web.RequestPayloadError as error:
            raise BrokenOffError("not framed as HTTP says") from error
        except (TimeoutError, ConnectionError) as error:
            request.protocol.force_close()
            raise BrokenOffError("too slow, or the sender is gone") from error
        body = decode(wire, encoding, self._max_body_bytes)
        if encoding != IDENTITY:
            share.take(len(body))
        return body


async def _arriving(request: web.BaseRequest, limit: int, share: Share) -> bytes:
    """Read the rest of a body as it comes. Raises what reading a body does, and what a connection does."""
    wire = bytearray()
    async with asyncio.timeout(BODY_SECONDS):
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        async for chunk in request.content.iter_any():
            if len(wire) + len(chunk) > limit:
                raise BodyTooLargeError
            share.take(len(chunk))
            wire += chunk
    return bytes(wire)


def _health(request: web.BaseRequest) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        return problem_response(problems.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
    return web.Response(body=msgspec.json.encode({"status": "ok"}), content_type="application/json")


def _closing(response: web.Response) -> web.Response:
    """Close the connection behind an answer: the rest of the body is not wanted."""
    response.force_close()
    return response


def _new_id() -> str:
    """Make a UUID of version 4 (RFC 9562, 5.4) as `uuid.uuid4` does, in a third of the time."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _storable(header: str | None) -> str | None:
    """Bound a header's text and make it valid UTF-8: aiohttp hides other bytes in surrogates."""
    if header is None:
        return None
    return header[:CONTENT_TYPE_CHARACTERS].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
