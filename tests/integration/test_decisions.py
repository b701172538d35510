"""`waybill anomalies` and the decisions about a shipment, on the real stack: what they do lasts, and happens once."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest_asyncio

from operators.decisions.decide import write
from operators.decisions.known_shipment import known_shipment
from runtime.appending import open_appender
from runtime.postgres import open_pool
from schemas.observation import SetStatus
from schemas.topics import Topic
from schemas.vocabulary import Status
from tests.field import body_of, load_cases
from tests.integration.operating import (
    asked,
    assert_conserved,
    assert_counted,
    events,
    everything_stored,
    misrouted,
    newest_states,
    running,
    waybill,
    write_down,
)
from tests.integration.system import START, Raw, System, dash, open_system, raw_records
from tests.waiting import until

MARK: Final = "Zq7Wx"
"""Begins every personal value of this test."""


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    system.environ |= {"WAYBILL_OPERATOR": "dewi"}
    return system


def told(delivery: str, *words: str, received: datetime = START, **more: Any) -> list[Raw]:
    """Write a parcel's webhooks, a minute apart."""
    bodies = [dash(delivery, word, minute, **more) for minute, word in enumerate(words)]
    return [record for body in bodies for record in raw_records("dash", body, received)]


async def row(system: System, shipment_id: str) -> dict[str, Any]:
    (found,) = await system.rows(f"select * from shipments where shipment_id = '{shipment_id}'")
    return dict(found)


REFUSED: Final = ("PREPARING", "VERIFIED", "PENDING_DELIVERY", "IN_DELIVERY", "COMPLETED", "FAILED")
"""The last is no word that may follow COMPLETED."""


async def test_accepting_and_dismissing(system: System) -> None:
    await system.append([*told("YES", *REFUSED), *told("NO", *REFUSED), *told("WORD", "PREPARING", "MELTED")])
    await system.append(told("NOBODY", "MELTED"))
    async with running(system):
        await until(system.caught_up)
        listed = {each["shipment_id"]: each for each in await asked(system, "anomalies", "list")}
        assert {name: each["kind"] for name, each in listed.items()} == {
            "dash:YES": "illegal_transition",
            "dash:NO": "illegal_transition",
            "dash:WORD": "unknown_status",
            "dash:NOBODY": "unknown_status",
        }
        await assert_counted(system)
        yes, no, word, nobody = (listed[f"dash:{name}"]["id"] for name in ("YES", "NO", "WORD", "NOBODY"))
        planned = await asked(system, "anomalies", "accept", yes, "--reason", "the driver called", "--dry-run")
        assert (planned["predicted"]["type"], planned["predicted"]["status"]) == ("shipment.corrected", "FAILED")
        done = await asked(system, "anomalies", "accept", yes, "--reason", "the driver called", "--yes")
        assert done["came"]["event"] == planned["predicted"] | {"resolves": [yes]}
        assert done["anomaly"]["state"] == "accepted"
        await waybill(system, "anomalies", "dismiss", no, "--reason", "a typing error", "--yes")
        await waybill(system, "anomalies", "dismiss", nobody, "--reason", "a test of theirs", "--yes")
        assert "mapping" in await waybill(system, "anomalies", "accept", word, "--reason", "x", "--yes", code=1)
        assert "is dismissed" in await waybill(system, "anomalies", "dismiss", no, "--reason", "x", "--yes", code=1)
        assert (await asked(system, "anomalies", "show", word))["state"] == "open"
    assert [each["id"] for each in await asked(system, "anomalies", "list", "--courier", "dash")] == [word]
    (only,) = await asked(system, "anomalies", "list", "--all", "--shipment", "O-NO", "--kind", "illegal_transition")
    assert (only["id"], only["state"]) == (no, "dismissed")
    await assert_counted(system)
    await _still_so_after_a_restart(system, yes)


