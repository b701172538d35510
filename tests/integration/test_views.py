"""`waybill tail`, `lag`, `shipment show`, `shipment list`, `doctor` on the real stack."""

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest_asyncio

from operators.shared.appending import decision_record
from schemas.observation import Dismiss
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.integration.commands import run_here
from tests.integration.operating import start, waybill, write_down
from tests.integration.system import START, Raw, System, dash, lives, open_system, raw_records
from tests.waiting import DEADLINE, until

DRIVER = {"name": "Budi Santoso", "phone": "+628123456789"}
SECRETS = ("Budi", "8123456789")
GARBAGE = b'{"driver": "Budi Santoso" and no JSON'


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, tmp_path: Path) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    system.environ |= {"WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"), "WAYBILL_DASH_SECRETS": "hush-hush"}
    return system


async def printed(system: System, *arguments: str, code: int = 0) -> str:
    """Run a command with `--json`; return what it printed."""
    said = await run_here(system.environ, *arguments, "--json", within=DEADLINE)
    assert said.code == code, (arguments, said)
    return said.out


async def asked(system: System, *arguments: str, code: int = 0) -> Any:
    return msgspec.json.decode(await printed(system, *arguments, code=code))


async def tailed(system: System, *arguments: str) -> list[Any]:
    said = await printed(system, "tail", "--since", "earliest", "--until-end", *arguments)
    return [msgspec.json.decode(line) for line in said.splitlines()]


def story() -> list[Raw]:
    """A parcel's life with all that may be told of one: a repeat, a late word, a refused one, an unknown one."""
    told = [
        dash("STORY", "PREPARING", 0),
        dash("STORY", "IN_DELIVERY", 5, courier=DRIVER),
        dash("STORY", "VERIFIED", 3),
        dash("STORY", "IN_DELIVERY", 5, courier=DRIVER),
        dash("STORY", "COMPLETED", 8, courier=DRIVER),
        dash("STORY", "PENDING_RETURN", 9),
        dash("STORY", "MELTED", 9),
    ]
    return [record for body in told for record in raw_records("dash", body, START + timedelta(minutes=10))]


async def processed(system: System, records: Sequence[Raw]) -> None:
    await system.append(records)
    async with system.processor() as processor:
        await until(system.caught_up)
        processor.terminate()
        assert await asyncio.wait_for(processor.wait(), DEADLINE) == 0


async def test_what_is_seen_of_a_story(system: System) -> None:
    odd = raw_records("dash", dash("ODD", "MELTED", 1), START)
    decided = Dismiss(shipment_id="dash:ODD", by="ani", reason="they try it out", anomaly_id="some/anomaly")
    await write_down(system, ("command-1", decided))
    dismissed = decision_record(decided, "dash", None, "command-1", START)
    assert dismissed.key is not None
    decision = Raw(dismissed.key, dismissed.value, dismissed.headers, dismissed.timestamp_ms)
    await processed(system, [*lives(2), *story(), *odd, decision, *raw_records("dash", GARBAGE, START)])
    await _tail_shows_what_was_published(system)
    await _tail_shows_bodies_as_they_are_read(system)
    await _tail_narrows(system)
    await _a_shipment_shows_everything(system)
    await _persons_are_shown_on_demand_and_that_is_noted(system)


async def _tail_shows_what_was_published(system: System) -> None:
    events, state = await tailed(system), await tailed(system, "--topic", "state")
    anomalies = await tailed(system, "--topic", "anomalies")
    on_topic = {(each.partition, each.offset): each for each in await system.read(Topic.EVENTS)}
    assert {(each["partition"], each["offset"]) for each in events} == on_topic.keys()
    first = next(each for each in events if each["key"] == "dash:STORY")
    assert first["value"] == msgspec.json.decode(on_topic[first["partition"], first["offset"]].value)
    assert first["headers"]["ce_id"] == "dash:STORY/1"
    assert len(events) == 14 + 4
    assert {each["key"] for each in state} == {"dash:DE-0", "dash:DE-1", "dash:STORY"}
    assert sorted((each["value"]["kind"], each["value"]["courier_status"]) for each in anomalies) == [
        ("illegal_transition", "PENDING_RETURN"),
        ("unknown_status", "MELTED"),
        ("unknown_status", "MELTED"),
    ]
    lines = await waybill(system, "tail", "--since", "earliest", "--until-end")
    (delivered,) = [line for line in lines.splitlines() if "IN_DELIVERY → DELIVERED" in line and "STORY" in line]
    assert "status_changed" in delivered
    assert "v4" in delivered
    assert not [secret for secret in SECRETS if secret in f"{lines}{events}{state}{anomalies}"]


