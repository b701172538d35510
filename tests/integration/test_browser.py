"""The console in a real Chromium, on the stories of `waybill up`: by eye, by keyboard, narrow, dark, scriptless."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from cli.demo.healing import simulated_courier
from cli.demo.scenario import Play, load_stories, play
from console.page import Page
from console.pages import PAGES
from deploy import asyncapi_page
from devstack import Stack
from schemas.topics import Topic
from tests.conftest import Databases, own_prefix
from tests.integration.browsing import (
    Tab,
    assert_serves_everybody,
    console,
    keep_picture,
    settled,
    tab,
    walk_through,
)
from tests.integration.operating import running, waybill
from tests.integration.system import Raw, System, dash, open_system, raw_records
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECOVERED: Final = "dash:DE-story-recovered"

ASYNCAPI: Final = Path(__file__).parents[2] / asyncapi_page.FILE


class Place(msgspec.Struct, frozen=True):
    """A console that shows the stories, and where each of its pages has something to show."""

    system: System
    url: str
    addresses: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(browser: Browser, stack: Stack, template_database: str) -> AsyncIterator[Place]:
    """One console for all tests: they look, and change nothing that another looks at."""
    databases = Databases(stack.database_url, template_database)
    async with own_prefix(stack) as prefix:
        system = await open_system(stack.kafka_bootstrap_servers, await databases.migrated(), prefix)
        played = play(load_stories(), "story", datetime.now(UTC), None)
        await system.append(told(played))
        async with running(system):
            await until(system.caught_up)
            await heal(system, played)
            await waybill(system, "replay", "run", "--all", "--courier", "dash", "--yes")
        await system.execute(
            "update shipments set updated_at = updated_at - interval '9 hours' where courier_ref = 'DE-story-silent'"
        )
        on = {"WAYBILL_DASH_SECRETS": "dash-secret", "WAYBILL_KIRIMINAJA_TOKENS": "kiriminaja-token"}
        async with console(system, **on) as url:
            yield Place(system, url, await addresses(system))
        await databases.drop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tabs(place: Place, browser: Browser) -> AsyncIterator[tuple[Tab, Tab]]:
    """One tab for all tests, and one without JavaScript: a new one takes seconds."""
    async with tab(browser, place.url) as opened, tab(browser, place.url, java_script_enabled=False) as scriptless:
        yield opened, scriptless


@pytest.fixture
def opened(tabs: tuple[Tab, Tab]) -> Iterator[Tab]:
    """A tab in which nothing has gone wrong at the end."""
    with tabs[0].quiet() as opened:
        yield opened


@pytest.fixture
def scriptless(tabs: tuple[Tab, Tab]) -> Iterator[Tab]:
    """The same without JavaScript."""
    with tabs[1].quiet() as opened:
        yield opened


async def heal(system: System, played: Play) -> None:
    """Ask the courier about what no webhook told, as `waybill up` does."""
    async with simulated_courier(played.healings) as settings:
        asking = System({**system.environ, **settings})
        for each in played.healings:
            await waybill(asking, "reconcile", "--shipment", each.shipment_id, "--courier", each.story.courier)


def told(played: Play) -> list[Raw]:
    """The stories; before them a parcel whose names are long, after them one that falls silent, and the unreadable."""
    now = datetime.now(UTC)
    at = (now - timedelta(hours=1)).isoformat()
    long = "W" * 100
    bodies = [
        ("dash", dash(f"DE-{long}", "PREPARING", 0, providerOrderID=long, updatedAt=at)),
        *((each.story.courier, each.body) for each in played.webhooks),
        ("dash", dash("DE-story-silent", "PENDING_DELIVERY", 0, updatedAt=(now - timedelta(hours=9)).isoformat())),
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_each_page_serves_everybody(place: Place, opened: Tab, scriptless: Tab, page: Page) -> None:
    """By keyboard alone; light and wide, dark and narrow, without scrolling to the side; and without JavaScript."""
    await settled(opened, place.addresses[page.name])
    await keep_picture(opened.page, page.name)
    usual = await words(opened)
    await assert_serves_everybody(opened)
    await settled(scriptless, place.addresses[page.name])
    assert await words(scriptless) == usual


async def test_the_header_is_gone_through_by_keyboard(opened: Tab) -> None:
    await opened.open("/log")
    await walk_through(opened, whole=True)


async def words(opened: Tab) -> list[str]:
    """Return what a page tells, but for moments and what a script adds around it."""
    told = await opened.page.locator("main :is(h1, h2, h3, dt, dd, td, li)").all_inner_texts()
    return [word for text in told for word in text.split() if not word.endswith("Z")]


async def test_a_parcel_is_found_by_its_awb(opened: Tab) -> None:
    await opened.open("/")
    await opened.page.get_by_label("Find a shipment").fill("AWB-story-10")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.get_by_role("heading", level=1)).to_have_text("kiriminaja:OID-story-reopened")
    assert opened.path == "/shipments/kiriminaja%3AOID-story-reopened"
    await expect(opened.page.locator(".stands")).to_contain_text("RETURNED")


async def test_the_recovered_story_is_told(opened: Tab) -> None:
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


async def test_a_tab_hears_what_is_forbidden(opened: Tab) -> None:
    """What the other tests rely on: a picture from elsewhere, and a script in the page."""
    await opened.open("/log")
    await opened.page.evaluate(
        """() => {
            document.body.append(Object.assign(new Image(), {src: "http://example.test/a.png"}));
            document.body.append(Object.assign(document.createElement("script"), {text: "window.ran = 1"}));
        }"""
    )
    forbidden = ("img-src", "script-src")
    await until(lambda: all(any(each in told for told in opened.troubles) for each in forbidden))
    await opened.open("/log")  # whatever is told of the page before is told by now
    opened.troubles.clear()