async def _still_so_after_a_restart(system: System, accepted: str) -> None:
    """What was accepted counts when the shipment is folded from its rows, and when a late webhook arrives."""
    async with running(system):  # nothing in memory
        await system.append(told("YES", "NOT_VERIFIED") + told("YES", "PREPARING", received=START + timedelta(hours=1)))
        await until(system.caught_up)
    assert (await row(system, "dash:YES"))["status"] == "FAILED"
    assert (await row(system, "dash:NO"))["status"] == "DELIVERED"
    corrected, late = [each for each in await events(system) if each["shipment_id"] == "dash:YES"][-2:]
    assert (corrected["type"], corrected["resolves"]) == ("shipment.corrected", [accepted])
    assert (late["type"], late["status"], late["resolves"]) == ("shipment.history_added", "FAILED", [])
    await assert_conserved(system)
    await waybill(system, "audit", "--all", "--from-raw")


async def test_a_final_status_that_was_none_is_mended_by_hand(system: System) -> None:
    """EXPRESS has no way from FAILED to PENDING_DELIVERY, but this parcel did go out again: a case from the field."""
    steps = load_cases()["59-operator_mends_refused_final"]["steps"]
    for step in steps[:3]:
        await system.append(raw_records("dash", body_of(step), START))
    name = "dash:DE-990000214"
    async with running(system):
        await until(system.caught_up)
        assert ((await row(system, name))["status"], (await row(system, name))["final"]) == ("FAILED", True)
        (anomaly,) = await asked(system, "anomalies", "list", "--shipment", "PO-990000214")
        assert (anomaly["kind"], anomaly["courier_status"]) == ("illegal_transition", "PENDING_DELIVERY")
        await waybill(system, "anomalies", "accept", anomaly["id"], "--reason", "it is on the road", "--yes")
        after = await row(system, name)
        assert (after["status"], after["final"], after["failed_count"]) == ("PENDING_DELIVERY", False, 1)
        assert not await asked(system, "anomalies", "list", "--shipment", name)
        await waybill(system, "shipment", "set-status", name, "DELIVERED", "--reason", "they called", "--yes")
        after = await row(system, name)
        assert (after["status"], after["final"]) == ("DELIVERED", True)
    accepted, mended = (await events(system))[-2:]
    assert (accepted["type"], accepted["source"]) == ("shipment.corrected", "operator")
    assert (accepted["status"], accepted["resolves"]) == ("PENDING_DELIVERY", [anomaly["id"]])
    assert (mended["status"], mended["final"], mended["source"]) == ("DELIVERED", True, "operator")
    await assert_conserved(system)
    await waybill(system, "audit", "--all", "--from-raw")


async def test_setting_a_status(system: System) -> None:
    await system.append(told("SET", "PREPARING", "VERIFIED", "PENDING_DELIVERY"))
    async with running(system):
        await until(system.caught_up)
        said = await waybill(system, "shipment", "set-status", "O-SET", "lost", "--reason", "fire", "--dry-run")
        assert "not in the table" in said
        said = await waybill(system, "shipment", "set-status", "O-SET", "LOST", "--reason", "fire", "--yes")
        assert "shipment.corrected dash:SET/4: LOST (was PENDING_DELIVERY)" in said
        for name, status, code in (("O-SET", "MELTED", 2), ("O-NONE", "LOST", 1)):
            await waybill(system, "shipment", "set-status", name, status, "--reason", "x", "--yes", code=code)
        await waybill(system, "shipment", "set-status", "O-SET", "LOST", "--reason", "x", code=2)  # nobody to ask
    async with running(system):
        await system.append(told("SET", "IN_DELIVERY"))  # received before the decision
        await until(system.caught_up)
        assert (await row(system, "dash:SET"))["status"] == "LOST"
        found = datetime.now(UTC) + timedelta(minutes=1)
        await system.append(told("SET", "COMPLETED", received=found))
        await until(system.caught_up)
    assert (await row(system, "dash:SET"))["status"] == "DELIVERED"
    decided, late, after = (await events(system))[3:]
    assert (decided["source"], decided["reason"], decided["transition"]) == ("operator", "fire", "correction")
    assert (late["type"], after["type"]) == ("shipment.history_added", "shipment.status_changed")
    ((operator, command, detail),) = await system.rows("select operator, command, detail from operator_log")
    assert (operator, command, msgspec.json.decode(detail)["status"]) == ("dewi", "shipment set-status", "LOST")
    await waybill(system, "audit", "--all", "--from-raw")


