"""Consoles to send requests to, over real HTTP, without stores behind them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
from aiohttp import web
from argon2 import PasswordHasher

from console.app import CODES, ROUTES, Console
from console.database import Database
from console.looks import Look
from console.page import Context, Looks
from console.plans import Plans
from console.tail import Tail
from console.users import NEVER, Users
from operators.views.watching import Glimpse
from runtime.admin import admin_routes, listen
from runtime.errors import UnreachableError
from runtime.metrics import ConsoleMetrics, new_registry
from runtime.settings import load_settings

PASSWORD: Final = "correct horse battery staple"
HASH: Final = PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1).hash(PASSWORD)
"""Of little work, so that many may log in."""

USERS: Final = {"ani": "viewer", "budi": "operator", "citra": "personal+operator"}
FILE: Final = "\n".join(f"{name}:{roles}:{HASH}" for name, roles in USERS.items())

Ask = Callable[..., Awaitable["Answer"]]


class Answer:
    """What was answered."""

    def __init__(self, response: aiohttp.ClientResponse, text: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = text
        self.kind = response.content_type
        self.cookies = response.cookies


async def away() -> Any:
    raise UnreachableError("the store is away")


async def nothing_passes(*_: Any) -> AsyncGenerator[Glimpse, None]:
    while True:
        yield Glimpse((), 0)
        await asyncio.sleep(0.01)


def looks(**asked: Callable[[], Awaitable[Any]]) -> Looks:
    """Make looks, those named by what is asked; the others find their store away."""
    made = {
        name: Look(asked.get(name, away), timedelta(seconds=15), timedelta(seconds=5))
        for name in Looks.__struct_fields__
    }
    return Looks(**made)


def context_of(environ: Mapping[str, str], **asked: Callable[[], Awaitable[Any]]) -> Context:
    settings = load_settings({"WAYBILL_OPERATOR": "sari", **environ}, lambda _path: FILE)
    database = Database(settings)
    plans = Plans(settings, lambda: database.pool)
    return Context(settings, database, looks(**asked), Tail(settings, nothing_passes), plans)


@asynccontextmanager
async def console(
    environ: Mapping[str, str] | None = None,
    context: Context | None = None,
    key: bytes = b"k" * 32,
    users: Users | None = None,
) -> AsyncIterator[Ask]:
    """Serve a console; give what asks it: `ask(path, method=…, headers=…, data=…)`. Redirects are not followed."""
    made = context or context_of(environ or {})
    registry = new_registry()
    metrics = ConsoleMetrics(registry)
    metrics.begin(ROUTES, CODES)
    # The file of users is a text here, which nobody changes.
    users = Users(made.settings, lambda _path: NEVER) if users is None else users
    app = Console(made, metrics, key, users).application(admin_routes(registry, lambda: {"postgres": False}))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        port = await listen(runner, "127.0.0.1", 0)
        jar = aiohttp.DummyCookieJar()
        async with asyncio.timeout(30), aiohttp.ClientSession(cookie_jar=jar) as session:

            async def ask(path: str, method: str = "GET", **options: Any) -> Answer:
                url = f"http://127.0.0.1:{port}{path}"
                async with session.request(method, url, allow_redirects=False, **options) as response:
                    return Answer(response, await response.text())

            ask.origin = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
            yield ask
    finally:
        await runner.cleanup()
        await made.looks.close()
        await made.plans.close()
