"""A console in a real Chromium: the browser, the console as a process of its own, tabs that hear what goes wrong."""

import asyncio
import base64
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    ViewportSize,
    async_playwright,
    expect,
)

from devstack.ports import free_ports
from tests.children import environ_with, logged
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

WRITE: Final = "WAYBILL_TEST_WRITE_SCREENSHOTS"
"""Set by `make screenshots`, which puts a picture of each page into the docs."""

SCREENSHOTS: Final = Path(__file__).parents[2] / "docs" / "images" / "console"

_STOPS: Final = """
() => [...document.querySelectorAll(
        'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')]
    .filter((each) => each.checkVisibility() && !each.disabled)
"""
"""What a keyboard must reach, in the order in which it is read."""

_FOCUSED: Final = f"""
() => {{
    const focused = document.activeElement, box = focused.getBoundingClientRect();
    const style = getComputedStyle(focused);
    return {{
        place: ({_STOPS})().indexOf(focused),
        seen: box.width > 0 && box.left >= 0 && box.left < innerWidth
            && (box.height > innerHeight ? box.bottom > 0 : box.top >= 0) && box.top < innerHeight
            && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    }};
}}
"""

_BEGIN: Final = """
() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute("tabindex"); }
"""
"""Lets the next press of Tab reach the first stop, wherever the page has set the focus."""

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

    @contextmanager
    def quiet(self) -> Iterator["Tab"]:
        """Within the block nothing goes wrong in the tab."""
        yield self
        troubles, self.troubles = self.troubles, []
        assert troubles == [], troubles

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
        options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": list(rules)} if rules else {})}
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
    context = await browser.new_context(viewport=_size(size), **options)
    context.set_default_timeout(DEADLINE * 1000)
    try:
        await context.add_init_script(_HEAR_THE_POLICY)
        opened = Tab(await context.new_page(), url)
        with opened.quiet():
            yield opened
    finally:
        await context.close()


def _size(size: tuple[int, int]) -> ViewportSize:
    width, height = size
    return {"width": width, "height": height}


async def assert_serves_everybody(opened: Tab) -> None:
    """The page as it stands is reached by keyboard alone, and is read light and wide, dark and narrow.

    Its header is the same on every page, and is skipped.
    """
    found = await opened.judged()
    assert found == [], found
    await walk_through(opened)
    await opened.page.emulate_media(color_scheme="dark")
    await opened.page.set_viewport_size(_size(NARROW))
    found = await opened.judged(*BY_LOOK)
    assert found == [], found
    assert await opened.page.evaluate("document.documentElement.scrollWidth") <= NARROW[0], "it is scrolled to the side"
    await opened.page.emulate_media(color_scheme="light")
    await opened.page.set_viewport_size(_size(WIDE))


async def walk_through(opened: Tab, *, whole: bool = False) -> None:
    """Go through a page by keyboard: everything is reached, seen, in the order of reading; the header is skipped.

    `whole`: the header is gone through first.
    """
    keyboard = opened.page.keyboard
    await opened.page.evaluate(_BEGIN)
    stops, in_main = await opened.page.evaluate(
        f"() => {{ const all = ({_STOPS})(); return [all.length, all.filter((each) => each.closest('main')).length]; }}"
    )
    skip = opened.page.locator(".skip")
    for number in range(stops if whole else 1):
        await keyboard.press("Tab")
        await _shown(opened, number)
    await skip.focus()
    await keyboard.press("Enter")
    for number in range(stops - in_main, stops):
        await keyboard.press("Tab")
        await _shown(opened, number)


async def _shown(opened: Tab, number: int) -> None:
    """Wait until what is focused is seen, for it is scrolled to a moment later. It must be the stop of this number."""

    async def is_seen() -> bool:
        focused = await opened.page.evaluate(_FOCUSED)
        assert focused["place"] == number, focused
        return bool(focused["seen"])

    await until(is_seen)


async def settled(opened: Tab, path: str) -> None:
    """Open a page, and again until it has found out all that takes a while."""

    async def is_whole() -> bool:
        await opened.open(path)
        return await opened.page.locator(".wait").count() == 0

    await until(is_whole)


async def keep_picture(page: Page, name: str) -> None:
    """Put what is seen of a page into the docs as WebP, a third of the bytes of PNG, if `make screenshots` asks."""
    if not os.environ.get(WRITE):
        return
    session = await page.context.new_cdp_session(page)
    taken = await session.send("Page.captureScreenshot", {"format": "webp", "quality": 85})
    (SCREENSHOTS / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))


@asynccontextmanager
async def console(system: System, **environ: str) -> AsyncIterator[str]:
    """Run `waybill console` as an operator does; give its address once it is ready. It stops in order at the end."""
    (port,) = free_ports(1)
    settings = {"WAYBILL_CONSOLE_PORT": str(port), "WAYBILL_OPERATOR": "sari", **environ}
    command, url = (sys.executable, "-m", "cli.main", "console"), f"http://127.0.0.1:{port}"
    async with logged(
        "the console",
        lambda log: asyncio.create_subprocess_exec(*command, env=environ_with(system.environ | settings), stderr=log),
    ) as process:
        await until(lambda: _is_ready(process, url))
        yield url
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0


async def _is_ready(process: asyncio.subprocess.Process, url: str) -> bool:
    assert process.returncode is None, "the console has ended by itself"
    return await is_ready(url)
