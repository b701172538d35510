"""A console in a real Chromium: the browser, the console as a process of its own, tabs that hear what goes wrong."""

import asyncio
import base64
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, Request, async_playwright, expect

from devstack.ports import free_ports
from tests.children import environ_with
from tests.integration.consoles import is_ready
from tests.integration.system import System
from tests.waiting import DEADLINE, until

HERE_ALONE: Final = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)
"""No name leads anywhere: what a page asked of others would fail, and be heard."""

WIDE: Final = (1280, 900)
NARROW: Final = (320, 640)

SEVERE: Final = ("serious", "critical")
"""Findings of axe that no page may have."""

BY_LOOK: Final = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")
"""Rules of axe that depend on the width and the colours."""

SCREENSHOTS: Final = Path(__file__).parents[2] / "docs" / "images" / "console"

_HEAR_THE_POLICY: Final = """
addEventListener("securitypolicyviolation", (event) => console.error(
    `the policy forbids ${event.violatedDirective}: ${event.blockedURI}`));
"""


class Tab:
    """One tab of the browser, looking at a console."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.troubles: list[str] = []
        """What the browser complained of, and what it asked of others."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("request", self._ask)

    async def open(self, path: str) -> None:
        """Open a page, which answers 200."""
        answer = await self.page.goto(f"{self.url}{path}")
        assert answer is not None
        assert answer.status == HTTPStatus.OK, await answer.text()

    @property
    def path(self) -> str:
        """Where the tab is, without its query."""
        return urlsplit(self.page.url).path

    async def judged(self, *rules: str) -> list[str]:
        """Return what axe has against the page as it stands, and would keep somebody from using it.

        Named rules are tried alone.
        """
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE_SCRIPT)
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        found = await self.page.evaluate("(options) => axe.run(options)", options)
        return [
            f"{each['id']}: {each['help']}: {node['html']}"
            for each in found["violations"]
            if each["impact"] in SEVERE
            for node in each["nodes"]
        ]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"{message.type}: {message.text}")

    def _ask(self, request: Request) -> None:
        if not request.url.startswith(f"{self.url}/"):
            self.troubles.append(f"asked of others: {request.url}")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Debian's Chromium, without a window; a machine that has none skips the test."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian's package chromium): the console is looked at in no browser")
    expect.set_options(timeout=DEADLINE * 1000)
    async with async_playwright() as playwright:
        browser = await _launched(playwright, program)
        yield browser
        await browser.close()


async def _launched(playwright: Playwright, program: str) -> Browser:
    """Start it. Its sandbox stays on but for root, who cannot have it."""
    return await playwright.chromium.launch(
        executable_path=program, args=HERE_ALONE, chromium_sandbox=os.geteuid() != 0
    )


@asynccontextmanager
async def tab(browser: Browser, url: str, size: tuple[int, int] = WIDE, **options: Any) -> AsyncIterator[Tab]:
    """Open a tab of a browser that knows nothing yet. At its end nothing has gone wrong in it."""
    width, height = size
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(DEADLINE * 1000)
    try:
        await context.add_init_script(_HEAR_THE_POLICY)
        opened = Tab(await context.new_page(), url)
        yield opened
        assert opened.troubles == [], opened.troubles
    finally:
        await context.close()


async def picture(page: Page) -> bytes:
    """Return what is seen of a page as WebP, a third of the bytes of PNG."""
    session = await page.context.new_cdp_session(page)
    taken = await session.send("Page.captureScreenshot", {"format": "webp", "quality": 85})
    return base64.b64decode(taken["data"])


@asynccontextmanager
async def console(system: System, **environ: str) -> AsyncIterator[str]:
    """Run `waybill console` as an operator does; give its address once it is ready. It stops in order at the end."""
    (port,) = free_ports(1)
    settings = {"WAYBILL_CONSOLE_PORT": str(port), "WAYBILL_OPERATOR": "sari", **environ}
    with tempfile.TemporaryFile("w+") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "console"), env=environ_with(system.environ | settings), stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await until(lambda: _is_ready(process, url))
            yield url
            process.terminate()
            assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
        except BaseException:
            log.seek(0)
            print("--- the console", log.read()[-10_000:], sep="\n", file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _is_ready(process: asyncio.subprocess.Process, url: str) -> bool:
    assert process.returncode is None, "the console has ended by itself"
    return await is_ready(url)
