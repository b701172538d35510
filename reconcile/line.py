"""The one way to a courier's API: paced, bounded, and deaf to redirects."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
import structlog
from yarl import URL

from reconcile.errors import NotNowError
from reconcile.outcomes import AskOutcome, Failed, Refused, Throttled, outcome_of_status
from reconcile.waiting import Breaker, RateLimiter

ANSWER_SECONDS: Final = 15.0
"""How long an answer may take, to its last byte: couriers' own clients give up sooner."""

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take."""

LOOK_SECONDS: Final = 0.5
"""How soon somebody who waits notices that the process is to stop."""

PATIENCE_SECONDS: Final = 60.0
"""How long a courier may want to be left alone before somebody who asks once goes home."""

CHUNK_BYTES: Final = 64 * 1024

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Reply(msgspec.Struct, frozen=True):
    """An answer whose body is to be read: 200, or 404."""

    status: int
    body: bytes


class CourierClient:
    """Requests to one courier, at most `rate` in any second.

    `once`: whoever asks does not wait for a courier that is away.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        courier: str,
        rate: int,
        limit: int,
        stop: asyncio.Event,
        *,
        once: bool,
        not_before: float,
    ) -> None:
        """`limit`: the largest answer, in bytes. `not_before`: when the first request may begin (monotonic clock)."""
        self.courier = courier
        self._session = session
        self._limit = limit
        self._stop = stop
        self._once = once
        self._pace = RateLimiter(rate, not_before)
        self._breaker = Breaker()
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until a request may begin, and take its permit. Requests get theirs in the order of asking.

        Raises:
            NotNowError: the process is to stop, or the wait would be too long.

        """
        async with self._queue:
            while (seconds := self._wait()) > 0.0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), min(seconds, LOOK_SECONDS))
            self._pace.begin(time.monotonic())
            self._breaker.begin()

    def _wait(self) -> float:
        if self._stop.is_set():
            raise NotNowError("stopping")
        now = time.monotonic()
        pace, breaker = self._pace.wait(now), self._breaker.wait(now)
        if self._once and pace > PATIENCE_SECONDS:
            raise NotNowError(f"the courier wants to be left alone for {pace:.0f} s")
        if self._once and self._breaker.trips > 1:
            raise NotNowError("the courier does not answer")
        return max(pace, breaker)

    def give_back(self) -> None:
        """Give a permit back that is not used."""
        self._pace.end(time.monotonic())
        self._breaker.gave_up()

    async def exchange(
        self,
        read: Callable[[Reply], Result | Failed],
        method: str,
        url: str,
        headers: Mapping[str, str],
        document: Any = None,
    ) -> Result | Throttled | Failed | Refused:
        """Make one request, whose permit is taken already, and `read` the answer. A document is sent as JSON."""
        reply = await self._exchange(method, url, headers, document)
        said = read(reply) if isinstance(reply, Reply) else reply
        self._judge(said)
        return said

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], document: Any
    ) -> Reply | Throttled | Failed | Refused:
        body = None if document is None else msgspec.json.encode(document)
        shown = headers if document is None else {**headers, "Content-Type": "application/json"}
        permit = _Permit(self._pace)
        try:
            async with self._session.request(
                method, URL(url, encoded=True), headers=shown, data=body, allow_redirects=False
            ) as response:
                permit.give_back()
                said = outcome_of_status(response.status, response.headers, datetime.now(UTC))
                if said is not None:
                    response.close()  # its body may be of any size
                    return _without_body(said)
                return await self._read(response)
        except TimeoutError:
            return Failed(f"no answer within {ANSWER_SECONDS:.0f} s", again=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Failed(_why(error), again=True)
        finally:
            permit.give_back()

    async def _read(self, response: aiohttp.ClientResponse) -> Reply | Failed:
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > self._limit:
                response.close()
                return Failed(f"the answer is larger than {self._limit} bytes")
        return Reply(response.status, bytes(body))

    def _judge(self, said: object) -> None:
        """Learn from an answer how the courier is."""
        now = time.monotonic()
        if isinstance(said, Throttled | Failed) and said.hold is not None:
            self._pace.hold(now + said.hold)
        if not isinstance(said, Throttled | Failed):
            if self._breaker.trips:
                log.info("courier answers again", courier=self.courier)
            self._breaker.answered()
            return
        trips = self._breaker.trips
        self._breaker.failed(now)
        if trips == 0 and self._breaker.trips:
            why = said.why if isinstance(said, Failed) else "it throttles us"
            log.warning("courier left alone", courier=self.courier, why=why)


class _Permit:
    """Is given back once: when the answer has begun, or none comes."""

    def __init__(self, pace: RateLimiter) -> None:
        self._pace: RateLimiter | None = pace

    def give_back(self) -> None:
        if self._pace is not None:
            self._pace.end(time.monotonic())
            self._pace = None


def _without_body(said: AskOutcome) -> Throttled | Failed | Refused:
    assert isinstance(said, Throttled | Failed | Refused)
    return said


def _why(error: Exception) -> str:
    """Say why there is no answer, without anything that the courier sent."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the courier cannot be reached: {error}"
    return f"the connection broke: {type(error).__name__}"


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session that verifies TLS, keeps no cookies, and takes nothing compressed.

    What inflates to a multiple of its size cannot be bounded while it is read, so compression is not asked for.
    """
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "waybill"},
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        # aiohttp repeats a GET by itself when a kept connection breaks: that would pass by the pace.
        session._retry_connection = False
        yield session
