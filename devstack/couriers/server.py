"""The couriers' tracking on a real port: KiriminAja's POST /api/mitra/tracking, Dash's tokens and Get Delivery."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, assert_never

import msgspec
from aiohttp import web

from devstack.couriers import dash, kiriminaja
from devstack.couriers.misbehaviour import (
    Cut,
    Dripping,
    HtmlPage,
    Huge,
    Malformed,
    Misbehaviour,
    Redirected,
    Refused,
    Slow,
)
from devstack.couriers.simulator import SIGN_IN, Asked, Simulator, Strayed

HOST: Final = "127.0.0.1"
OTHER_NAME: Final = "localhost"
"""The same machine, yet another host to whoever compares names."""

SHUTDOWN_SECONDS: Final = 0.2
"""How long answers under way may take when the server stops: slow ones are not waited for."""

DRIPS: Final = 50
"""Pieces a dripping answer comes in, at most."""

CHUNK: Final = b"x" * 65536
PAGE: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>Sedang dalam perbaikan</h1></body></html>"

SIMULATOR: Final = web.AppKey("simulator", Simulator)


class Answer(msgspec.Struct, frozen=True):
    """What the document says to answer."""

    status: int
    document: dict[str, Any]


@asynccontextmanager
async def serving(simulator: Simulator, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve both couriers on a free port of the loopback interface; give the URL before the paths."""
    app = web.Application()
    app[SIMULATOR] = simulator
    app.router.add_post("/api/mitra/tracking", _tracking)
    app.router.add_post("/v1/auth/providers/token", _token)
    app.router.add_get("/v1/deliveries/{delivery}", _delivery)
    app.router.add_route("*", "/elsewhere/{path:.*}", _elsewhere)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://{HOST}:{port}"
    finally:
        await runner.cleanup()


async def _tracking(request: web.Request) -> web.StreamResponse:
    arrived = time.monotonic()
    simulator = request.app[SIMULATOR]
    asked = _text(await _json(request), "order_id")
    life = simulator.parcel(asked)
    if not simulator.is_kiriminaja_key(request.headers.get("Authorization", "")):
        answer = Answer(401, kiriminaja.UNAUTHORIZED)
    elif life is None:
        answer = Answer(200, kiriminaja.NOT_FOUND)
    else:
        answer = Answer(200, kiriminaja.tracking(life))
    return await _say(request, arrived, "kiriminaja", life.reference if life else asked, answer)


async def _token(request: web.Request) -> web.StreamResponse:
    arrived = time.monotonic()
    body = await _json(request)
    token = request.app[SIMULATOR].new_token(_text(body, "client_key"), _text(body, "client_secret"))
    answer = Answer(200, {"token": token}) if token else Answer(401, {"message": "Unauthorized"})
    return await _say(request, arrived, "dash", SIGN_IN, answer)


async def _delivery(request: web.Request) -> web.StreamResponse:
    arrived = time.monotonic()
    simulator = request.app[SIMULATOR]
    reference = request.match_info["delivery"]
    if not simulator.is_token(request.headers.get("Authorization", "")):
        answer = Answer(401, {"message": "Unauthorized"})
    elif (life := simulator.delivery(reference)) is None:
        answer = Answer(404, {"message": "Delivery not found"})
    else:
        answer = Answer(200, dash.envelope(life))
    return await _say(request, arrived, "dash", reference, answer)


async def _elsewhere(request: web.Request) -> web.StreamResponse:
    request.app[SIMULATOR].strayed.append(Strayed(request.path, "Authorization" in request.headers))
    return web.json_response({"status": True})


async def _json(request: web.Request) -> object:
    """Read the request's body; None where it is not JSON."""
    try:
        return json.loads(await request.read())
    except ValueError:
        return None


def _text(body: object, name: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


async def _say(
    request: web.Request, arrived: float, courier: str, reference: str, answer: Answer
) -> web.StreamResponse:
    """Note the request, and answer it as the script wants."""
    simulator = request.app[SIMULATOR]
    misbehaviour = simulator.script.decide(courier, reference)
    said = str(answer.status) if misbehaviour is None else _name(misbehaviour)
    simulator.asked.append(Asked(arrived, courier, reference, said))
    right = web.json_response(answer.document, status=answer.status)
    if misbehaviour is None:
        return right
    with contextlib.suppress(ConnectionError):  # the client hung up: some of this is meant to make it do so
        return await _misbehave(request, misbehaviour, right)
    return right


async def _misbehave(request: web.Request, misbehaviour: Misbehaviour, right: web.Response) -> web.StreamResponse:
    match misbehaviour:
        case Refused(status, retry_after):
            headers = {} if retry_after is None else {"Retry-After": retry_after}
            return web.json_response({"message": "Try again later"}, status=status, headers=headers)
        case Slow(seconds):
            await asyncio.sleep(seconds)
            return right
        case Dripping(seconds):
            return await _drip(request, right, seconds)
        case Malformed():
            return web.Response(body=_half(right), content_type="application/json")
        case HtmlPage():
            return web.Response(text=PAGE, content_type="text/html")
        case Huge(size):
            return await _flood(request, size)
        case Redirected(location):
            elsewhere = f"{request.scheme}://{OTHER_NAME}:{request.url.port}/elsewhere{request.path}"
            return web.Response(status=307, headers={"Location": location or elsewhere})
        case Cut(answering):
            return await _cut(request, right, answering)
        case _:
            assert_never(misbehaviour)


async def _drip(request: web.Request, right: web.Response, seconds: float) -> web.StreamResponse:
    body = _bytes(right)
    response = await _begin(request, len(body), right.status)
    size = -(-len(body) // DRIPS)
    for begin in range(0, len(body), size):
        await response.write(body[begin : begin + size])
        await asyncio.sleep(seconds / DRIPS)
    return response


async def _flood(request: web.Request, size: int) -> web.StreamResponse:
    before, after = b'{"status":true,"text":"', b'"}'
    response = await _begin(request, size)
    await response.write(before)
    left = size - len(before) - len(after)
    while left > 0:
        await response.write(CHUNK[:left])
        left -= len(CHUNK)
    await response.write(after)
    return response


async def _cut(request: web.Request, right: web.Response, answering: bool) -> web.StreamResponse:
    response: web.StreamResponse = right
    if answering:
        response = await _begin(request, len(_bytes(right)))
        await response.write(_half(right))
    if request.transport is not None:
        request.transport.abort()
    return response


async def _begin(request: web.Request, size: int, status: int = 200) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    response.content_length = size
    await response.prepare(request)
    return response


def _bytes(response: web.Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def _half(response: web.Response) -> bytes:
    body = _bytes(response)
    return body[: len(body) // 2]


def _name(misbehaviour: Misbehaviour) -> str:
    return str(misbehaviour.status) if isinstance(misbehaviour, Refused) else type(misbehaviour).__name__
