"""Consoles to be asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import jsonschema
import msgspec

from console import openapi
from console.service import serve
from devstack.ports import free_ports
from processor.recovery.run import halted
from tests.hostile import commanding
from tests.integration.system import System
from tests.waiting import DEADLINE, until

JSON: Final = {"Accept": "application/json"}
DOCUMENT: Final = msgspec.json.decode(openapi.text())


async def is_ready(url: str) -> bool:
    """Whether a console answers, and says that it is ready."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


@asynccontextmanager
async def served(system: System, **environ: str) -> AsyncIterator[str]:
    """Run a console inside the test's own process; give its address once it is ready. It stops in order at the end."""
    (port,) = free_ports(1)
    system.set(WAYBILL_CONSOLE_PORT=str(port), WAYBILL_OPERATOR="sari", **environ)
    stop, url = asyncio.Event(), f"http://127.0.0.1:{port}"
    serving = asyncio.create_task(serve(system.settings, halted, stop))
    try:
        await until(lambda: is_ready(url))
        yield url
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE):
            await serving


class Console:
    """A console that is looked at."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def page(self, path: str, status: int = 200) -> str:
        """Return a page."""
        async with self._session.get(f"{self.url}{path}", allow_redirects=False) as answer:
            text = await answer.text()
            assert answer.status == status, text
            assert commanding(text.replace("\t", "")) == []
            return str(answer.headers.get("Location", text))

    async def json(self, page: str, path: str, status: int = 200) -> Any:
        """Return what a page answers as JSON, which is as the document says."""
        async with self._session.get(f"{self.url}{path}", headers=JSON) as answer:
            told = msgspec.json.decode(await answer.read())
            assert answer.status == status, told
        if status == 200:
            content = DOCUMENT["paths"][page]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(told, {**content, "components": DOCUMENT["components"]})
        return told

    async def ready(self) -> bool:
        return await is_ready(self.url)


@asynccontextmanager
async def looking(system: System) -> AsyncIterator[Console]:
    """Run a console that is looked at."""
    async with served(system) as url, aiohttp.ClientSession() as session:
        yield Console(url, session)
