"""Requests of every kind, and bytes that are none, on raw sockets: no answer outside the OpenAPI document.

`HYPOTHESIS_PROFILE=thorough` tries more.
"""

import asyncio
import gzip
import io
import logging
import os
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Final, cast

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import ingest.app
import ingest.server
from ingest.errors import UnavailableError
from ingest.records import Records
from tests.unit.ingest.contract import assert_described, described, everything
from tests.unit.ingest.doors import running_door, settings_with
from tests.unit.schemas.examples import SAMPLES

LIMIT: Final = 4_096
KNOWN_PATHS: Final = ("/webhooks/dash", "/webhooks/kiriminaja", "/healthz", "/", "/webhooks/", "/metrics")
ANSWER_SECONDS: Final = 20.0
PATIENCE_SECONDS: Final = 0.1
EXAMPLES: Final = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 150

fuzzing = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 1_000,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


class MoodyPublisher:
    """Cannot keep what says so."""

    async def publish(self, records: Records) -> None:
        found = list(records)
        assert len(found) == len(records) > 0
        if any(b"unavailable" in record.value for record in found):
            raise UnavailableError


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A door in a thread of its own, on the event loop of the real process, quick to lose patience."""
    ports: list[int] = []
    listening = threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with running_door(MoodyPublisher(), settings_with(WAYBILL_INGEST_MAX_BODY_BYTES=str(LIMIT))) as door:
            ports.append(door.port)
            loops.append(asyncio.get_running_loop())
            listening.set()
            await over.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HEAD_SECONDS", "KEEPALIVE_SECONDS", "LINGER_SECONDS"):
            patch.setattr(ingest.server, name, PATIENCE_SECONDS)
        patch.setattr(ingest.app, "BODY_SECONDS", PATIENCE_SECONDS)
        thread = threading.Thread(target=uvloop.run, args=[serve()])
        thread.start()
        assert listening.wait(ANSWER_SECONDS)
        yield ports[0]
        loops[0].call_soon_threadsafe(over.set)
        thread.join(ANSWER_SECONDS)
        assert not thread.is_alive()


class Said(io.BytesIO):
    """What the door said, in the place of a socket. HTTPResponse closes it after each answer; more may follow."""

    def makefile(self, _mode: str) -> "Said":
        return self

    def close(self) -> None:
        pass

    def rest(self) -> bytes:
        return self.getvalue()[self.tell() :]


def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes, and return everything that comes until the door closes the connection."""
    said = bytearray()
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        try:
            connection.sendall(sent)
            while more := connection.recv(65_536):
                said += more
        except ConnectionError:
            pass  # refused in the middle of what we sent
    return bytes(said)


def answers(said: bytes) -> list[tuple[HTTPResponse, bytes]]:
    """Read every answer there is. An answer to HEAD has no body, unless it was no HTTP."""
    stream = Said(said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
    found = []
    while stream.rest():
        response = HTTPResponse(cast("socket.socket", stream))
        response.begin()
        found.append((response, response.read() if stream.rest().startswith(b"{") else b""))
    return found


def no_errors(caplog: pytest.LogCaptureFixture) -> None:
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


token_text = st.text("abcXYZ019-_", min_size=1, max_size=8)
field_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
paths = st.one_of(
    st.sampled_from([*KNOWN_PATHS[:2] * 4, *KNOWN_PATHS, "*"]),
    st.text("abc/%.?#é;@:", max_size=12).map(lambda text: "/" + text),
)
methods = st.one_of(
    st.sampled_from(["POST"] * 8 + ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PRI"]),
    token_text,
)
credentials = st.sampled_from(
    [
        *[("X-Dash-Secret", "dash-new"), ("Authorization", "Bearer kiriminaja-token")] * 3,
        ("X-Dash-Secret", "wrong"),
        ("Authorization", "Basic x"),
        ("Authorization", "Bearer"),
    ]
)
others = st.one_of(
    st.tuples(st.sampled_from(["Content-Type", "Accept", "X-Forwarded-For", "Cookie", "Host"]), field_text),
    st.sampled_from([("Expect", "100-continue"), ("Upgrade", "h2c"), ("Connection", "upgrade"), ("TE", "trailers")]),
    st.tuples(token_text, field_text),
)
bodies = st.one_of(
    st.sampled_from([path.read_bytes() for path in SAMPLES.values()]),
    st.binary(max_size=300),
    st.sampled_from([b"", b"{}", b"null", b"unavailable", b"[" * LIMIT, bytes(LIMIT), bytes(LIMIT + 1), bytes(99_999)]),
)
PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "br": bytes,
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """Write a request; give its method and path, too."""
    method, path, body = draw(methods), draw(paths), draw(bodies)
    headers = draw(st.lists(others, max_size=4))
    headers += draw(st.lists(credentials, min_size=0, max_size=2))
    if encoding := draw(st.sampled_from([None, None, *PACKERS, "gzip, gzip"])):
        headers.append(("Content-Encoding", encoding))
        if draw(st.booleans()):
            body = PACKERS.get(encoding, bytes)(body)
    match draw(st.sampled_from(["length", "length", "length", "chunked", "wrong length", "none"])):
        case "length":
            headers.append(("Content-Length", str(len(body))))
        case "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
            cut = draw(st.integers(1, 500))
            chunks = [body[at : at + cut] for at in range(0, len(body), cut)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        case "wrong length":
            headers.append(("Content-Length", str(draw(st.integers(0, 2 * LIMIT)))))
        case _:
            pass
    headers.append(("Connection", draw(st.sampled_from(["close", "keep-alive"]))))
    lines = [f"{method} {path} HTTP/1.1", "Host: door", *(f"{name}: {value}" for name, value in headers), "", ""]
    return method, path, "\r\n".join(lines).encode("latin-1", "replace") + body


@fuzzing
@given(request=requests())
def test_every_answer_to_a_request_is_described(
    port: int, caplog: pytest.LogCaptureFixture, request: tuple[str, str, bytes]
) -> None:
    method, path, sent = request
    for place, (response, body) in enumerate(answers(exchange(port, sent))):
        # What stands behind the first request is read as another, which may be anything. CONNECT names no path.
        is_known = place == 0 and path in KNOWN_PATHS and method != "CONNECT"
        allowed = described(method, path) if is_known else everything()
        assert_described(allowed, response, body, head=b"HEAD" in sent and not body)
    no_errors(caplog)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Write a request and damage its bytes."""
    sent = bytearray(draw(requests())[2][:3_000])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(sent)))
        gone = draw(st.integers(0, 5))
        sent[at : at + gone] = draw(st.one_of(st.binary(max_size=5), st.sampled_from([b"\r\n", b"\n", b"\0", b": "])))
    return bytes(sent)


@fuzzing
@example(sent=b"")
@example(sent=b"\r\n\r\n")
@example(sent=b"GET / HTTP/0.9\r\n\r\n")
@example(sent=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(sent=b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n")
@given(sent=st.one_of(damaged(), st.binary(max_size=100)))
def test_every_answer_to_bytes_is_described(port: int, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    for response, body in answers(exchange(port, sent)):
        assert_described(everything(), response, body, head=b"HEAD" in sent and not body)
    no_errors(caplog)


def test_the_door_still_answers(port: int) -> None:
    sent = b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\nContent-Length: 2\r\n\r\n{}"
    ((response, _),) = answers(exchange(port, sent))
    assert response.status == 200
