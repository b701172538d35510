"""Replays on the real broker and database: exact plans, nothing twice, whatever is killed."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Any, Final, cast

import msgspec
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from devstack import Kafka
from operators.replay.jobs import Mode
from operators.replay.overlay import fields_of
from operators.replay.progress import Progress
from operators.replay.range import Selection
from operators.replay.replays import look
from operators.shared.errors import OperatorError
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from runtime.kafka_records import raw_record
from runtime.postgres import open_pool
from schemas.times import format_time
from schemas.topics import Topic
from tests.integration.operating import assert_conserved
from tests.integration.recovering import Lab
from tests.integration.replaying import (
    OLDER,
    applied,
    command,
    digest,
    ends,
    mixed,
    processed,
    processing,
    running,
)
from tests.integration.system import PARTITIONS, START, System, lives, open_system
from tests.waiting import until

KILLS: Final = int(os.environ.get("WAYBILL_TEST_REPLAY_KILLS", "3"))
"""How often a replay is killed before it is let through."""

COPY: Final = "copy"
REPUBLISH: Final = ("replay", "run", "--mode", "republish", "--yes")


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


async def test_with_unchanged_code_nothing_is_emitted_and_no_row_changes(system: System) -> None:
    await processed(system, mixed(20))
    before, published = await digest(system), await ends(system)
    plan = (await command(system, "replay", "plan", "--all", "--json")).json()
    assert (plan["changes"], plan["events"], plan["anomalies"]) == ([], [], [])
    assert plan["unreadable"] == 2
    async with processing(system):
        ended = (await command(system, "replay", "run", "--all", "--yes", "--json")).json()
        again = (await command(system, "replay", "run", "--all", "--yes", "--json")).json()
    assert ended["outcomes"] == again["outcomes"] == {"unchanged": plan["records"]} == plan["outcomes"]
    assert (ended["status"], ended["pending"], ended["appended"]) == ("done", 0, plan["records"])
    assert again["passed_over"] == ended["passed_over"] + plan["records"]
    assert await digest(system) == before
    assert await ends(system) == published
    await assert_conserved(system)


async def test_what_run_changes_is_what_plan_said(system: System) -> None:
    await processed(system, mixed(12), OLDER)
    rows, events, anomalies = (
        await _rows(system),
        await _read(system, Topic.EVENTS),
        await _read(system, Topic.ANOMALIES),
    )
    async with processing(system):
        plan = (await command(system, "replay", "plan", "--all", "--json", "--show-personal")).json()
        ended = (await command(system, "replay", "run", "--all", "--yes", "--json")).json()
        await until(system.caught_up)
    assert plan["events"]
    assert ended["outcomes"] == plan["outcomes"]
    came = {name: each for name, each in (await _read(system, Topic.EVENTS)).items() if name not in events}
    assert {each["id"]: each for each in plan["events"]} == {name: _brief(each, EVENT) for name, each in came.items()}
    assert {each["source"] for each in came.values()} == {"replay"}
    told = {name: each for name, each in (await _read(system, Topic.ANOMALIES)).items() if name not in anomalies}
    assert {each["id"]: each for each in plan["anomalies"]} == {n: _brief(each, ANOMALY) for n, each in told.items()}
    _assert_changed(plan["changes"], rows, await _rows(system))
    again = (await command(system, "replay", "plan", "--all", "--json")).json()
    assert (again["changes"], again["events"], again["anomalies"]) == ([], [], [])
    await assert_conserved(system)


def _assert_changed(changes: list[Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    foreseen = {each["shipment_id"]: each for each in changes}
    assert foreseen.keys() == {name for name, row in after.items() if row != before.get(name)}
    for name, change in foreseen.items():
        old, new = before.get(name, {}), after[name]
        assert change["version"] == {"old": old.get("version", 0), "new": new["version"]}
        different = {field for field in new if field != "version" and new[field] != old.get(field)}
        assert change["fields"] == {field: {"old": old.get(field), "new": new[field]} for field in different}


EVENT: Final = ("id", "type", "status", "previous_status", "transition", "skipped", "courier_status")
ANOMALY: Final = ("id", "kind", "shipment_id", "courier_status", "status")


def _brief(output: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    raw = output["raw"]
    return {name: output[name] for name in fields} | {"raw": f"{raw['partition']}:{raw['offset']}"}


async def _read(system: System, topic: Topic) -> dict[str, Any]:
    values = [msgspec.json.decode(record.value) for record in await system.read(topic)]
    found = {value["id"]: value for value in values}
    assert len(found) == len(values)
    return found


async def _rows(system: System) -> dict[str, dict[str, Any]]:
    """Return the shipments' rows, field by field."""
    left_out = {
        *("shipment_id", "courier", "account", "courier_ref", "personal"),
        *("updated_at", "active_hour", "erased_at", "retired_at"),
    }
    found = {}
    for row in await system.rows("select * from shipments"):
        fields = {name: value for name, value in row.items() if name not in left_out}
        fields["occurred_at"] = format_time(row["occurred_at"])
        fields |= {name: row[name] and msgspec.json.decode(row[name]) for name in ("carrier", "charges")}
        found[row["shipment_id"]] = fields | msgspec.json.decode(row["personal"])
    return found


