"""What the console does on the real stack: decisions about anomalies and shipments, and what becomes of them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from tests.integration.consoles import JSON, served
from tests.integration.operating import running
from tests.integration.system import START, System, dash, open_system, raw_records
from tests.integration.test_console import DRIVER
from tests.waiting import until


class Acting:
    """A console that acts, and a browser that sends its forms."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def page(self, path: str) -> str:
        async with self._session.get(f"{self.url}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def told(self, path: str) -> Any:
        async with self._session.get(f"{self.url}{path}", headers=JSON) as answer:
            assert answer.status == 200, await answer.text()
            return msgspec.json.decode(await answer.read())

    async def form(self, path: str) -> dict[str, str]:
        """Return what the form of a page sends."""
        page = await self.page(path)
        form = page[page.index('<form class="act"') :]
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)
        return {name: unescape(value) for name, value in found}

    async def send(self, path: str, form: dict[str, str], reason: str, status: int = 200) -> Any:
        headers = JSON | {"Origin": self.url}
        url = f"{self.url}{path.partition('?')[0]}"
        async with self._session.post(url, data=form | {"why": reason}, headers=headers) as answer:
            told = msgspec.json.decode(await answer.read())
            assert answer.status == status, told
            return told

    async def act(self, path: str, reason: str) -> Any:
        """Look what an action would do, then do it, and return what came of it."""
        return await self.send(path, await self.form(path), reason)


@asynccontextmanager
async def acting(system: System) -> AsyncIterator[Acting]:
    """Run a console that acts."""
    # The cookie that forms are bound to is of an address, which a jar takes none of unless told so.
    jar = aiohttp.CookieJar(unsafe=True)
    async with served(system, WAYBILL_CONSOLE_WRITES="1") as url, aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Acting(url, session)


def refused(delivery: str, word: str = "PENDING_RETURN") -> list[bytes]:
    """A parcel that was delivered, and what nobody can say of it then."""
    return [dash(delivery, "IN_DELIVERY", 1, courier=DRIVER), dash(delivery, "COMPLETED", 2), dash(delivery, word, 3)]


NAMES: Final = ("ONE", "TWO", "THREE", "FOUR")


async def test_operators_decide_in_a_browser(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    bodies = [body for name in NAMES for body in refused(name)]
    await system.append([each for body in bodies for each in raw_records("dash", body, START)])
    async with running(system), acting(system) as console:
        await until(system.caught_up)
        await _one_anomaly_is_accepted(console)
        await _many_are_dismissed_by_a_filter(console)
        await _a_status_is_set(console)
        await _a_shipment_is_erased(console, system)
        await _the_log_names_who_and_why(console)


async def _one_anomaly_is_accepted(console: Acting) -> None:
    (found,) = (await console.told("/anomalies?shipment=ONE"))["anomalies"]
    path = f"/do/accept?id={quote(found['anomaly']['id'], safe='')}"
    assert path in unescape(await console.page("/anomalies?shipment=ONE"))
    plan = await console.told(path)
    form = await console.form(path)
    came = await console.send(path, form, "the courier confirmed it")
    assert came["whole"]
    assert came["event"] == plan["event"]
    assert came["words"][-1] == "the anomaly is accepted"
    assert (await console.told("/shipments/dash:ONE"))["snapshot"]["status"] == came["event"]["status"]
    again = await console.send(path, form, "the courier confirmed it", 409)
    assert "it is accepted: nothing is to be decided" in again["detail"]


async def _many_are_dismissed_by_a_filter(console: Acting) -> None:
    path = "/do/dismiss?kind=illegal_transition&courier=dash&word=PENDING_RETURN"
    plan = await console.told(path)
    assert plan["words"][0] == "3 anomalies to dismiss"
    came = await console.act(path, "a bad day")
    assert came["whole"]
    assert (await console.told("/anomalies"))["anomalies"] == []
    assert not (await console.told(path))["possible"]


async def _a_status_is_set(console: Acting) -> None:
    path = "/do/set-status?shipment=O-TWO&status=LOST"
    plan = await console.told(path)
    assert "not in the table" in plan["words"][1]
    form = await console.form(path)
    came = await console.send(path, form, "nobody finds it")
    assert (came["event"]["status"], came["event"]["id"]) == ("LOST", plan["event"]["id"])
    twice = await console.send(path, form, "nobody finds it")
    shipment = await console.told("/shipments/dash:TWO")
    assert (shipment["snapshot"]["status"], twice["event"]) == ("LOST", came["event"])
    assert [each["event"]["status"] for each in shipment["events"]].count("LOST") == 1


async def _a_shipment_is_erased(console: Acting, system: System) -> None:
    plan = await console.told("/do/erase?shipment=THREE")
    assert "personal data goes: driver" in plan["words"]
    came = await console.act("/do/erase?shipment=THREE", "they asked for it")
    assert came["whole"]
    ((personal, erased),) = await system.rows("select personal, erased_at from shipments where courier_ref = 'THREE'")
    assert ("Budi" in personal, erased is not None) == (False, True)
    assert "Budi" not in await console.page("/shipments/dash:THREE?personal=1")


async def _the_log_names_who_and_why(console: Acting) -> None:
    entries = (await console.told("/log"))["entries"]
    deeds = {each["command"] for each in entries}
    assert deeds >= {"anomalies accept", "anomalies dismiss", "shipment set-status", "shipment erase"}
    assert {each["operator"] for each in entries} == {"sari"}
