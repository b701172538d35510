"""Whoever may append to the raw topic may not decide: the operators' log says who did."""

import msgspec

from operators.shared.appending import decision_record
from schemas.observation import Decision, Erase, SetStatus
from schemas.topics import Topic
from schemas.vocabulary import Status
from tests.integration.operating import asked, assert_conserved, events, write_down
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.system import START, Raw, dash, raw_records
from tests.waiting import until

WHO = {"by": "nobody", "reason": "because"}
PERSON = {"name": "Budi", "phone": "+62812"}


def appended(decision: Decision, command_id: str) -> Raw:
    record = decision_record(decision, "dash", None, command_id, START)
    assert record.key is not None
    return Raw(record.key, record.value, record.headers, record.timestamp_ms)


def erase(delivery: str) -> Erase:
    return Erase(shipment_id=f"dash:{delivery}", **WHO)


def lost(delivery: str) -> SetStatus:
    return SetStatus(shipment_id=f"dash:{delivery}", status=Status.LOST, **WHO)


def parcels(*names: str) -> list[Raw]:
    return [
        record for name in names for record in raw_records("dash", dash(name, "IN_DELIVERY", 1, courier=PERSON), START)
    ]


async def forged(lab: Lab) -> None:
    """Records of a plain producer: no row, a row of another text, and then the genuine one under the same id."""
    system = lab.system
    await system.append(parcels("A", "B", "C", "OLD"))
    await system.append([appended(erase("A"), "c-a"), appended(erase("B"), "c-b"), appended(lost("C"), "c-c")])
    await write_down(system, ("c-b", lost("B")))
    await lab.process()
    letters = await asked(system, "dlq", "list")
    assert [each["reason"] for each in letters] == ["unauthorized"] * 3
    rows = await system.rows("select shipment_id, status, erased_at from shipments order by 1")
    assert {(row["status"], row["erased_at"]) for row in rows} == {("IN_DELIVERY", None)}
    assert not await system.rows("select from applied_commands")
    await write_down(system, ("c-c", lost("C")))
    # As the version before wrote it.
    old = {"command_id": "c-old", "command": "set_status", "shipment_id": "dash:OLD", **WHO, "status": "LOST"}
    await system.execute(
        "insert into operator_log (operator, command, detail) values ('nobody', 'shipment set-status', "
        f"'{msgspec.json.encode(old).decode()}')"
    )
    await system.append([appended(lost("B"), "c-b"), appended(lost("C"), "c-c"), appended(lost("OLD"), "c-old")])
    await lab.process()
    statuses = {row["shipment_id"]: row["status"] for row in await system.rows("select * from shipments")}
    assert statuses == {"dash:A": "IN_DELIVERY", "dash:B": "LOST", "dash:C": "LOST", "dash:OLD": "LOST"}
    await assert_conserved(system)
    code, said = await lab.waybill("audit", "--all", "--from-raw")
    assert code == 0, said
    dry = await asked(system, "dlq", "redrive", "--dry-run")
    assert {each["why"] for each in dry["passed_over"]} == {"it is an operator's decision: decide again, or drop it"}


async def restored(lab: Lab) -> None:
    """A backup does not know of the decisions since: they are passed over, and that is said."""
    system = lab.system
    await system.append(parcels("D"))
    await write_down(system, ("c-1", lost("D")))
    await system.append([appended(lost("D"), "c-1")])
    await lab.process()
    await lab.back_up()
    await system.append([*parcels("E"), appended(lost("E"), "c-2")])
    await write_down(system, ("c-2", lost("E")))
    await lab.process()
    assert len(await events(system)) == 4
    await lab.restore()
    code, said = await lab.waybill("recover", "--yes")
    assert code == 0, said
    assert "1 decisions passed over, which operator_log does not have" in said
    await lab.process()
    newest = {event["shipment_id"]: event for event in await events(system)}
    assert (newest["dash:E"]["type"], newest["dash:E"]["status"]) == ("shipment.corrected", "IN_DELIVERY")
    assert newest["dash:D"]["status"] == "LOST"
    await until(system.caught_up)
    assert not await system.read(Topic.DEAD_LETTERS)


async def test_only_what_operators_wrote_down_is_decided(one_more: OpenLab) -> None:  # noqa: F811
    await side_by_side([forged, restored], one_more)