async def test_a_killed_replay_goes_on_where_it_was(system: System) -> None:
    """Whatever it was doing when it was killed: in the end it is as if nobody had killed it."""
    await processed(system, mixed(18 * KILLS), OLDER)
    dice = random.Random(os.environ.get("WAYBILL_TEST_SEED", "7"))
    plan = (await command(system, "replay", "plan", "--all", "--json")).json()
    arguments, jobs = ["run", "--all", "--yes", "--rate", "100"], list[str]()
    async with processing(system):
        for _ in range(KILLS):
            mark = await _appended(system) + dice.randrange(40)
            async with running(system, "replay", *arguments) as runner:
                await until(lambda mark=mark: _has_appended(system, mark))  # type: ignore[misc]
                runner.kill()
                await runner.wait()
            jobs = [row["job"] for row in await system.rows("select job from replay_jobs")]
            arguments = ["resume", *jobs]
        (job,) = jobs
        standing = (await command(system, "replay", "status", job, "--json")).json()
        assert (standing["status"], standing["interrupted"], standing["alive"]) == ("running", True, False)
        ended = (await command(system, "replay", "resume", job, "--json")).json()
    came = await applied(system, job)
    assert ended["status"] == "done"
    assert ended["outcomes"] == plan["outcomes"] == dict(Counter(came.values()))
    assert len(came) == ended["appended"] == plan["records"]
    rows = await _rows(system)
    expected = await _expected(system)
    assert {name: _different(row, expected[name]) for name, row in rows.items()} == {name: {} for name in expected}
    events = await _read(system, Topic.EVENTS)
    assert Counter(each["shipment_id"] for each in events.values()) == {n: row["version"] for n, row in rows.items()}
    await assert_conserved(system)


def _different(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ, the version aside."""
    return {field: (found[field], value) for field, value in expected.items() if found[field] != value}


async def _has_appended(system: System, records: float) -> bool:
    return await _appended(system) > records


async def _appended(system: System) -> int:
    (row,) = await system.rows("select coalesce(sum(appended), 0) as appended from replay_positions")
    return int(row["appended"])


async def _expected(system: System) -> dict[str, dict[str, Any]]:
    """Return what today's decoder makes of the roots, without a database."""
    records = sorted(await system.read(Topic.RAW), key=lambda record: (record.partition, record.offset))
    shipments: dict[str, Shipment] = {}
    for record in map(raw_record, records):
        if "replay-of" not in dict(record.headers):
            reading = read(record, system.settings.assumed_zone, PARTITIONS)
            shipments.update(Planner(shipments, "raw", START).add_all([reading]).shipments)
    found = {name: fields_of(name, each.snapshot) for name, each in shipments.items() if each.snapshot}
    return msgspec.json.decode(msgspec.json.encode(found), type=dict[str, dict[str, Any]])


async def test_jobs_run_side_by_side_are_paused_resumed_and_cancelled(system: System) -> None:
    await processed(system, lives(60))
    run, began = ("replay", "run", "--all", "--yes"), monotonic()
    async with processing(system), running(system, *run, "--rate", "5") as slow:
        await until(lambda: _has_appended(system, 0))
        ((first,),) = await system.rows("select job from replay_jobs")
        fast = (await command(system, *run, "--json")).json()
        assert (fast["status"], fast["appended"]) == ("done", 420)
        assert slow.returncode is None
        taken = await command(system, "replay", "resume", first)
        assert (taken.code, f"another process works on {first}" in taken.err) == (1, True)
        assert (await command(system, "replay", "pause", first)).code == 0
        assert await asyncio.wait_for(slow.wait(), 10) == 1
        lasted = monotonic() - began
        assert f"resume {first}" in (await _said(slow))
        paused = (await command(system, "replay", "status", first, "--json")).json()
        assert paused["status"] == "paused"
        assert 0 < paused["appended"] < 420
        assert paused["appended"] <= 1 + 5 * (1 + lasted), "lost time is made up for a second, not longer"
        async with running(system, "replay", "resume", first) as resumed:
            await until(lambda: _has_appended(system, 420 + paused["appended"]))
            resumed.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(resumed.wait(), 10) == 1
        assert (await command(system, "replay", "status", first, "--json")).json()["status"] == "paused"
        assert (await command(system, "replay", "cancel", first)).code == 2, "nobody can be asked"
        assert (await command(system, "replay", "cancel", first, "--yes")).code == 0
        assert (await command(system, "replay", "resume", first)).code == 1
        assert (await command(system, "replay", "pause", "nobody")).code == 1
        listed = (await command(system, "replay", "list", "--json")).json()
        assert {each["job"]: each["status"] for each in listed} == {first: "cancelled", fast["job"]: "done"}
        await until(system.caught_up)
    stopped = (await command(system, "replay", "status", first, "--json")).json()
    assert len(await applied(system, first)) == stopped["appended"] < 420
    assert set((await applied(system, first)).values()) == {"unchanged"}
    logged = [row["command"] for row in await system.rows("select command from operator_log order by id")]
    assert logged == ["replay run", "replay run", "replay pause", "replay resume", "replay cancel"]


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.read()).decode()


