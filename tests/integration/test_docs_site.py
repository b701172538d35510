"""The documentation site: every page builds without a warning, asks nothing of others, and its diagrams are drawn."""

import subprocess
import sys
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from tests.integration.browsing import NARROW, Tab, chromium, tab
from tests.waiting import DEADLINE

ROOT: Final = Path(__file__).parents[2]
ASSETS: Final = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements that a browser asks for by itself, with the attribute that says where."""

in_session = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    recipe = (ROOT / "Makefile").read_text().partition("\ndocs: $(INSTALLED)\n\t$(BIN)/python ")[2].partition("\n")[0]
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, *recipe.replace("build/docs", str(built)).split()]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    return built


def test_each_page_is_linked_and_asks_nothing_of_others(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    sources = {path.relative_to(ROOT).with_suffix("") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]}
    assert sources <= {page.relative_to(site).with_suffix("") for page in pages}
    for page in pages:
        for element, address in found(page):
            split = urlsplit(address)
            if split.scheme == "data":
                continue
            if split.scheme or split.netloc:
                assert element == "a", f"{page.name} asks {address}"
            elif split.path:
                assert (page.parent / unquote(split.path)).exists(), f"{page.name} leads to {address}"


def found(page: Path) -> list[tuple[str, str]]:
    """Return what a page leads to or asks for: the element, and the address."""
    reader = Reader()
    reader.feed(page.read_text())
    return reader.found


class Reader(HTMLParser):
    """What an HTML page leads to and asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get({**ASSETS, "a": "href"}.get(tag, ""))
        if address:
            self.found.append((tag, address))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(site: Path) -> AsyncIterator[Tab]:
    app = web.Application()
    app.router.add_static("/", site)
    async with (
        TestServer(app) as server,
        chromium() as browser,
        tab(browser, str(server.make_url("")).rstrip("/")) as opened,
    ):
        yield opened


@in_session
@pytest.mark.parametrize("page", ["README", "docs/architecture", "docs/state-machines"])
async def test_diagrams_are_drawn(opened: Tab, page: str) -> None:
    await opened.open(f"/{page}.html")
    diagrams = opened.page.locator("pre.mermaid")
    assert await diagrams.count() > 0
    for diagram in await diagrams.all():
        await expect(diagram.locator("svg")).to_be_visible()


@in_session
async def test_a_word_is_found(opened: Tab) -> None:
    """The site's index leads on; its search needs no server."""
    await opened.open("/index.html")
    await expect(opened.page.get_by_role("heading", level=1)).to_contain_text("Waybill")
    await opened.page.get_by_role("textbox", name="Search").fill("tombstone")
    await opened.page.keyboard.press("Enter")
    results = opened.page.locator("#search-results")
    await expect(results.get_by_role("link", name="Operating Waybill")).to_be_visible()


@in_session
async def test_it_is_read_on_a_telephone(opened: Tab) -> None:
    await opened.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    for page in ("README", "docs/settings", "docs/console-api"):
        await opened.open(f"/{page}.html")
        assert await opened.page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
