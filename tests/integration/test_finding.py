"""Which shipment a name means, what is done about many anomalies at once, and the log of it all, on the real stack."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest_asyncio

from operators.shared.appending import decision_record
from schemas.observation import Retire
from tests.integration.commands import run_here
from tests.integration.operating import running
from tests.integration.system import START, Raw, System, dash, open_system, raw_records
from tests.waiting import DEADLINE, until

SHIPPED = {"shipped_at": "2026-11-01 09:00:00"}


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    system.environ |= {"WAYBILL_OPERATOR": "sari"}
    return system


async def waybill(system: System, *arguments: str, code: int = 0) -> str:
    """Run a command in this process; return what it printed."""
    said = await run_here(system.environ, *arguments, within=DEADLINE)
    assert said.code == code, (arguments, said)
    return said.out if "--json" in arguments else f"{said.out}{said.err}"


async def asked(system: System, *arguments: str, code: int = 0) -> Any:
    """Run a command with `--json`."""
    return msgspec.json.decode(await waybill(system, *arguments, "--json", code=code))


def kiriminaja(method: str, **item: str) -> list[Raw]:
    body = msgspec.json.encode({"method": method, "data": [item]})
    return raw_records("kiriminaja", body, START + timedelta(hours=2))


def parcels() -> list[Raw]:
    """One order under two AWBs, one order with two deliveries, one parcel that is delivered, some odd ones."""
    orders = [
        *kiriminaja("shipped_packages", order_id="FLD-0406", awb="SCU0406A", **SHIPPED),
        *kiriminaja("shipped_packages", order_id="FLD-0406", awb="SCU0406B", shipped_at="2026-11-01 09:30:00"),
        *kiriminaja("shipped_packages", order_id="GONE", awb="OLD", **SHIPPED),
        *kiriminaja("finished_packages", order_id="GONE", awb="NEW", finished_at="2026-11-01 09:30:00"),
        *kiriminaja("odd_packages", order_id="STRAY", awb="STRAY-AWB"),
    ]
    bodies = [
        dash("DE-404-1", "PREPARING", 0, providerOrderID="PO-TWO-404"),
        dash("DE-404-2", "PREPARING", 0, providerOrderID="PO-TWO-404"),
        *(dash(f"ODD-{number}", "PREPARING", 0) for number in range(3)),
        *(dash(f"ODD-{number}", word, 1) for number in range(3) for word in ("MELTED", "BURNT")),
        *(dash(f"ODD-{number}", "COMPLETED", 2) for number in range(3)),
        *(dash(f"ODD-{number}", "FAILED", 3) for number in range(3)),
    ]
    return orders + [each for body in bodies for each in raw_records("dash", body, START + timedelta(hours=1))]


async def test_what_stands_on_the_parcel_finds_it(system: System) -> None:
    await system.append(parcels())
    async with running(system):
        await until(system.caught_up)
        await _names_find(system)
        await _several_are_listed(system)
        await _a_retired_one_is_found(system)
        await _many_are_decided_at_once(system)
    await _the_log_tells(system)


async def _names_find(system: System) -> None:
    for name, shipment in {
        "DE-404-1": "dash:DE-404-1",
        "SCU0406A": "kiriminaja:FLD-0406",
        " SCU0406B\n": "kiriminaja:FLD-0406",
        "FLD-0406": "kiriminaja:FLD-0406",
        "STRAY-AWB": "kiriminaja:STRAY",
        "kiriminaja:STRAY": "kiriminaja:STRAY",
    }.items():
        assert (await asked(system, "shipment", "show", name))["shipment_id"] == shipment, name
    plan = await asked(system, "replay", "plan", "--all", "--shipment", "SCU0406A")
    assert plan["records"] == 2
    assert (await asked(system, "audit", "--shipment", "SCU0406A"))["shipments"] == 1
    listed = await asked(system, "anomalies", "list", "--shipment", "STRAY-AWB")
    assert [each["shipment_id"] for each in listed] == ["kiriminaja:STRAY"]
    tailed = await waybill(system, "tail", "--since", "earliest", "--until-end", "--shipment", "SCU0406A")
    assert tailed.count("kiriminaja:FLD-0406") == 2
    assert "no shipment has the id" in await waybill(system, "shipment", "show", "SCU0406C", code=1)


async def _several_are_listed(system: System) -> None:
    both = {"dash:DE-404-1", "dash:DE-404-2"}
    said = await waybill(system, "shipment", "show", "PO-TWO-404")
    assert all(each in said for each in both)
    found = await asked(system, "shipment", "show", "PO-TWO-404")
    assert {each["shipment_id"] for each in found} == both
    assert [len(each["events"]) for each in found] == [1, 1]
    for command in (
        ("shipment", "erase", "PO-TWO-404", "--reason", "x", "--yes"),
        ("shipment", "set-status", "PO-TWO-404", "LOST", "--reason", "x", "--yes"),
        ("replay", "plan", "--all", "--shipment", "PO-TWO-404"),
        ("tail", "--until-end", "--shipment", "PO-TWO-404"),
    ):
        matches = await asked(system, *command, code=1)
        assert {each["shipment_id"] for each in matches} == both, command
    assert await system.rows("select from operator_log") == []


async def _a_retired_one_is_found(system: System) -> None:
    retire = Retire(shipment_id="kiriminaja:GONE", by="sari", reason="silent", silent_since=START + timedelta(days=1))
    record = decision_record(retire, "kiriminaja", None, "retire-1", START)
    detail = {"command_id": "retire-1", **msgspec.to_builtins(retire)}
    await system.execute(
        "insert into operator_log (operator, command, detail) values "
        f"('sari', 'retention', '{msgspec.json.encode(detail).decode()}')"
    )
    await system.append([Raw(record.key or b"", record.value, record.headers, record.timestamp_ms)])
    await until(system.caught_up)
    for name in ("OLD", "NEW", "GONE"):
        found = await asked(system, "shipment", "show", name)
        assert (found["shipment_id"], found["events"]) == ("kiriminaja:GONE", []), name
        assert [each["courier_status"] for each in found["observations"]] == ["retire"]


async def _many_are_decided_at_once(system: System) -> None:
    usage = await waybill(system, "anomalies", "dismiss", "--reason", "x", "--yes", code=2)
    assert "which anomalies?" in usage
    chosen = (
        "--courier",
        "dash",
        "--courier-status",
        "MELTED",
        "--courier-status",
        "BURNT",
        "--reason",
        "they try out",
    )
    said = await waybill(system, "anomalies", "dismiss", *chosen, "--dry-run")
    assert "6 anomalies to dismiss" in said
    assert "3 of dash: unknown_status, MELTED" in said
    await waybill(system, "anomalies", "dismiss", *chosen, code=2)  # nobody can be asked
    done = await asked(system, "anomalies", "dismiss", *chosen, "--limit", "4", "--yes")
    assert (len(done["anomalies"]), done["came"], done["passed_over"]) == (4, {"unchanged": 4}, [])
    assert "2 unchanged" in await waybill(system, "anomalies", "dismiss", *chosen, "--yes")
    assert (await asked(system, "anomalies", "dismiss", *chosen, "--yes"))["anomalies"] == []

    accepted = await asked(system, "anomalies", "accept", "--since", "1h", "--reason", "it was", "--yes")
    assert len(accepted["anomalies"]) == 3, "the unknown word of KiriminAja cannot be accepted"
    assert [each["id"].split("/")[0] for each in accepted["passed_over"]] == ["kiriminaja:STRAY"]
    assert accepted["came"] == {"event": 3}
    states: dict[str, Any] = {}
    for each in await asked(system, "anomalies", "list", "--all", "--courier", "dash"):
        states.setdefault(each["courier_status"], set()).add(each["state"])
    assert states == {"MELTED": {"dismissed"}, "BURNT": {"dismissed"}, "FAILED": {"accepted"}}
    two = [each["id"] for each in await asked(system, "anomalies", "list", "--all", "--kind", "illegal_transition")][:2]
    assert [each["id"] for each in await asked(system, "anomalies", "show", *two)] == two
    assert "is accepted" in await waybill(system, "anomalies", "dismiss", *two, "--reason", "x", "--yes", code=1)


async def _the_log_tells(system: System) -> None:
    entries = await asked(system, "log")
    assert [each["command"] for each in entries[:3]] == ["anomalies accept"] * 3
    assert [each["command"] for each in entries[3:9]] == ["anomalies dismiss"] * 6
    assert [each["command"] for each in await asked(system, "log", "--shipment", "OLD")] == ["retention"]
    assert len(await asked(system, "log", "--shipment", "ODD-1", "--operator", "sari", "--since", "1h")) == 3
    assert await asked(system, "log", "--operator", "nobody") == []
    said = await waybill(system, "log", "--limit", "1")
    assert "reason=it was" in said
    assert "sari" in said
