"""The console in a real Chromium, on the stories of `waybill up`: by eye, by keyboard, narrow, dark, scriptless."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from cli.demo.scenario import load_stories, play
from console.page import Page
from console.pages import PAGES
from console.passwords import hashed
from deploy import asyncapi_page
from devstack import Stack
from schemas.topics import Topic
from tests.conftest import Databases, own_prefix
from tests.integration.browsing import BY_LOOK, NARROW, SCREENSHOTS, Tab, chromium, console, picture, tab
from tests.integration.operating import running
from tests.integration.system import Raw, System, dash, open_system, raw_records
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECOVERED: Final = "dash:DE-story-recovered"
WRITE: Final = "WAYBILL_TEST_WRITE_SCREENSHOTS"
"""Set by `make screenshots`, which puts a picture of each page into the docs."""

ASYNCAPI: Final = Path(__file__).parents[2] / asyncapi_page.FILE

PASSWORD: Final = "correct horse battery staple"

STOPS: Final = """
() => [...document.querySelectorAll(
        'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')]
    .filter((each) => each.checkVisibility() && !each.disabled)
"""
"""What a keyboard must reach, in the order in which it is read."""

FOCUSED: Final = f"""
() => {{
    const focused = document.activeElement, box = focused.getBoundingClientRect();
    const style = getComputedStyle(focused);
    return {{
        place: ({STOPS})().indexOf(focused),
        seen: box.width > 0 && box.left >= 0 && box.left < innerWidth
            && (box.height > innerHeight ? box.bottom > 0 : box.top >= 0) && box.top < innerHeight
            && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    }};
}}
"""


class Place(msgspec.Struct, frozen=True):
    """A console that shows the stories, and where each of its pages has something to show."""

    system: System
    url: str
    addresses: dict[str, str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(browser: Browser, stack: Stack, template_database: str) -> AsyncIterator[Place]:
    """One console for all tests: they look, and change nothing that another looks at."""
    databases = Databases(stack.database_url, template_database)
    async with own_prefix(stack) as prefix:
        system = await open_system(stack.kafka_bootstrap_servers, await databases.migrated(), prefix)
        await system.append(told())
        async with running(system):
            await until(system.caught_up)
        async with console(system) as url:
            yield Place(system, url, await addresses(system))
        await databases.drop()


def told() -> list[Raw]:
    """The stories; before them a parcel whose names are long, after them what nobody can read."""
    now = datetime.now(UTC)
    at = (now - timedelta(hours=1)).isoformat()
    long = "W" * 100
    bodies = [
        ("dash", dash(f"DE-{long}", "PREPARING", 0, providerOrderID=long, updatedAt=at)),
        *((each.story.courier, each.body) for each in play(load_stories(), "story", now, None).webhooks),
        ("dash", dash("DE-story-strange", "PREPARING", 0, updatedAt=at)),
        ("dash", dash("DE-story-strange", "MELTED", 0, updatedAt=at)),
        ("dash", b'{"deliveryID": "DE-story-cut", "status": "IN_DEL'),
        ("kiriminaja", b"<html>502 Bad Gateway</html>"),
    ]
    return [record for courier, body in bodies for record in raw_records(courier, body, now)]


async def addresses(system: System) -> dict[str, str]:
    (letter,) = await system.rows(
        "select raw_partition, cause_offset from outputs where topic = 'courier.webhooks.raw.dlq' limit 1"
    )
    named = {
        "shipment": f"/shipments/{RECOVERED}",
        "dead-letter": f"/dead-letters/{letter['raw_partition']}:{letter['cause_offset']}",
    }
    return {page.name: named.get(page.name, page.path) for page in PAGES}


async def settled(opened: Tab, path: str) -> None:
    """Open a page, and again until it has found out all that takes a while."""

    async def is_whole() -> bool:
        await opened.open(path)
        return await opened.page.locator(".wait").count() == 0

    await until(is_whole)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_each_page_serves_everybody(place: Place, browser: Browser, page: Page) -> None:
    """By keyboard alone; light and wide, dark and narrow, without scrolling to the side; and without JavaScript."""
    async with tab(browser, place.url, color_scheme="light") as opened:
        await settled(opened, place.addresses[page.name])
        if os.environ.get(WRITE):
            (SCREENSHOTS / f"{page.name}.webp").write_bytes(await picture(opened.page))
        usual = await words(opened)
        assert await opened.judged() == []
        await walk_through(opened)
        await opened.page.emulate_media(color_scheme="dark")
        await opened.page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
        assert await opened.judged(*BY_LOOK) == []
        assert await opened.page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    async with tab(browser, place.url, java_script_enabled=False) as opened:
        await settled(opened, place.addresses[page.name])
        assert await words(opened) == usual


async def walk_through(opened: Tab) -> None:
    """Go through a page by keyboard: everything is reached, seen, in the order of reading; the header is skipped."""
    keyboard = opened.page.keyboard
    await keyboard.press("Tab")
    skip = opened.page.locator(".skip")
    await expect(skip).to_be_focused()
    for number in range(await opened.page.evaluate(f"({STOPS})().length")):
        if number:
            await keyboard.press("Tab")
        await shown(opened, number)
    await skip.focus()
    await keyboard.press("Enter")
    await keyboard.press("Tab")
    if await opened.page.evaluate(f"({STOPS})().some((each) => each.closest('main'))"):
        assert await opened.page.locator("header :focus, .skip:focus").count() == 0


async def shown(opened: Tab, number: int) -> None:
    """Wait until what is focused is seen, for it is scrolled to a moment later. It must be the stop of this number."""

    async def is_seen() -> bool:
        focused = await opened.page.evaluate(FOCUSED)
        assert focused["place"] == number
        return bool(focused["seen"])

    await until(is_seen)


async def words(opened: Tab) -> list[str]:
    """Return what a page tells, but for moments and what a script adds around it."""
    told = await opened.page.locator("main :is(h1, h2, h3, dt, dd, td, li)").all_inner_texts()
    return [word for text in told for word in text.split() if not word.endswith("Z")]


async def test_a_parcel_is_found_by_its_awb(place: Place, browser: Browser) -> None:
    async with tab(browser, place.url) as opened:
        await opened.open("/")
        await opened.page.get_by_label("Find a shipment").fill("AWB-story-10")
        await opened.page.keyboard.press("Enter")
        await expect(opened.page.get_by_role("heading", level=1)).to_have_text("kiriminaja:OID-story-reopened")
        assert opened.path == "/shipments/kiriminaja%3AOID-story-reopened"
        await expect(opened.page.locator(".stands")).to_contain_text("RETURNED")


async def test_the_recovered_story_is_told(place: Place, browser: Browser) -> None:
    async with tab(browser, place.url) as opened:
        await opened.open("/shipments")
        await opened.page.get_by_role("link", name=RECOVERED).click()
        await expect(opened.page.locator(".stands")).to_have_text("DELIVERED final")
        timeline = opened.page.get_by_role("region", name="Timeline").locator("tbody tr")
        told = [[await row.locator("td").nth(column).inner_text() for column in (3, 5)] for row in await timeline.all()]
        assert told == [
            ["PREPARING → CREATED", "event v1"],
            ["VERIFIED → VERIFIED", "event v2"],
            ["PENDING_DELIVERY → PENDING_DELIVERY", "event v3"],
            ["IN_DELIVERY → IN_DELIVERY", "event v4"],
            ["FAILED → FAILED", "event v5"],
            ["PENDING_DELIVERY → PENDING_DELIVERY", "event v6"],
            ["IN_DELIVERY → IN_DELIVERY", "event v7"],
            ["COMPLETED → DELIVERED", "event v8"],
        ]
        way = opened.page.get_by_role("region", name="The way it took")
        assert (await way.locator(".way li").all_inner_texts())[5] == "PENDING_DELIVERY recovery"
        drawn = way.get_by_role("img", name="the way taken: CREATED → VERIFIED → PENDING_DELIVERY")
        await expect(drawn).to_be_visible()
        await expect(drawn.locator(".current text")).to_have_text("DELIVERED")
        await expect(drawn.locator(".arrow.taken")).to_have_count(6)
        event = opened.page.get_by_role("region", name="Events").locator("article").first
        await expect(event.locator("pre")).to_be_hidden()
        await event.locator("summary").click()
        assert msgspec.json.decode(await event.locator("pre").inner_text())["version"] == 8


async def test_what_needs_attention_leads_on_and_looks_again(place: Place, browser: Browser) -> None:
    """Whoever stands on a link still stands there when the page has looked again."""
    async with tab(browser, place.url) as opened:
        await opened.page.clock.install()
        await settled(opened, "/")
        link = opened.page.get_by_role("link", name="unknown_status")
        await link.focus()
        async with opened.page.expect_response(lambda answer: "hx-request" in answer.request.headers) as again:
            await opened.page.clock.fast_forward(20_000)
        assert (await again.value).status == 200
        await opened.page.clock.fast_forward(1_000)
        await expect(link).to_be_focused()
        await link.click()
        await expect(opened.page.locator("article.anomaly")).to_have_count(1)
        await opened.page.get_by_role("link", name="DE-story-strange").click()
        await expect(opened.page.locator("tr.anomaly")).to_contain_text("MELTED")


async def test_a_log_in_shows_what_its_role_may_see(place: Place, browser: Browser, tmp_path: Path) -> None:
    """A form like any other: it needs no script."""
    users = tmp_path / "users"
    users.write_text(f"ani:viewer:{hashed(PASSWORD)}\nciti:personal:{hashed(PASSWORD)}\n")
    shipment = place.addresses["shipment"]
    by_file = {"WAYBILL_CONSOLE_ACCESS": "file", "WAYBILL_CONSOLE_USERS_FILE": str(users)}
    async with console(place.system, **by_file) as url:
        async with tab(browser, url, java_script_enabled=False) as opened:
            await opened.open(shipment)
            assert opened.path == "/login"
            await log_in(opened, "ani", f"no {PASSWORD}")
            await expect(opened.page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
            opened.troubles.clear()  # the browser tells of the answer 401
            await log_in(opened, "ani", PASSWORD)
            await expect(opened.page.get_by_role("heading", level=1)).to_have_text("Needs attention")
            await opened.open(shipment)
            await expect(opened.page.get_by_role("link", name="Show personal data")).to_have_count(0)
            await opened.page.get_by_role("button", name="Log out").click()
            await expect(opened.page.get_by_role("button", name="Log in")).to_be_visible()
            await opened.open(shipment)
            assert opened.path == "/login"
        async with tab(browser, url) as opened:
            await opened.open("/login")
            assert await opened.judged() == []
            await log_in(opened, "citi", PASSWORD)
            await expect(opened.page.get_by_role("heading", level=1)).to_have_text("Needs attention")
            await opened.open(shipment)
            await expect(opened.page.get_by_text("Agus Wijayanto")).to_have_count(0)
            await opened.page.get_by_role("link", name="Show personal data").click()
            await expect(opened.page.get_by_text("Agus Wijayanto").first).to_be_visible()
            await opened.open("/log?operator=citi")
            await expect(opened.page.locator("tbody tr")).to_contain_text("console shipment, personal")


async def log_in(opened: Tab, name: str, password: str) -> None:
    await opened.page.get_by_label("Name").fill(name)
    await opened.page.get_by_label("Password").fill(password)
    await opened.page.get_by_role("button", name="Log in").click()


async def test_the_asyncapi_page_is_read_offline_and_from_a_file(browser: Browser) -> None:
    """Nothing is asked of others and nothing fails, or the tab would hear it."""
    async with tab(browser, ASYNCAPI.parent.as_uri()) as opened:
        await opened.page.goto(ASYNCAPI.as_uri())
        await expect(opened.page.locator("#introduction")).to_contain_text("isolation.level=read_committed")
        for topic in (Topic.EVENTS, Topic.STATE, Topic.ANOMALIES):
            await expect(opened.page.locator(f'[id="operation-send-{topic}-message"]')).to_be_visible()
        events = opened.page.locator(f'[id="operation-send-{Topic.EVENTS}-message"]')
        await events.get_by_text("Expand all").first.click()
        await expect(events).to_contain_text("Counts a shipment's events from 1 without gaps.")
        await expect(events).to_contain_text("CLAIM_SETTLED")
        assert await opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await expect(opened.page.get_by_text("Error", exact=True)).to_have_count(0)


async def test_a_tab_hears_what_is_forbidden(place: Place, browser: Browser) -> None:
    """What the other tests rely on: a picture from elsewhere, and a script in the page."""
    async with tab(browser, place.url) as opened:
        await opened.open("/log")
        await opened.page.evaluate(
            """() => {
                document.body.append(Object.assign(new Image(), {src: "http://example.test/a.png"}));
                document.body.append(Object.assign(document.createElement("script"), {text: "window.ran = 1"}));
            }"""
        )
        forbidden = ("img-src", "script-src")
        await until(lambda: all(any(each in told for told in opened.troubles) for each in forbidden))
        opened.troubles.clear()