async def test_a_decision_that_is_appended_twice_applies_once(system: System) -> None:
    await system.append(told("TWICE", "PREPARING"))
    async with running(system):
        await until(system.caught_up)
        async with await open_pool(system.settings, "test", 1) as pool:
            known = await known_shipment(pool, "dash:TWICE")
        decision = SetStatus(shipment_id=known.shipment_id, by="dewi", reason="twice", status=Status.VERIFIED)
        name, record = write(known, decision)
        await write_down(system, (name, decision))
        async with open_appender(system.settings) as appender:
            await appender.append([record])
            await until(system.caught_up)
            await appender.append([record, record])
    assert [each["version"] for each in await events(system)] == [1, 2]
    ((count,),) = await system.rows("select count(*) from applied_commands")
    assert count == 1
    await assert_conserved(system)


def personal(number: int) -> dict[str, Any]:
    """Write everything about persons that Dash sends."""
    return {
        "courier": {"name": f"{MARK} driver {number}", "phone": f"{MARK}-{number}"},
        "trackingURL": f"https://{MARK}.example/{number}",
        "recipient": {"firstName": f"{MARK} recipient", "actualRecipientName": f"{MARK} signed {number}"},
        "media": [{"url": f"https://{MARK}.example/photo{number}", "type": "DELIVERY_PROOF"}],
    }


async def test_erasing(system: System) -> None:
    lives = [told("ERASED", word, received=START, **personal(number))[0] for number, word in enumerate(REFUSED)]
    other = told("OTHER", "PREPARING", courier={"name": "Somebody else"})
    spoilt = Raw(b"dash:ERASED", lives[0].value[:-1], lives[0].headers, lives[0].timestamp_ms)
    await system.append([*lives, *told("ERASED", "MELTED", **personal(7)), spoilt, misrouted(lives[1]), *other])
    async with running(system):
        await until(system.caught_up)
        assert MARK in await everything_stored(system)
        erasure = (await asked(system, "shipment", "erase", "O-ERASED", "--reason", "asked", "--dry-run"))["erasure"]
        assert set(erasure["fields"]) == {"driver", "tracking_url", "signed_by", "proofs"}
        assert (erasure["observations"], erasure["dead_letters"], len(erasure["beyond"])) == (7, 2, 3)
        await waybill(system, "shipment", "erase", "dash:ERASED", "--reason", "asked", "--yes")
        await _assert_erased(system)
        again = told("ERASED", "PENDING_DELIVERY", received=START + timedelta(hours=1), failedCount=1, **personal(8))
        await system.append([*again, misrouted(again[0])])
        await until(system.caught_up)
        await waybill(system, "replay", "run", "--all", "--yes")
        await waybill(system, "dlq", "redrive", "--yes")
        await waybill(system, "shipment", "erase", "dash:ERASED", "--reason", "what came since", "--yes")
        await _assert_erased(system)
    async with running(system):
        await system.append(told("ERASED", "IN_DELIVERY", failedCount=1, **personal(9)))
        await until(system.caught_up)
    await _assert_erased(system)
    assert "Somebody else" in await everything_stored(system)
    await assert_conserved(system)
    await waybill(system, "audit", "--all")


async def _assert_erased(system: System) -> None:
    stored = await everything_stored(system)
    assert [line for line in stored.splitlines() if MARK in line] == []
    assert MARK not in str((await newest_states(system))["dash:ERASED"])
    assert any(MARK in str(record.value) for record in await system.read(Topic.RAW))  # out of reach, and said to be
