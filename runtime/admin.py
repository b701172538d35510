"""The admin port of a service: `/healthz`, `/readyz`, `/metrics`."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from runtime.errors import SetupError

Readiness = Callable[[], Mapping[str, bool]]
"""Says of each part a service needs whether it works. Called at every question; must not wait."""

Taking = Callable[[], str | None]
"""Says which of the parts does the work now, where one of them is enough; None if none does."""

BACKLOG: Final = 2_048
"""Connections that wait to be accepted. Of a thousand that come at once Linux resets some behind aiohttp's 128."""

SHUTDOWN_SECONDS: Final = 1.0
"""How long an answer in the making may take when the service stops. The drain has 8 s for everything."""


@asynccontextmanager
async def admin_server(
    host: str, port: int, registry: CollectorRegistry, readiness: Readiness, taking: Taking | None = None
) -> AsyncIterator[int]:
    """Serve the admin port and give its number (port 0 takes a free one).

    A service is ready when all its parts work; with `taking`, when one of them does what the service is for.

    Raises:
        SetupError: the port cannot be listened on.

    """
    app = web.Application()
    app.add_routes(admin_routes(registry, readiness, taking))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handle_signals=False)
    await runner.setup()
    try:
        yield await listen(runner, host, port)
    finally:
        await runner.cleanup()


async def listen(runner: web.BaseRunner, host: str, port: int, *, shared: bool = False) -> int:
    """Listen on an address and return its port (port 0 takes a free one).

    A `shared` port may be listened on by several processes of one user, if each of them shares it: the kernel deals
    out the connections.

    Raises:
        SetupError: the port is taken, or the address is not ours.

    """
    reuse = shared and port != 0 and hasattr(socket, "SO_REUSEPORT")
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_port=reuse).start()
    except OSError as error:
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    bound: int = runner.addresses[0][1]
    return bound


def admin_routes(registry: CollectorRegistry, readiness: Readiness, taking: Taking | None = None) -> list[web.RouteDef]:
    """Return the routes of an admin port. Arguments as of `admin_server`."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        parts = dict(readiness())
        ready = all(parts.values())
        body: dict[str, Any] = {"parts": parts}
        if taking is not None:
            body["taking"] = taking()
            ready = body["taking"] is not None
        body = {"status": "ready" if ready else "not ready", **body}
        return web.json_response(body, status=200 if ready else 503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
