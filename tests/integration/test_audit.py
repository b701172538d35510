"""`waybill audit`: silent about what is right, also beside live traffic, and loud about each kind of damage."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest

from cli.terminal.tables import NOTHING
from operators.audit.report import Report, Scope
from operators.audit.run import audit
from operators.shared.appending import decision_record
from operators.shared.errors import OperatorError
from processor.protocol.crash_points import Step
from processor.storage.rows import event_row, read_event
from runtime import kafka
from runtime.kafka_records import raw_record
from runtime.values import MASK
from schemas.observation import Decision, Erase, Retire, SetStatus
from schemas.records import reread_headers
from schemas.stored_event import pack_event
from schemas.topics import Topic
from schemas.vocabulary import Status
from tests.children import environ_with
from tests.integration.operating import write_down
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.system import START, Raw, dash, lives, raw_records
from tests.waiting import until

AUDITS_UNDER_TRAFFIC: Final = 4
PERSON: Final = "Budi Santoso"


async def audited(lab: Lab, **scope: Any) -> Report:
    return await audit(lab.system.settings, Scope(**scope), lambda _: None)


async def assert_clean(lab: Lab, **scope: Any) -> Report:
    report = await audited(lab, **scope)
    assert report.differences == []
    assert report.found == 0
    return report


def mixed() -> list[Raw]:
    """Lives of parcels, with repeats, late webhooks, refused and unknown words, dead letters, both services."""
    driver = {"courier": {"name": PERSON, "phone": "+628123456789"}}
    odd = [
        *raw_records("dash", dash("DE-0", "PREPARING", 1), START + timedelta(hours=1)),
        *raw_records("dash", dash("DE-1", "NO_SUCH_WORD", 9), START + timedelta(hours=1)),
        *raw_records("dash", dash("NOBODY", "NO_SUCH_WORD", 9), START + timedelta(hours=1)),
        *raw_records("dash", dash("DE-2", "ON_HOLD", 9), START + timedelta(hours=1)),
        *raw_records("dash", dash("HELD", "ON_HOLD", 9), START + timedelta(hours=1)),
        *raw_records("dash", dash("BOTH", "ALLOCATING", 1), START),
        *raw_records("dash", dash("BOTH", "PREPARING", 2), START),
        *raw_records("dash", dash("KNOWN", "PENDING_DELIVERY", 3, **driver), START),
        *raw_records("dash", b"{", START),
        *raw_records("dash", b"[1]", START),
    ]
    records = lives(9)
    return [*records, *odd, *records[:10]]


async def sums(lab: Lab) -> dict[str, int]:
    """Count outcomes, so that a test knows it had some of each."""
    rows = await lab.system.rows("select outcome, count(*) from observations group by outcome")
    return {row["outcome"]: row["count"] for row in rows}


REFUSE: Final = """
create function refuse() returns trigger language plpgsql as
$$ begin raise exception using errcode = '22P05', message = 'untranslatable'; end $$;
create trigger refuse before insert on observations for each row
when (new.shipment_id = 'dash:POISON') execute function refuse();
"""


async def healthy(lab: Lab) -> None:
    """Clean after every kind of traffic, and a record that the database refuses.

    A processor that died before publishing leaves the topics behind: that is no difference either.
    """
    await lab.system.execute(REFUSE)
    await lab.system.append(mixed())
    async with lab.system.processor(Step.STORED, 1) as dying:
        assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL
    assert (await assert_clean(lab, from_raw=True)).shipments > 0
    await lab.system.append(raw_records("dash", dash("POISON", "VERIFIED", 1), START))
    await lab.process()
    assert (await sums(lab)).keys() == {"event", "duplicate", "anomaly", "unchanged"}
    report = await assert_clean(lab, from_raw=True)
    raw = len(await lab.system.read(Topic.RAW))
    shipments = len(await lab.system.rows("select * from shipments"))
    assert (report.records, report.shipments, report.from_raw) == (raw, shipments, shipments)
    assert (report.partitions, report.unchecked) == (2, 0)
    one = await assert_clean(lab, shipment="O-DE-3", from_raw=True)
    assert (one.shipments, one.from_raw) == (1, 1)
    parts = [await assert_clean(lab, partition=number) for number in (0, 1)]
    assert sum(part.shipments for part in parts) == shipments
    for nowhere in ({"shipment": "NOBODY"}, {"partition": 7}):
        with pytest.raises(OperatorError):
            await audited(lab, **nowhere)


async def recovered(lab: Lab) -> None:
    """Clean after a restored backup and `waybill recover`, which stores no outputs for what it derives."""
    await lab.system.append(mixed())
    await lab.process()
    await lab.back_up()
    await lab.system.append([*lives(6, "MORE"), *raw_records("dash", b"{{", START)])
    await lab.process()
    await lab.restore()
    async with lab.running():
        await lab.halted()
        assert (await lab.waybill("recover", "--yes", "--json"))[0] == 0
        await lab.ready()
        await lab.system.append(lives(3, "LAST"))
        await until(lab.system.caught_up)
        report = await assert_clean(lab, from_raw=True)
    assert report.derived > 0
    await lab.system.execute("update shipments set status = 'LOST' where shipment_id = 'dash:MORE-1'")
    assert {each.shipment for each in (await audited(lab)).differences} == {"dash:MORE-1"}


async def decided(lab: Lab) -> None:
    """Clean after operators' decisions and a replay of everything, and after what comes for those shipments then."""
    await lab.system.append(mixed())
    await lab.process()
    now = datetime.now(UTC)
    why = {"by": "ani", "reason": "asked for"}
    decisions: list[Decision] = [
        Erase(shipment_id="dash:KNOWN", **why),
        SetStatus(shipment_id="dash:DE-0", status=Status.LOST, **why),
        Retire(shipment_id="dash:DE-1", silent_since=now + timedelta(days=1), unfinished=False, **why),
    ]
    appended = [decision_record(each, "dash", None, f"decision-{at}", now) for at, each in enumerate(decisions)]
    await write_down(lab.system, *((f"decision-{at}", each) for at, each in enumerate(decisions)))
    again = [
        Raw(each.key or b"", each.value or b"", reread_headers(each, f"job/{each.at}"), each.timestamp_ms)
        for each in map(raw_record, await lab.system.read(Topic.RAW))
    ]
    later = [
        record
        for name in ("KNOWN", "DE-0", "DE-1")
        for record in raw_records("dash", dash(name, "IN_DELIVERY", 50, courier=PERSON), START + timedelta(hours=2))
    ]
    await lab.system.append([Raw(*msgspec.structs.astuple(each)) for each in appended if each.key is not None])
    await lab.process()
    await assert_clean(lab, from_raw=True)
    await lab.system.append([*again, *later])
    await lab.process()
    report = await assert_clean(lab, from_raw=True)
    assert report.unchecked == 1
    rows = await lab.system.rows(
        "select shipment_id from shipments where retired_at is not null or erased_at is not null"
    )
    assert {row["shipment_id"] for row in rows} == {"dash:KNOWN", "dash:DE-1"}


