"""The console that acts, in a real Chromium: decisions, jobs, erasure, who may; by keyboard, and without JavaScript."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect

from console.actions import ACTIONS
from console.identity import SESSION_COOKIE
from console.pages import PAGES
from console.sessions import new_session
from devstack import Stack
from schemas.couriers import COURIERS
from tests.conftest import Databases, own_prefix
from tests.integration.broken_processor import BrokenDash
from tests.integration.browsing import Tab, assert_serves_everybody, keep_picture, settled, tab
from tests.integration.consoles import served
from tests.integration.inside import open_inside, processing
from tests.integration.system import PARTITIONS, START, System, dash, lives, raw_records
from tests.integration.test_console import DRIVER
from tests.integration.test_console_actions import refused
from tests.integration.test_ingest import publishing
from tests.unit.console.consoles import FILE, PASSWORD
from tests.unit.ingest.doors import DASH, running_door
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED: Final = ("DE-1001", "DE-1002", "DE-1003")
PERSONAL: Final = "DE-1004"
BROKEN: Final = ("DE-1005", "DE-1006")
WORD: Final = "NOT_VERIFIED"
"""What today's decoder cannot read until it is mended."""

PARCELS: Final = 20
"""Of seven webhooks each, so that a replay of one a second is still under way when it is to pause."""

KEY: Final = "k" * 32

ACTS: Final = ".act, main form[method=post]"
"""What leads to an action."""