async def test_every_range_and_mode_comes_to_the_same_records(system: System) -> None:
    await processed(system, lives(10))
    third = START + timedelta(minutes=3)
    counts = [
        (Selection(everything=True), 70),
        (Selection(since=third), 40),
        (Selection(until=third), 30),
        (Selection(since=third, until=third + timedelta(minutes=1)), 10),
        (Selection(from_offsets={0: 5, 1: 5}), 60),
        (Selection(until_offsets={0: 5, 1: 5}), 10),
        (Selection(from_offsets={0: 3}, until_offsets={0: 9}, since=START), 6),
        (Selection(everything=True, shipment="dash:DE-3"), 7),
        (Selection(everything=True, shipment="O-DE-3"), 7),
        (Selection(everything=True, courier="kiriminaja"), 0),
    ]
    async with await open_pool(system.settings, "test", 2) as pool:
        for selection, count in counts:
            for mode in (Mode.REPROCESS, Mode.REPUBLISH):
                told: list[Progress] = []
                found = await look(system.settings, pool, mode, selection, told.append, planned=True)
                assert found.plan is not None
                assert found.plan.records == count, (mode, selection)
                dealt = [each.dealt for each in told]
                assert dealt == sorted(dealt)
                assert not dealt or dealt[-1] <= found.asked.offsets == told[-1].offsets
                assert mode is Mode.REPUBLISH or not dealt or dealt[-1] == found.asked.offsets
        with pytest.raises(OperatorError, match="no 7"):
            await look(system.settings, pool, Mode.REPROCESS, Selection(partitions=(7,)), print, planned=True)
        with pytest.raises(OperatorError, match="no shipment"):
            await look(system.settings, pool, Mode.REPROCESS, Selection(shipment="?"), print, planned=True)
    shown = await command(
        system, "replay", "plan", "--since", third.isoformat(), "--until-offset", "0:9", "--limit", "2"
    )
    assert "would be read again" in shown.out


async def test_events_are_republished_to_the_byte(system: System, kafka: Kafka) -> None:
    """Also those whose raw records are gone, each once however often the job is killed, and never to our topics."""
    await processed(system, mixed(40))
    copy = await _make_topic(system, COPY)
    for ours in ("shipment.events", system.settings.topic(Topic.EVENTS), system.settings.topic(Topic.RAW)):
        assert (await command(system, *REPUBLISH, "--all", "--to-topic", ours)).code == 2
    assert (await command(system, *REPUBLISH, "--all", "--to-topic", f"{copy}-missing")).code == 1
    lab = Lab(system, kafka, None)
    await lab.delete_records(0, 40)
    events = await system.read(Topic.EVENTS)
    arguments, job = [*REPUBLISH, "--all", "--to-topic", copy, "--rate", "100"], ""
    for share in (0.2, 0.6):
        async with running(system, *arguments) as runner:
            await until(lambda share=share: _has_appended(system, share * len(events)))  # type: ignore[misc]
            runner.kill()
            await runner.wait()
        ((job,),) = await system.rows("select job from replay_jobs")
        arguments = ["replay", "resume", job]
    ended = (await command(system, "replay", "resume", job, "--json")).json()
    assert (ended["status"], ended["appended"]) == ("done", len(events))
    assert _to_the_byte(await system.read(cast("Topic", COPY))) == _to_the_byte(events)


def _to_the_byte(records: list[Any]) -> list[tuple[Any, ...]]:
    """Everything subscribers see, in each partition's order."""
    found = [(each.partition, each.key, each.value, each.headers, each.timestamp) for each in records]
    return sorted(found, key=lambda each: each[0])


async def _make_topic(system: System, name: str) -> str:
    topic = f"{system.settings.topic_prefix}{name}"
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()
    return topic