async def _tail_shows_bodies_as_they_are_read(system: System) -> None:
    raw, dlq = await tailed(system, "--topic", "raw"), await tailed(system, "--topic", "dlq")
    lines = await waybill(system, "tail", "--topic", "dlq", "--since", "earliest", "--until-end")
    (letter,) = dlq
    assert letter["value"] is None
    assert letter["size"] == len(GARBAGE)
    assert letter["reading"]["dead_letter"] == letter["headers"]["dlq-reason"] == "invalid_json"
    assert len(raw) == 14 + len(story()) + 3
    readings = [each["reading"].get("status") for each in raw if each["key"] == "dash:STORY"]
    assert readings[4:] == ["DELIVERED", "RETURNING", None]
    assert all(each["value"] is None for each in raw)
    assert not [secret for secret in SECRETS if secret in f"{raw}{dlq}{lines}"]


async def _tail_narrows(system: System) -> None:
    of_order = await tailed(system, "--shipment", "O-STORY")
    assert [each["value"]["version"] for each in of_order] == [1, 2, 3, 4]
    typed = await tailed(system, "--type", "status_changed", "--shipment", "dash:STORY")
    assert [each["value"]["version"] for each in typed] == [1, 2, 4]
    assert await tailed(system, "--courier", "kiriminaja") == []
    assert await tailed(system, "--topic", "dlq", "--type", "misrouted") == []
    assert len(await tailed(system, "--since", "1h")) == 14 + 4, "recorded within the hour"
    later = await tailed(system, "--topic", "raw", "--since", "2026-11-01T08:03:30Z", "--courier", "dash")
    assert {each["timestamp"] >= "2026-11-01T08:03:30" for each in later} == {True}
    assert len(later) == 2 * 3 + len(story())


async def _a_shipment_shows_everything(system: System) -> None:
    found = await asked(system, "shipment", "show", "O-STORY")
    assert (found["snapshot"]["status"], found["snapshot"]["version"]) == ("DELIVERED", 4)
    assert [(each["courier_status"], each["outcome"], each["counts"]) for each in found["observations"]] == [
        ("PREPARING", "event", True),
        ("IN_DELIVERY", "event", True),
        ("VERIFIED", "event", True),
        ("IN_DELIVERY", "duplicate", None),
        ("COMPLETED", "event", True),
        ("PENDING_RETURN", "anomaly", False),
        ("MELTED", "anomaly", None),
    ]
    refused = found["observations"][5]
    assert refused["anomaly"] == f"dash:STORY/anomaly/{refused['raw']}/illegal_transition"
    assert refused["received_at"] == "2026-11-01T08:10:00.000000Z"
    assert refused["occurred_at"] == "2026-11-01T08:09:00.000000Z"
    types = ["status_changed", "status_changed", "history_added", "status_changed"]
    assert [event["type"] for event in found["events"]] == [f"shipment.{name}" for name in types]
    assert [f"{event['raw']['partition']}:{event['raw']['offset']}" for event in found["events"]] == [
        each["raw"] for each in found["observations"] if each["outcome"] == "event"
    ]
    text = await waybill(system, "shipment", "show", "dash:STORY")
    for told in ("illegal_transition", "refused", "IN_DELIVERY → DELIVERED"):
        assert told in text
    assert not [secret for secret in SECRETS if secret in f"{text}{found}"]
    odd = await asked(system, "shipment", "show", "dash:ODD")
    assert odd["snapshot"] is None
    assert [each["anomaly_kind"] for each in odd["observations"]] == ["unknown_status", None]
    decided = {"command": "dismiss", "by": "ani", "reason": "they try it out", "anomaly": "some/anomaly"}
    assert odd["observations"][1]["decided"] == decided
    assert "ani: they try it out (some/anomaly)" in await waybill(system, "shipment", "show", "dash:ODD")
    for unknown in ("dash:NOBODY", "NOBODY"):
        assert await printed(system, "shipment", "show", unknown, code=1) == ""