async def log_cut_short(lab: Lab) -> None:
    """What reaches back before the raw topic's start cannot be folded from it: said, and no difference."""
    await lab.system.append(lives(4))
    await lab.process()
    for partition in (0, 1):
        (row,) = await lab.system.rows(f"select next_offset from cursors where raw_partition = {partition}")
        await lab.delete_records(partition, row["next_offset"])
    await lab.system.append([*lives(2, "NEW"), *raw_records("dash", dash("DE-0", "COMPLETED", 30), START)])
    await lab.process()
    report = await assert_clean(lab, from_raw=True)
    assert (report.from_raw, report.unchecked) == (2, 4)


async def under_traffic(lab: Lab) -> None:
    """Several audits in a row, while webhooks are appended and applied all the time."""
    stopped = asyncio.Event()

    async def produce() -> int:
        number = 0
        while not stopped.is_set():
            number += 1
            await lab.system.append(lives(5, f"T{number}"))
        return number

    async with lab.running():
        await lab.ready()
        producing = asyncio.create_task(produce())
        try:
            counted = [0]

            async def more() -> bool:
                (row,) = await lab.system.rows("select sum(records) as records from cursors")
                return (row["records"] or 0) > counted[-1]

            for number in range(AUDITS_UNDER_TRAFFIC):
                await until(more)
                counted.append((await assert_clean(lab, from_raw=bool(number % 2))).records)
        finally:
            stopped.set()
            rounds = await producing
        assert counted == sorted(set(counted))
        await until(lab.system.caught_up)
    assert (await assert_clean(lab, from_raw=True)).records == rounds * 35


async def begun_late(lab: Lab) -> None:
    """The first records were deleted before any claim: said at once, and where an operator looks."""
    await lab.system.append(lives(6))
    await lab.delete_records(0, 4)
    async with lab.running():
        await until(lab.system.caught_up)
    report = await assert_clean(lab)
    assert report.unread == 4
    code, said = await lab.waybill("doctor")
    assert (code, "before 0:4" in said, "before 1:" in said) == (0, True, False), said


