"""The tail on the real broker: a webhook is seen within a second, one reader for all, masked, outside every group."""

import asyncio
import re
from functools import partial
from time import monotonic
from typing import Any, Final

import aiohttp
import msgspec
import pytest

from console import tail as module
from operators.views import watching
from runtime import kafka
from schemas.topics import Topic
from tests.integration.consoles import Console, looking
from tests.integration.operating import running
from tests.integration.system import START, System, dash, lives, open_system, raw_records
from tests.integration.test_console import DRIVER
from tests.waiting import until

SOON: Final = 1.0
"""Seconds within which what was appended is seen, on a machine that is not busy."""

BUSY: Final = 10.0
"""Seconds that are enough on one that is."""


class Tab:
    """A tab that follows: the rows it was sent, as HTML, and how many it missed."""

    def __init__(self) -> None:
        self.rows = ""
        self.left_out = 0
        self.trouble: str | None = None

    async def follow(self, response: aiohttp.ClientResponse) -> None:
        async for line in response.content:
            if line.startswith(b"data: "):
                told = msgspec.json.decode(line.removeprefix(b"data: "))
                self.rows += told["rows"]
                self.left_out += told["left_out"]
                self.trouble = told["trouble"]

    def shows(self, *texts: str) -> bool:
        return all(text in self.rows for text in texts)


async def groups(system: System) -> set[str]:
    async with kafka.admin_client(system.settings) as admin:
        return {group for group, _ in await admin.list_consumer_groups()}


async def test_what_is_posted_is_seen_within_a_second_by_every_tab(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.5)
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    before = await groups(system)
    async with running(system):
        await system.append([*lives(2, "OLD"), *raw_records("dash", b"no JSON", START)])
        await until(system.caught_up)
        known = await groups(system)
        async with looking(system) as console, aiohttp.ClientSession() as session:
            newest = await _newest_are_there_without_a_script(console)
            tabs = [Tab(), Tab()]
            responses = [
                await session.get(f"{console.url}/tail/stream", params={"after": str(newest), **more})
                for more in ({}, {"personal": "1"})
            ]
            async with asyncio.TaskGroup() as group:
                following = [
                    group.create_task(tab.follow(response)) for tab, response in zip(tabs, responses, strict=True)
                ]
                await _it_comes_soon(system, tabs)
                masked, open_ = tabs
                assert "Budi" not in masked.rows
                assert open_.shows("Budi Santoso", "+628123456789")
                await _a_flood_is_thinned(system, tabs)
                # Groups of tests before are forgotten meanwhile.
                assert await groups(system) <= known
                assert known - before <= {system.settings.group_id}
                for task in following:
                    task.cancel()
            for response in responses:
                response.close()
        assert {row["command"] for row in await system.rows("select command from operator_log")} == {
            "console tail, personal"
        }


async def _newest_are_there_without_a_script(console: Console) -> int:
    found: dict[str, Any] = await console.json("/tail", "/tail")
    kinds = {each["kind"] for each in found["rows"]}
    assert kinds == {"in", "event", "dead letter"}
    assert found["trouble"] is None
    page = await console.page("/tail")
    assert "/shipments/dash:OLD-" in page
    assert "Load the page again" in page
    number: int = found["number"]
    return number


async def _it_comes_soon(system: System, tabs: list[Tab]) -> None:
    """The best of some tries counts: others use this machine too."""
    taken = []
    for number in range(5):
        name = f"NEW-{number}"
        began = monotonic()
        await system.append(raw_records("dash", dash(name, "IN_DELIVERY", 1, courier=DRIVER), START))
        seen = ("reads IN_DELIVERY", f"/shipments/dash:{name}", "status_changed")
        await until(partial(_all_show, tabs, seen))
        taken.append(monotonic() - began)
        if taken[-1] < SOON:
            break
    assert min(taken) < SOON, taken


def _all_show(tabs: list[Tab], texts: tuple[str, ...]) -> bool:
    return all(tab.shows(*texts) for tab in tabs)


async def _a_flood_is_thinned(system: System, tabs: list[Tab]) -> None:
    for tab in tabs:
        tab.rows, tab.left_out = "", 0
    began = monotonic()
    await system.append(lives(40, "MANY"))
    await until(system.caught_up)
    await until(lambda: all(len(re.findall("<tr", tab.rows)) + tab.left_out >= 2 * 7 * 40 for tab in tabs))
    most = watching.MOST_A_SECOND * (monotonic() - began + 1)
    for tab in tabs:
        assert 0 < len(re.findall("<tr", tab.rows)) <= most
        assert tab.left_out > 0


async def test_a_topic_that_is_missing_is_told(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    async with kafka.admin_client(system.settings) as admin:
        await admin.delete_topics([system.settings.topic(Topic.ANOMALIES)])
    async with looking(system) as console, asyncio.timeout(BUSY + 20):
        found = await console.json("/tail", "/tail")
        assert "shipment.anomalies is missing" in found["trouble"]
        assert "shipment.anomalies is missing" in await console.page("/tail")