async def _persons_are_shown_on_demand_and_that_is_noted(system: System) -> None:
    system.environ |= {"WAYBILL_OPERATOR": "ani"}
    events = await tailed(system, "--show-personal", "--shipment", "dash:STORY")
    assert events[-1]["value"]["personal"]["driver"] == DRIVER
    raw = await tailed(system, "--show-personal", "--topic", "raw", "--shipment", "dash:STORY")
    assert [each["value"].get("courier") for each in raw].count(DRIVER) == 3
    (letter,) = await tailed(system, "--show-personal", "--topic", "dlq")
    assert letter["value"] == GARBAGE.decode()
    shown = await asked(system, "shipment", "show", "dash:STORY", "--show-personal")
    assert shown["snapshot"]["personal"]["driver"] == DRIVER
    noted = await system.rows("select operator, command from operator_log where command <> 'a test' order by id")
    commands = [*["tail --show-personal"] * 3, "shipment show --show-personal"]
    assert [tuple(row) for row in noted] == [("ani", command) for command in commands]


async def test_tail_follows_until_interrupted(system: System) -> None:
    follower = await start(system, "tail", "--topic", "raw", "--since", "earliest")
    assert follower.stdout is not None
    await system.append(lives(1))
    assert b"dash:DE-0" in await asyncio.wait_for(follower.stdout.readline(), DEADLINE)
    follower.send_signal(signal.SIGINT)
    _, complained = await asyncio.wait_for(follower.communicate(), DEADLINE)
    assert (follower.returncode, complained) == (0, b"")


async def test_tail_ends_quietly_when_nobody_reads_on(system: System) -> None:
    await system.append(lives(1))
    reading, writing = os.pipe()
    process = await start(system, "tail", "--topic", "raw", "--since", "earliest", stdout=writing)
    os.close(writing)
    os.close(reading)
    _, complained = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert (process.returncode, complained) == (0, b"")


async def test_lag_counts_what_waits_and_how_old_it_is(system: System) -> None:
    await system.append(lives(1))
    new = await asked(system, "lag")
    assert new["total"]["behind"] == 7
    assert {each["processed"] for each in new["partitions"]} == {None}

    await processed(system, lives(4))
    calm = await asked(system, "lag")
    assert calm["total"] == {"behind": 0, "unpublished": 0, "oldest_seconds": None}
    assert all(each["processed"] == each["emitted"] == each["log_end"] for each in calm["partitions"])

    received = datetime.now(UTC) - timedelta(hours=2)
    waiting = [
        record for name in range(20) for record in raw_records("dash", dash(f"W{name}", "VERIFIED", 1), received)
    ]
    await system.append(waiting)
    late = await asked(system, "lag")
    homes = [partition_of(record.key, len(late["partitions"])) for record in waiting]
    assert [each["behind"] for each in late["partitions"]] == [homes.count(0), homes.count(1)]
    assert late["total"]["behind"] == len(waiting)
    assert 7200 <= late["total"]["oldest_seconds"] < 7200 + DEADLINE
    table = await waybill(system, "lag")
    assert [line.split()[0] for line in table.splitlines()] == ["partition", "0", "1", "total"]
    assert "2:0" in table.splitlines()[-1]