class Place(msgspec.Struct, frozen=True):
    """A console that acts for those who log in, beside a processor; all in the test's own process."""

    system: System
    url: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(
    browser: Browser, stack: Stack, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    """One console for all tests; each acts on parcels of its own."""
    databases = Databases(stack.database_url, template_database)
    users = tmp_path_factory.mktemp("console") / "users"
    users.write_text(FILE)
    settings = {
        "WAYBILL_CONSOLE_ACCESS": "file",
        "WAYBILL_CONSOLE_USERS_FILE": str(users),
        "WAYBILL_CONSOLE_SESSION_KEY": KEY,
        "WAYBILL_CONSOLE_WRITES": "1",
    }
    async with own_prefix(stack) as prefix:
        system = await open_inside(stack.kafka_bootstrap_servers, await databases.migrated(), prefix, PARTITIONS)
        bodies = [body for name in REFUSED for body in refused(name)]
        bodies += [dash(PERSONAL, "PREPARING", 0), dash(PERSONAL, "IN_DELIVERY", 5, courier=DRIVER)]
        await system.append([*(each for body in bodies for each in raw_records("dash", body, START)), *lives(PARCELS)])
        async with processing(system), served(system, **settings) as url:
            await until(system.caught_up)
            yield Place(system, url)
        await databases.drop()


@asynccontextmanager
async def known(browser: Browser, place: Place, name: str, **options: Any) -> AsyncIterator[Tab]:
    """Open a tab of somebody who has logged in."""
    (user,) = [each for each in place.system.settings.console_users if each.name == name]
    session = new_session(KEY.encode(), user, datetime.now(UTC))
    async with tab(browser, place.url, **options) as opened:
        await opened.page.context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": place.url}])
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def everyday(place: Place, browser: Browser) -> AsyncIterator[Tab]:
    """One tab of an operator for all tests: a new one takes seconds."""
    async with known(browser, place, "citra") as opened:
        yield opened


@pytest.fixture
def opened(everyday: Tab) -> Iterator[Tab]:
    """A tab of an operator, in which nothing has gone wrong at the end."""
    with everyday.quiet():
        yield everyday


def region(opened: Tab, name: str) -> Locator:
    return opened.page.get_by_role("region", name=name)


async def act(opened: Tab, reason: str) -> None:
    """Send the form of an action, which is then done."""
    await opened.page.get_by_label("Why?").fill(reason)
    await opened.page.locator("form.act button").click()
    await expect(region(opened, "Done")).to_be_visible()


async def test_an_anomaly_is_accepted_and_its_event_is_seen(opened: Tab) -> None:
    """The event that was predicted is the one that came, and the one that the shipment's page shows."""
    name = REFUSED[0]
    await opened.open(f"/anomalies?shipment={name}")
    await opened.page.get_by_role("link", name="Accept…", exact=True).click()
    plan = region(opened, "What it would do")
    await expect(plan).to_contain_text("DELIVERED → RETURNING")
    predicted = await plan.locator("code").inner_text()
    await keep_picture(opened.page, "action")
    await act(opened, "the courier confirmed it")
    await expect(region(opened, "Done").locator("code")).to_have_text(predicted)
    await opened.page.get_by_role("link", name="Back to where it shows").click()
    await expect(opened.page.locator("article.anomaly .state")).to_have_text("accepted")
    await opened.page.get_by_role("link", name=f"dash:{name}").click()
    await expect(opened.page.locator(".stands")).to_have_text("RETURNING")
    event = region(opened, "Events").locator("article").first
    await event.locator("summary").click()
    assert msgspec.json.decode(await event.locator("pre").inner_text())["id"] == predicted
    await expect(region(opened, "Timeline")).to_contain_text("accept by citra: the courier confirmed it")


async def test_anomalies_are_dismissed_by_keyboard_without_a_script(place: Place, browser: Browser) -> None:
    """All of a filter, from the list to what came of it."""
    async with known(browser, place, "budi", java_script_enabled=False) as opened:
        keyboard = opened.page.keyboard
        await opened.open(f"/anomalies?word=PENDING_RETURN&courier=dash&shipment={REFUSED[1]}")
        await opened.page.get_by_role("link", name="dismiss…", exact=True).focus()
        await keyboard.press("Enter")
        await expect(region(opened, "What it would do")).to_contain_text("1 anomaly to dismiss")
        await opened.page.locator(".skip").focus()
        for key in ("Enter", "Tab"):
            await keyboard.press(key)
        await keyboard.type("a bad day")
        await keyboard.press("Enter")
        await expect(region(opened, "Done")).to_contain_text("1 dismissed")


async def test_dead_letters_are_redriven_once_the_decoder_is_mended(
    place: Place, opened: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setitem(COURIERS, "dash", BrokenDash(WORD))
        bodies = [dash(name, word, minute) for name in BROKEN for minute, word in enumerate(("PREPARING", WORD))]
        await place.system.append([each for body in bodies for each in raw_records("dash", body, START)])
        await until(place.system.caught_up)
        await opened.open("/dead-letters?reason=unknown_shape")
        await opened.page.get_by_role("link", name="Redrive all open ones that are like that…").click()
        plan = region(opened, "What it would do")
        await expect(plan).to_contain_text("0 would be read by today's code")
        await expect(plan).to_contain_text("2 would come back as unknown_shape")
    await opened.page.reload()
    await expect(plan).to_contain_text("2 would be read by today's code")
    await act(opened, "the decoder is mended")
    await opened.page.get_by_role("link", name="Back to where it shows").click()
    job = opened.page.locator("#jobs tbody tr").first
    await expect(job).to_contain_text("done")
    await expect(job).to_contain_text("2 of 2")
    await opened.open(f"/shipments/dash:{BROKEN[0]}")
    await expect(opened.page.locator(".stands")).to_contain_text(WORD)
    await opened.open("/dead-letters?reason=unknown_shape&all=1")
    assert await opened.page.locator("section[aria-labelledby=rows] tbody td:nth-child(2)").all_inner_texts() == [
        "mended",
        "mended",
    ]


async def test_a_replay_is_planned_run_paused_and_resumed(place: Place, opened: Tab) -> None:
    """The pages look again by themselves; nobody loads them anew."""
    await opened.open("/replays")
    await opened.page.get_by_label("everything there is").check()
    await opened.page.get_by_label("Records a second").fill("1")
    await opened.page.get_by_role("button", name="Plan it…").click()
    await expect(region(opened, "What it would do")).to_contain_text("would be read again")
    await act(opened, "to be sure")
    await opened.page.get_by_role("link", name="Back to where it shows").click()
    job = opened.page.locator("#jobs tbody tr").first
    await expect(job.locator("td").nth(2)).to_have_text("running")
    await expect(job.locator("td").nth(3)).not_to_have_text("0")
    await job.get_by_role("link", name="Pause…").click()
    await act(opened, "too much at once")
    await opened.page.get_by_role("link", name="Back to where it shows").click()
    await expect(job.locator("td").nth(2)).to_contain_text("paused")
    await place.system.execute("update replay_jobs set rate = null where status = 'paused'")  # in a hurry now

    async def may_resume() -> bool:
        """Whether its process has left it."""
        await opened.open("/replays")
        return await job.get_by_role("link", name="Resume…").count() == 1

    await until(may_resume)
    await job.get_by_role("link", name="Resume…").click()
    await act(opened, "the night has come")
    await opened.page.get_by_role("link", name="Back to where it shows").click()
    await expect(job.locator("td").nth(2)).to_have_text("done")
    await expect(job.locator("td").nth(4)).to_have_text("0")


async def test_a_webhook_is_seen_in_the_tail_as_it_comes(place: Place, opened: Tab) -> None:
    """Posted at the real door, over HTTP; its record and its event are there without loading the page anew.

    How fast is told in docs/console.md; tests/integration/test_console_tail.py asserts the second.
    """
    await opened.open("/tail")
    await expect(opened.page.locator("#tail-state")).to_have_text("Live.")
    rows = opened.page.locator("#tail-rows tr").filter(has_text="dash:DE-1007")
    async with publishing(place.system.settings) as publisher, running_door(publisher) as door:
        answer = await door.post("/webhooks/dash", dash("DE-1007", "IN_DELIVERY", 1, courier=DRIVER), DASH)
        assert answer.status == 200
        await expect(rows.locator("td:nth-child(2)")).to_have_text(["event", "in"])
    await expect(rows.first).to_contain_text("IN_DELIVERY")
    await expect(opened.page.get_by_text("Budi Santoso")).to_have_count(0)


async def test_what_is_erased_is_seen_nowhere_any_more(place: Place, browser: Browser, opened: Tab) -> None:
    """Also in a tab that was open, as soon as it looks again."""
    shipment = f"/shipments/dash:{PERSONAL}"
    await opened.open(f"{shipment}?personal=1")
    name = opened.page.get_by_text(DRIVER["name"])
    await expect(name.first).to_be_visible()
    async with known(browser, place, "budi") as other:
        await other.open(shipment)
        await other.page.get_by_role("button", name="Erase personal data…").click()
        await expect(region(other, "What it would do")).to_contain_text("personal data goes: driver")
        await act(other, "they asked for it")
        await other.page.get_by_role("link", name="Back to where it shows").click()
        await expect(other.page.get_by_text("its personal data is gone")).to_be_visible()
    await opened.page.reload()
    await expect(opened.page.get_by_text("its personal data is gone")).to_be_visible()
    await expect(name).to_have_count(0)
    assert DRIVER["name"] not in await opened.page.content()


async def test_a_viewer_is_offered_nothing_and_refused(place: Place, browser: Browser) -> None:
    """No page leads to an action; a form sent all the same, with a token of theirs, is answered 403."""
    paths = {"shipment": f"/shipments/dash:{PERSONAL}", "dead-letter": None}
    async with known(browser, place, "ani") as opened:
        for page in PAGES:
            path = paths.get(page.name, page.path)
            if path is not None:
                await opened.open(path)
                await expect(opened.page.locator(ACTS)).to_have_count(0)
        token = await opened.page.locator("header input[name=token]").get_attribute("value")
        form = {"token": token or "", "command_id": f"decision-{'0' * 16}", "why": "I want to"}
        asked = {"shipment": PERSONAL, "status": "LOST", "id": "x", "job": "x", "all": "1", "reason": "misrouted"}
        for action in ACTIONS:
            url = f"{place.url}{action.path}"
            fields = {name: asked[name] for name in action.query.__struct_fields__ if name in asked}
            request = opened.page.context.request
            sent = await request.post(url, form={**form, **fields}, headers={"Origin": place.url})
            assert (sent.status, "acting takes the role operator" in await sent.text()) == (403, True), action.name
            assert (await request.get(url, params=urlencode(fields))).status == 403
    assert await place.system.rows("select from operator_log where operator = 'ani'") == []


DEEDS: Final = {
    "accept": f"shipment={REFUSED[2]}",
    "set-status": f"shipment={REFUSED[2]}&status=LOST",
    "erase": f"shipment={REFUSED[2]}",
    "redrive": "reason=misrouted",
}
"""Actions that may be looked at without doing them."""


@pytest.mark.parametrize("name", DEEDS)
async def test_each_form_serves_everybody(opened: Tab, name: str) -> None:
    await opened.open(f"/do/{name}?{DEEDS[name]}")
    await assert_serves_everybody(opened)


@pytest.mark.parametrize("path", ["/replays", f"/anomalies?shipment={REFUSED[2]}"])
async def test_each_page_that_offers_actions_serves_everybody(opened: Tab, path: str) -> None:
    await settled(opened, path)
    await assert_serves_everybody(opened)


async def test_a_log_in_serves_everybody_and_shows_what_its_role_may_see(place: Place, browser: Browser) -> None:
    """A form like any other: it needs no script."""
    shipment = f"/shipments/dash:{REFUSED[2]}"
    name = DRIVER["name"]
    async with tab(browser, place.url) as opened:
        await opened.open("/login")
        await keep_picture(opened.page, "login")
        await assert_serves_everybody(opened)
        await log_in(opened, "citra", PASSWORD)
        await expect(opened.page.get_by_role("heading", level=1)).to_have_text("Needs attention")
        await opened.open(shipment)
        await expect(opened.page.get_by_text(name)).to_have_count(0)
        await opened.page.get_by_role("link", name="Show personal data").click()
        await expect(opened.page.get_by_text(name).first).to_be_visible()
        await opened.open("/log?operator=citra")
        await expect(opened.page.locator("tbody tr").first).to_contain_text("console shipment, personal")
    async with tab(browser, place.url, java_script_enabled=False) as opened:
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


async def log_in(opened: Tab, name: str, password: str) -> None:
    await opened.page.get_by_label("Name").fill(name)
    await opened.page.get_by_label("Password").fill(password)
    await opened.page.get_by_role("button", name="Log in").click()