async def test_what_is_right_is_clean(one_more: OpenLab) -> None:  # noqa: F811
    await side_by_side([healthy, recovered, decided, log_cut_short, under_traffic, begun_late], one_more)


async def test_records_that_were_passed_over_are_named(one_more: OpenLab) -> None:  # noqa: F811
    """The sums agree: neither the rows nor the cursor's counts know of them. The log does."""
    lab = await one_more()
    await lab.system.append(mixed())
    await lab.process()
    await assert_clean(lab)
    before = await lab.system.rows("select raw_partition, next_offset from cursors order by 1")
    await lab.system.append([*lives(2, "GONE"), *raw_records("dash", b"{{{", START)])
    for partition, end in enumerate(await lab.ends()):
        moved = f"next_offset = {end}, emitted = {end}, last_offset = null, last_digest = null"
        await lab.system.execute(f"update cursors set {moved} where raw_partition = {partition}")
    await lab.offsets("--delete-offsets")
    await lab.system.append(lives(2, "NEXT"))
    await lab.process()
    found = (await audited(lab)).differences
    assert {(each.where, each.field, each.found) for each in found} == {("cursors", "records", None)}
    gone = [
        (f"{record.partition}:{record.offset}", str(record.key, "utf-8"))
        for record in await lab.system.read(Topic.RAW)
        if b"GONE" in record.key or record.value == b"{{{"
    ]
    assert len(gone) == 15
    assert all(offset >= before[partition]["next_offset"] for partition, offset in map(_place, gone))
    named = {f"{at}, {name if 'GONE' in name else 'a record'}" for at, name in gone}
    assert {each.expected for each in found} == named


def _place(named: tuple[str, str]) -> tuple[int, int]:
    partition, offset = named[0].split(":")
    return int(partition), int(offset)


Damage = Callable[[Lab], Awaitable[None]]


def sql(statement: str) -> Damage:
    async def damage(lab: Lab) -> None:
        await lab.system.execute(statement)

    return damage


async def overwrite_state(lab: Lab) -> None:
    """Somebody writes a state by hand: the newest one of DE-5, with another status."""
    name = b"dash:DE-5"
    record = [record for record in await lab.system.read(Topic.STATE) if record.key == name][-1]
    value = msgspec.json.encode({**msgspec.json.decode(record.value), "status": "FAILED"})
    await _publish(lab, Topic.STATE, record.partition, name, value)


async def forget_state(lab: Lab) -> None:
    (record, *_) = [record for record in await lab.system.read(Topic.STATE) if record.key == b"dash:DE-6"]
    await _publish(lab, Topic.STATE, record.partition, b"dash:DE-6", None)


async def _publish(lab: Lab, topic: Topic, partition: int, key: bytes, value: bytes | None) -> None:
    producer = kafka.new_producer(lab.system.settings, "test")
    await kafka.start(producer)
    try:
        await producer.send_and_wait(lab.system.settings.topic(topic), value, key, partition)
    finally:
        await kafka.stop(producer)


async def rename_event(lab: Lab) -> None:
    where = "where shipment_id = 'dash:DE-4' and version = 7"
    (row,) = await lab.system.rows(
        "select shipment_id, version, event, recorded_at, raw_partition as root_partition, raw_offset as root_offset "
        f"from observations {where}"
    )
    event = msgspec.structs.replace(read_event(row), id="dash:DE-4/8")
    packed = pack_event(event, event_row(row), row["recorded_at"])
    await lab.system.execute(f"update observations set event = '\\x{packed.hex()}' {where}")


NOBODY: Final = '{"driver":null,"signed_by":null,"tracking_url":null,"proofs":[]}'