async def test_shipments_are_listed_by_change_or_by_silence(system: System) -> None:
    await system.execute(SHIPMENTS)

    async def listed(*arguments: str) -> list[str]:
        return [each["shipment_id"] for each in await asked(system, "shipment", "list", *arguments)]

    everything = await asked(system, "shipment", "list")
    assert [each["shipment_id"] for each in everything] == ["dash:5", "dash:4", "kiriminaja:3", "dash:2", "dash:1"]
    assert everything[0]["retired_at"]
    assert everything[3]["erased_at"]
    chosen = await listed("--status", "failed,DELIVERED", "--status", "LOST", "--courier", "dash")
    assert chosen == ["dash:5", "dash:2"]
    assert await listed("--stale-for", "3d") == ["dash:4", "kiriminaja:3"], "a final one keeps silent rightly"
    assert await listed("--limit", "2") == ["dash:2", "dash:1"]
    table = await waybill(system, "shipment", "list", "--limit", "1")
    assert table.splitlines()[1].startswith("dash:1")
    assert "retired at" in await waybill(system, "shipment", "show", "dash:5")
    assert "erased at" in await waybill(system, "shipment", "show", "dash:2")


SHIPMENTS = """
insert into shipments (shipment_id, courier, service, courier_ref, status, phase, final, courier_status, failed_count,
    personal, occurred_at, occurred_at_source, version, updated_at, erased_at, retired_at)
select id, split_part(id, ':', 1), 'logistic', id, status, 'x', final, status, 0, '{}', now(), 'courier', 1,
    now() - age, case when id = 'dash:2' then now() end, case when id = 'dash:5' then now() end
from (values
    ('dash:1', 'CREATED', false, interval '1 hour'),
    ('dash:2', 'FAILED', false, interval '2 hours'),
    ('kiriminaja:3', 'LOST', false, interval '4 days'),
    ('dash:4', 'VERIFIED', false, interval '5 days'),
    ('dash:5', 'DELIVERED', true, interval '200 days')
) as made (id, status, final, age)
"""


async def test_the_doctor_finds_a_healthy_system_and_then_what_ails_it(system: System) -> None:
    await system.append(lives(1))
    async with system.processor():
        await until(system.caught_up)
        healthy = await asked(system, "doctor")
    levels = {each["what"]: each["level"] for each in healthy["findings"]}
    assert healthy["ok"]
    assert {what for what, level in levels.items() if level == "ok"} >= {
        *("couriers", "spool", "retention", "kafka", "topics", "processors"),
        *("postgres", "schema", "commits", "clocks", "privileges", "cursors", "lag"),
    }
    assert levels["durability"] == "warn", "one copy"

    await system.execute("update cursors set next_offset = next_offset + 1000 where raw_partition = 0")
    system.environ |= {"WAYBILL_RETENTION": "7d", "WAYBILL_INGEST_SPOOL_DIR": "/dev/null/spool"}
    ill = await asked(system, "doctor", code=1)
    failed = {each["what"]: each for each in ill["findings"] if each["level"] == "fail"}
    assert failed.keys() == {"cursors", "retention", "spool"}
    assert "partition 0" in failed["cursors"]["found"]
    assert failed["cursors"]["mend"] == "`waybill recover`"

    await system.execute("delete from schema_migrations where version > 1")
    assert "`waybill migrate`" in await waybill(system, "doctor", code=1)


async def test_the_doctor_works_whatever_is_away(system: System) -> None:
    await _ails(system, "kafka", WAYBILL_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    await _ails(system, "postgres", WAYBILL_DATABASE_URL="postgresql://waybill:hush@127.0.0.1:1/waybill")
    await _ails(system, "topics", WAYBILL_TOPIC_PREFIX="nobody.made.")
    role = f"poor_{os.urandom(4).hex()}"
    await system.execute(f"create role {role}; grant select on all tables in schema public to {role}")
    try:
        url = system.settings.database_url
        said = await _ails(system, "privileges", WAYBILL_DATABASE_URL=f"{url}{'&' if '?' in url else '?'}role={role}")
    finally:
        await system.execute(f"drop owned by {role}; drop role {role}")
    assert "insert on operator_log" in said
    assert "select on" not in said


async def _ails(system: System, what: str, **environ: str) -> str:
    """See that the doctor finds this ailment, and looks at the rest all the same; return what it says."""
    said = await printed(System(system.environ | environ), "doctor", code=1)
    levels = {each["what"]: each["level"] for each in msgspec.json.decode(said)["findings"]}
    assert levels[what] == "fail", said
    assert {levels[other] for other in {"kafka", "postgres"} - {what}} == {"ok"}
    assert "hush" not in said
    return said
