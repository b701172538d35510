"""The door's routes: what is judged, in which order, and what is answered."""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from aiohttp import web

from ingest import problems
from ingest.body import decode, encoding_of, wire_limit
from ingest.credentials import Lock, opens
from ingest.errors import BodyTooLargeError, BrokenEncodingError, BrokenOffError, UnavailableError
from ingest.publisher import Publisher
from ingest.records import RawRecords
from ingest.server import problem_response
from runtime.metrics import IngestMetrics
from schemas.couriers.base import Courier
from schemas.records import Provenance

WEBHOOKS: Final = "/webhooks/"
HEALTH: Final = "/healthz"

BODY_SECONDS: Final = 15.0
"""How long a body may take to arrive. Couriers send a few kilobytes at once; the rest hold connections."""

RETRY_AFTER_SECONDS: Final = 5
"""When to come again after a 503: a broker's new leader is there by then."""

UNKNOWN_COURIER: Final = ""
"""The metrics' label of requests for no courier that is on."""


class Gate(msgspec.Struct, frozen=True):
    """A courier that is on, and what opens its route."""

    courier: Courier
    lock: Lock


class Accepted(msgspec.Struct, frozen=True):
    """The answer to a webhook once all of its records are durable."""

    status: str
    webhook_id: str
    records: int


class Door:
    """Answers requests at the public port: webhooks of the couriers that are on, and `/healthz`."""

    def __init__(
        self,
        gates: Mapping[str, Gate],
        publisher: Publisher,
        metrics: IngestMetrics,
        *,
        account: str | None,
        max_body_bytes: int,
        now: Callable[[], datetime],
    ) -> None:
        """Let in what the gates, by courier's name, allow. `max_body_bytes` counts after decompression."""
        self._gates = gates
        self._publisher = publisher
        self._metrics = metrics
        self._account = account
        self._max_body_bytes = max_body_bytes
        self._now = now
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

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
        self._metrics.requests.labels(UNKNOWN_COURIER, str(status)).inc()

    async def _route(self, request: web.BaseRequest) -> web.Response:
        if request.path == HEALTH:
            return _health(request)
        began = time.perf_counter()
        gate = self._gates.get(request.path.removeprefix(WEBHOOKS)) if request.path.startswith(WEBHOOKS) else None
        response = problem_response(problems.NOT_FOUND) if gate is None else await self._judge(request, gate)
        if "Expect" in request.headers and response.status != web.HTTPOk.status_code:
            response.force_close()  # the body may never come
        self._metrics.requests.labels(gate.courier.name if gate else UNKNOWN_COURIER, str(response.status)).inc()
        self._metrics.request_duration.observe(time.perf_counter() - began)
        return response

    async def _judge(self, request: web.BaseRequest, gate: Gate) -> web.Response:
        """Judge a request in the order that couriers rely on."""
        if request.method != "POST":
            return problem_response(problems.METHOD_NOT_ALLOWED, {"Allow": "POST"})
        if not opens(gate.lock, request.headers.getall(gate.lock.header, ())):
            challenge = f'{gate.lock.challenge} realm="{gate.courier.name}"'
            return problem_response(problems.UNAUTHORIZED, {"WWW-Authenticate": challenge})
        try:
            body = await self._read(request)
        except BodyTooLargeError:
            response = problem_response(problems.BODY_TOO_LARGE)
            response.force_close()
            return response
        except BrokenEncodingError:
            return problem_response(problems.BROKEN_ENCODING)
        except BrokenOffError:
            response = problem_response(problems.MALFORMED_REQUEST)
            response.force_close()
            return response
        if not body:
            return problem_response(problems.EMPTY_BODY)
        return await self._accept(gate.courier, body, request.headers.get("Content-Type"))

    async def _accept(self, courier: Courier, body: bytes, content_type: str | None) -> web.Response:
        webhook_id = str(uuid.uuid4())
        webhook = Provenance(
            courier=courier.name,
            received_at=self._now(),
            account=self._account,
            webhook_id=webhook_id,
            content_type=_storable(content_type),
        )
        pieces = courier.split(body)
        try:
            await self._publisher.publish(RawRecords(pieces, webhook))
        except UnavailableError:
            return problem_response(problems.UNAVAILABLE, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._metrics.last_accepted.labels(courier.name).set(webhook.received_at.timestamp())
        return _json_response(Accepted("accepted", webhook_id, len(pieces)))

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Read and decompress a body, of which no more than the limit is ever kept.

        Raises:
            BodyTooLargeError: at once, where the request's head tells.
            BrokenEncodingError: it cannot be decompressed.
            BrokenOffError: it did not all come.

        """
        encoding = encoding_of(request.headers.getall("Content-Encoding", ()))
        limit = wire_limit(encoding, self._max_body_bytes)
        if (request.content_length or 0) > limit:
            raise BodyTooLargeError
        wire = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if request.headers.get("Expect", "").lower() == "100-continue":
                    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    request.writer.output_size = 0  # the answer itself has not begun
                async for chunk in request.content.iter_any():
                    wire += chunk
                    if len(wire) > limit:
                        raise BodyTooLargeError
        except web.RequestPayloadError as error:
            raise BrokenOffError("not framed as HTTP says") from error
        except (TimeoutError, ConnectionError) as error:
            request.protocol.force_close()
            raise BrokenOffError("too slow, or the sender is gone") from error
        return decode(bytes(wire), encoding, self._max_body_bytes)


def _health(request: web.BaseRequest) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        return problem_response(problems.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
    return _json_response({"status": "ok"})


def _json_response(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _storable(header: str | None) -> str | None:
    """Make a header's text valid UTF-8: aiohttp hides other bytes in surrogates."""
    return header and header.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
