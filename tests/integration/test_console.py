"""The console on the real stack: every page as HTML and as the JSON that its document promises; a store that goes."""

import asyncio
import signal
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
import pytest

from console import database
from devstack.ports import free_ports
from operators.shared.operator_log import note
from runtime.postgres import open_pool
from tests.hostile import HOSTILE
from tests.integration.consoles import Console, looking
from tests.integration.operating import running, start
from tests.integration.system import START, Raw, System, dash, lives, open_system, raw_records
from tests.waiting import DEADLINE, until

DRIVER: Final = {"name": "Budi Santoso", "phone": "+628123456789"}
MANY: Final = 60
"""Shipments: more than stand on a page."""


def told() -> list[Raw]:
    """A parcel with all that may be told of one, a hostile one, many others, and garbage."""
    person = {"name": f"Budi {HOSTILE}", "phone": HOSTILE}
    bodies = [
        dash("STORY", "PREPARING", 0),
        dash("STORY", "IN_DELIVERY", 5, courier=DRIVER),
        dash("STORY", "VERIFIED", 3),
        dash("STORY", "IN_DELIVERY", 5, courier=DRIVER),
        dash("STORY", "COMPLETED", 8, courier=DRIVER),
        dash("STORY", "PENDING_RETURN", 9),
        dash("STORY", "MELTED", 9),
        dash(f"D/{HOSTILE}", "PREPARING", 1, courier=person, failedReason=HOSTILE, providerOrderID=f"O{HOSTILE}"),
        dash(f"D/{HOSTILE}", f"BURNT{HOSTILE}", 2),
        dash("TWO-1", "PREPARING", 0, providerOrderID="O-TWO"),
        dash("TWO-2", "PREPARING", 0, providerOrderID="O-TWO"),
        *(dash(f"MANY-{number}", "PREPARING", 0) for number in range(MANY)),
        b'{"driver": "Budi Santoso" and no JSON',
    ]
    return [*lives(2), *(each for body in bodies for each in raw_records("dash", body, START))]