DAMAGES: Final[Sequence[tuple[Damage, set[tuple[str | None, str, str]]]]] = (
    (
        sql("update shipments set status = 'FAILED' where shipment_id = 'dash:DE-0'"),
        {("dash:DE-0", "shipments", "status")},
    ),
    (
        sql("update shipments set version = version + 1 where shipment_id = 'dash:DE-1'"),
        {("dash:DE-1", "shipments", "version")},
    ),
    (
        sql("delete from observations where shipment_id = 'dash:DE-2' and version = 3"),
        {("dash:DE-2", "outputs", "version"), (None, "cursors", "records")},
    ),
    (
        sql("update observations set event = null where shipment_id = 'dash:DE-3' and version = 2"),
        {("dash:DE-3", "outputs", "event")},
    ),
    (rename_event, {("dash:DE-4", "outputs", "id")}),
    (overwrite_state, {("dash:DE-5", "shipment.state", "status")}),
    (forget_state, {("dash:DE-6", "shipment.state", "version")}),
    (sql("delete from shipments where shipment_id = 'dash:DE-7'"), {("dash:DE-7", "shipments", "row")}),
    (
        sql("update observations set said = 'none of ours' where shipment_id = 'dash:DE-8' and version = 1"),
        {("dash:DE-8", "observations", "history")},
    ),
    (
        sql(f"update shipments set personal = '{NOBODY}' where shipment_id = 'dash:KNOWN'"),
        {("dash:KNOWN", "shipments", "driver")},
    ),
    (sql("update cursors set records = records + 1"), {(None, "cursors", "records")}),
    (
        sql("delete from outputs where topic = 'courier.webhooks.raw.dlq'"),
        {(None, "cursors", "records"), (None, "courier.webhooks.raw.dlq", "record")},
    ),
    (
        sql(
            "delete from outputs where topic = 'shipment.anomalies'"
            " and convert_from(value, 'UTF8') not like '%service_conflict%'"
        ),
        {(None, "outputs", "anomalies")},
    ),
)
"""What is done, and what the audit must say of it: shipment, where, field."""

SUMS: Final = (None, "outputs", "events")
"""Found besides, unless two damages of one partition make up for each other."""


async def test_each_damage_is_found_and_nothing_else(one_more: OpenLab) -> None:  # noqa: F811
    lab = await one_more()
    await lab.system.append(mixed())
    await lab.process()
    await assert_clean(lab)
    for damage, _ in DAMAGES:
        await damage(lab)
    seen = {(each.shipment, each.where, each.field) for each in (await audited(lab)).differences}
    assert seen - {SUMS} == set().union(*(expected for _, expected in DAMAGES))
    await _persons_are_masked_unless_asked_for(lab)


async def _persons_are_masked_unless_asked_for(lab: Lab) -> None:
    """Run the command itself. Whoever asks for persons is noted."""
    code, said = await lab.waybill("audit", "--shipment", "O-KNOWN")
    assert code == 1
    assert said.splitlines()[1].split() == ["dash:KNOWN", "shipments", "driver", MASK, NOTHING]
    assert said.splitlines()[-1] == "1 shipment compared, 1 partition: 1 difference"
    assert not await lab.system.rows("select * from operator_log")
    code, said = await lab.waybill("audit", "--shipment", "O-KNOWN", "--show-personal", "--json")
    assert code == 1
    (difference,) = msgspec.json.decode(said)["differences"]
    assert difference["expected"]["name"] == PERSON
    (noted,) = await lab.system.rows("select command, detail from operator_log")
    assert noted["command"] == "audit"
    assert "dash:KNOWN" in noted["detail"]
    assert PERSON not in noted["detail"]


BROKEN_DECODER: Final = """
import sys
import msgspec
import processor.partition.pieces
from cli.main import main
from processor.core.reading import Read, Unreadable
from schemas.records import UnreadableError
from schemas.vocabulary import DeadLetterReason

read = processor.partition.pieces.read


def broken(*arguments):
    reading = read(*arguments)
    if not isinstance(reading, Read):
        return reading
    seen = reading.observation
    if seen.shipment_id == "dash:DE-1":
        return Unreadable(reading.record, UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "broken"))
    details = msgspec.structs.replace(seen.details, order_id=None)
    return msgspec.structs.replace(reading, observation=msgspec.structs.replace(seen, details=details))


processor.partition.pieces.read = broken
sys.exit(main(["processor"]))
"""


async def test_reading_the_raw_topic_again_shows_what_a_broken_decoder_did(one_more: OpenLab) -> None:  # noqa: F811
    lab = await one_more()
    await lab.system.append(lives(3))
    broken = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        BROKEN_DECODER,
        env=environ_with(lab.system.environ),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lab.system.caught_up)
    finally:
        broken.terminate()
        await asyncio.wait_for(broken.wait(), 15)
    assert (await lab.waybill("audit", "--all"))[0] == 0
    seen = {(each.shipment, each.where, each.field): each for each in (await audited(lab, from_raw=True)).differences}
    assert seen.keys() == {
        ("dash:DE-0", "raw", "order_id"),
        ("dash:DE-1", "raw", "status"),
        ("dash:DE-2", "raw", "order_id"),
    }
    missing = seen["dash:DE-1", "raw", "status"]
    assert (missing.expected, missing.found) == ("DELIVERED", None)


async def test_before_anything_is_processed_there_is_nothing_to_find(one_more: OpenLab) -> None:  # noqa: F811
    lab = await one_more()
    assert (await assert_clean(lab)).partitions == 0
    with pytest.raises(OperatorError):
        await audited(lab, partition=0)