async def test_every_page_shows_what_is_stored(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    await system.append(told())
    async with running(system):
        await until(system.caught_up)
    async with looking(system) as console:
        await _attention_is_named(console)
        await _shipments_are_listed_page_by_page(console)
        await _a_search_leads_to_the_one(console)
        await _a_shipment_tells_its_story(console, system)
        await _anomalies_and_dead_letters_say_what_can_be_done(console)
        await _the_rest_of_the_pages(console, system)


async def _attention_is_named(console: Console) -> None:
    async def looked_at() -> bool:
        found = await console.json("/", "/")
        return not any(isinstance(part, dict) and part["under_way"] for part in found.values())

    await until(looked_at)
    found = await console.json("/", "/")
    assert {name: part["trouble"] for name, part in found.items() if isinstance(part, dict) and part["trouble"]} == {}
    assert found["nothing_to_do"] is False
    assert [(each["reason"], each["open"]) for each in found["dead_letters"]["found"]] == [("invalid_json", 1)]
    counts = {each["kind"]: each["open"] for each in found["anomalies"]["found"]["counts"]}
    assert counts == {"illegal_transition": 1, "unknown_status": 2}
    assert {each["what"] for each in found["findings"]["found"]}.isdisjoint({"couriers", "spool", "kafka", "postgres"})
    (dash_,) = [each for each in found["last_webhooks"]["found"] if each["courier"] == "dash"]
    assert dash_["received_at"].startswith("2026-11-01T08:")
    assert found["partitions"]["found"] == []
    page = await console.page("/")
    assert "/dead-letters?reason=invalid_json&amp;courier=dash" in page


async def _shipments_are_listed_page_by_page(console: Console) -> None:
    for narrowed in ("", "status=CREATED&courier=dash&", "stale_for=1ms&"):
        seen: list[str] = []
        path: str | None = f"/shipments?{narrowed}"
        while path:
            found = await console.json("/shipments", path)
            seen += [each["shipment_id"] for each in found["shipments"]]
            path = found["behind"] and f"/shipments?{narrowed}behind={quote(found['behind'], safe='')}"
        assert len(seen) == len(set(seen)) == {"": MANY + 6, "stale_for=1ms&": MANY + 3}.get(narrowed, MANY + 3)
    assert "Next page" in await console.page("/shipments")


async def _a_search_leads_to_the_one(console: Console) -> None:
    for name in ("dash:STORY", "STORY", "O-STORY", " STORY\n"):
        assert await console.page(f"/shipments?q={quote(name)}", 303) == "/shipments/dash%3ASTORY"
    several = await console.json("/shipments", "/shipments?q=O-TWO")
    assert [each["shipment_id"] for each in several["matches"]] == ["dash:TWO-1", "dash:TWO-2"]
    assert "may be any of these" in await console.page("/shipments?q=O-TWO")
    assert "no shipment has the id" in (await console.json("/shipments", "/shipments?q=GONE"))["not_found"]
    assert (await console.json("/shipments", "/shipments?q=%00"))["not_found"]
    assert "nothing is known of" in await console.page("/shipments/dash:NOPE", 404)


async def _a_shipment_tells_its_story(console: Console, system: System) -> None:
    found = await console.json("/shipments/{name}", "/shipments/dash:STORY")
    assert [(each["before"], each["status"]) for each in found["way"]] == [
        (None, "CREATED"),
        ("CREATED", "IN_DELIVERY"),
        ("IN_DELIVERY", "DELIVERED"),
    ]
    outcomes = [each["outcome"] for each in found["observations"]]
    assert outcomes == ["event", "event", "event", "duplicate", "event", "anomaly", "anomaly"]
    assert [each["counts"] for each in found["observations"]][-2:] == [False, None]
    assert "status" in {each["field"] for each in found["events"][-1]["changes"]}
    assert "Budi" not in msgspec.json.encode(found).decode()
    page = await console.page("/shipments/dash:STORY")
    assert "<svg" in page
    assert "Budi" not in page
    assert await system.rows("select from operator_log") == []
    assert "Budi Santoso" in await console.page("/shipments/dash:STORY?personal=1")
    ((command, operator, detail),) = await system.rows("select command, operator, detail from operator_log")
    assert (command, operator) == ("console shipment, personal", "sari")
    assert msgspec.json.decode(detail) == {"shipment": "dash:STORY"}
    hostile = [each for each in await _all_ids(system) if each.startswith("dash:D/")]
    assert len(hostile) == 1
    assert "<svg" in await console.page(f"/shipments/{quote(hostile[0], safe='')}?personal=1")
    later = await console.json("/shipments/{name}", "/shipments/dash:STORY?until=2&events_until=1")
    assert (len(later["observations"]), later["observations_in_all"], len(later["events"])) == (2, 7, 1)


async def _all_ids(system: System) -> list[str]:
    return [row["shipment_id"] for row in await system.rows("select shipment_id from shipments")]


async def _anomalies_and_dead_letters_say_what_can_be_done(console: Console) -> None:
    found = await console.json("/anomalies", "/anomalies")
    assert {each["state"] for each in found["anomalies"]} == {"open"}
    assert "accept" in next(
        each["remedy"] for each in found["anomalies"] if each["anomaly"]["kind"] == "illegal_transition"
    )
    (one,) = (await console.json("/anomalies", "/anomalies?shipment=STORY&kind=illegal_transition&courier=dash"))[
        "anomalies"
    ]
    assert one["anomaly"]["courier_status"] == "PENDING_RETURN"
    assert one["anomaly"]["id"] in await console.page("/anomalies?all=1")
    letters = await console.json("/dead-letters", "/dead-letters?reason=invalid_json&courier=dash&since=2h")
    (letter,) = letters["newest"]["letters"]
    assert (await console.json("/dead-letters", "/dead-letters?reason=misrouted"))["newest"]["letters"] == []
    shown = await console.json("/dead-letters/{name}", f"/dead-letters/{letter['at']}")
    assert (shown["today"]["readable"], shown["today"]["reason"], shown["body"]) == (False, "invalid_json", None)
    assert shown["headers"]["courier"] == "dash"
    assert "Budi" not in await console.page(f"/dead-letters/{letter['at']}")
    assert "Budi Santoso" in await console.page(f"/dead-letters/{letter['at']}?personal=1")
    assert "no dead letter came of 1:99999" in await console.page("/dead-letters/1:99999", 404)
    assert "Nothing is here" in await console.page("/dead-letters/nonsense", 404)


async def _the_rest_of_the_pages(console: Console, system: System) -> None:
    async def drift_is_read() -> bool:
        return (await console.json("/couriers", "/couriers"))["drift"]["found"] is not None

    await until(drift_is_read)
    found = await console.json("/couriers", "/couriers")
    assert {each["courier"]: each["healed"] for each in found["drift"]["found"]["couriers"]}["dash"] == 0
    assert "told by no webhook" in await console.page("/couriers")
    async with await open_pool(system.settings, "test", 1) as pool, pool.acquire() as connection:
        for number in range(MANY):
            await note(connection, f"ani {HOSTILE}", "a test", {"shipment": "dash:STORY", "number": number})
    seen: list[int] = []
    path: str | None = "/log?shipment=STORY"
    while path:
        log = await console.json("/log", path)
        seen += [each["id"] for each in log["entries"]]
        path = log["behind"] and f"/log?shipment=STORY&behind={quote(log['behind'], safe='')}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == MANY + 1
    assert len((await console.json("/log", "/log?operator=sari"))["entries"]) == 3
    assert "a test" in await console.page("/log")
    await _the_flow_is_drawn(console)
    contract = await console.json("/contract", "/contract")
    assert system.settings.topic_prefix + "shipment.events" in {each["name"] for each in contract["topics"]}
    assert "isolation.level=read_committed" in await console.page("/contract")


async def _the_flow_is_drawn(console: Console) -> None:
    """What was recorded a moment ago is drawn; whether the numbers are right is another test's."""
    found = (await console.json("/flow", "/flow"))["flow"]
    assert (found["trouble"], found["found"]["pace"], len(found["found"]["bins"])) == (None, 1, 72)
    assert found["found"]["outcomes"]
    page = await console.page("/flow")
    assert "The numbers" in page
    assert "nothing to draw yet" not in page


async def test_a_store_that_is_away_is_told_and_comes_back(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database does not fit, then it does: the pages say so, and nobody need start the console again."""
    monkeypatch.setattr(database, "LOOK_SECONDS", 0.1)
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    async with looking(system) as console:
        assert (await console.json("/shipments", "/shipments"))["shipments"] == []
        await system.rows("alter table schema_migrations rename to gone")

        async def is_away() -> bool:
            return not await console.ready()

        await until(is_away)
        assert "A store does not answer" in await console.page("/shipments", 503)
        told = await console.json("/", "/")
        assert told["silent"]["trouble"]
        await system.rows("alter table gone rename to schema_migrations")
        await until(console.ready)
        assert (await console.json("/shipments", "/shipments"))["shipments"] == []


async def test_the_command_serves_until_it_is_told_to_stop(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    (port,) = free_ports(1)
    system.set(WAYBILL_CONSOLE_PORT=str(port))
    process = await start(system, "console")
    async with aiohttp.ClientSession() as session:
        console = Console(f"http://127.0.0.1:{port}", session)
        await until(console.ready)
        asking = asyncio.create_task(console.page("/"))
        await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(asking, return_exceptions=True)
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    system.set(WAYBILL_CONSOLE_HOST="0.0.0.0")
    refused = await start(system, "console")
    _, complaints = await asyncio.wait_for(refused.communicate(), DEADLINE)
    assert refused.returncode == 2
    assert b"WAYBILL_CONSOLE_HOST must be 127.0.0.1 or ::1" in complaints
