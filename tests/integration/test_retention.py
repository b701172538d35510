"""`waybill retention` on the real stack: what is old goes, its row stays, nothing else is touched."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from operators.retention.limits import Oldest, limits_in_force
from operators.retention.run import survey
from runtime.kafka import admin_client
from runtime.postgres import open_pool
from runtime.settings import load_settings
from schemas.topics import Topic
from tests.integration.operating import asked, assert_conserved, events, newest_states, running, start, waybill
from tests.integration.system import Raw, System, dash, lives, open_system, raw_records
from tests.waiting import DEADLINE, until

OLD: Final = 4
LONG_AGO: Final = datetime.now(UTC) - timedelta(days=40)
KEPT: Final = "31d"
"""Longer than the raw topic keeps its records, shorter than the old ones are old."""


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    system.environ |= {"WAYBILL_RETENTION": KEPT}
    return system


def received_long_ago(records: list[Raw]) -> list[Raw]:
    """Return records received before what is kept begins, their bodies as they are."""
    at = LONG_AGO.isoformat().replace("+00:00", "Z").encode()
    return [
        Raw(
            each.key,
            each.value,
            [(name, at if name == "received-at" else value) for name, value in each.headers],
            each.timestamp_ms,
        )
        for each in records
    ]


AGED: Final = """
update shipments set updated_at = updated_at - interval '40 days' where shipment_id not like 'dash:YOUNG-%';
update observations set recorded_at = recorded_at - interval '40 days' where shipment_id not like 'dash:YOUNG-%';
update outputs set recorded_at = recorded_at - interval '40 days' where shipment_id not like 'dash:YOUNG-%';
insert into applied_commands (command_id, raw_partition, raw_offset, outcome, applied_at) values
    ('old-job/0:1', 0, 1, 'event', now() - interval '40 days'), ('new-job/0:1', 0, 1, 'event', now()),
    ('paused-job/0:1', 0, 1, 'event', now() - interval '40 days');
insert into replay_jobs (job, mode, selection, status, operator, created_at, updated_at) values
    ('old-job', 'redrive', '{}', 'done', 'x', now() - interval '40 days', now() - interval '40 days'),
    ('paused-job', 'redrive', '{}', 'paused', 'x', now() - interval '40 days', now() - interval '40 days');
"""
"""Makes stored rows old, as if they had been written when their records were received."""


async def aged(system: System, number: int) -> None:
    """Process old shipments: final ones, one under way, one that only unknown words are known of; and young ones."""
    held = raw_records("dash", dash("HELD", "PREPARING", 0), LONG_AGO)
    stray = raw_records("dash", dash("STRAY", "MELTED", 0), LONG_AGO)
    stray += raw_records("dash", dash("STRAY", "ON_HOLD", 1), LONG_AGO)
    await system.append([*received_long_ago(lives(number, "OLD")), *held, *stray, *lives(2, "YOUNG")])
    async with running(system):
        await until(system.caught_up)
    await system.execute(AGED)


async def rows_of(system: System, name: str) -> list[Any]:
    return [
        dict(row) for row in await system.rows(f"select * from shipments where shipment_id like '{name}%' order by 1")
    ]


async def left(system: System) -> dict[str, int]:
    """Count the observations of each kind of shipment, and its stored outputs."""
    found = await system.rows(
        """
        select split_part(shipment_id, '-', 1) as name, count(*) as rows
        from (select shipment_id from observations union all select shipment_id from outputs) as stored
        group by 1
        """
    )
    return dict(found)


async def test_the_history_goes_and_the_row_stays(system: System) -> None:
    await aged(system, OLD)
    untouched = await rows_of(system, "dash:YOUNG"), await rows_of(system, "dash:HELD")
    before, stored = await rows_of(system, "dash:OLD"), await left(system)
    system.environ["WAYBILL_RETENTION"] = "30d"
    assert "must be longer" in await waybill(system, "retention", "--yes", code=1)
    system.environ["WAYBILL_RETENTION"] = KEPT
    found = (await asked(system, "retention", "--dry-run"))["found"]
    assert found == {
        "shipments": OLD,
        "spared": 0,
        "dead_letters": 0,
        "observations": 2,
        "anomalies": 1,
        "commands": 1,
        "jobs": 1,
    }
    async with running(system):
        first = (await asked(system, "retention", "--yes", "--limit", "1"))["done"]
        assert first["shipments"] == 1
        second = (await asked(system, "retention", "--yes", "--rate", "100"))["done"]
        assert (second["shipments"], second["observations"]) == (OLD - 1, 0)
    after = await rows_of(system, "dash:OLD")
    assert [(each["shipment_id"], each["version"], each["status"]) for each in after] == [
        (each["shipment_id"], each["version"], each["status"]) for each in before
    ]
    assert all(each["retired_at"] and "null" in each["personal"] for each in after)
    decision_and_tombstone = {"dash:OLD": 2 * OLD}
    assert await left(system) == {name: stored[name] for name in ("dash:HELD", "dash:YOUNG")} | decision_and_tombstone
    assert (await rows_of(system, "dash:YOUNG"), await rows_of(system, "dash:HELD")) == untouched
    states = await newest_states(system)
    assert {name for name, state in states.items() if state is None} == {each["shipment_id"] for each in before}
    commands = [row["command_id"] for row in await system.rows("select command_id from applied_commands")]
    assert not {"old-job/0:1"} & set(commands)
    assert {"new-job/0:1", "paused-job/0:1"} <= set(commands)
    await assert_conserved(system)
    await _a_late_webhook(system, before[0])


async def _a_late_webhook(system: System, before: dict[str, Any]) -> None:
    delivery = before["shipment_id"].removeprefix("dash:")
    async with running(system):
        await system.append(raw_records("dash", dash(delivery, "FAILED", 9, failedCount=3), datetime.now(UTC)))
        await until(system.caught_up)
        assert (await asked(system, "retention", "--yes"))["found"]["shipments"] == 0
        decide = ("shipment", "set-status", before["shipment_id"], "LOST", "--reason", "x", "--yes")
        assert "was retired" in await waybill(system, *decide, code=1)
        await _what_never_became_final_goes_too(system)
    late = [each for each in await events(system) if each["shipment_id"] == before["shipment_id"]][-1]
    assert (late["type"], late["status"], late["version"]) == (
        "shipment.history_added",
        before["status"],
        before["version"] + 1,
    )
    assert late["personal"] == {"driver": None, "signed_by": None, "tracking_url": None, "proofs": []}
    await assert_conserved(system)
    await waybill(system, "audit", "--all")


async def _what_never_became_final_goes_too(system: System) -> None:
    system.environ["WAYBILL_RETENTION_UNFINISHED"] = KEPT
    assert (await asked(system, "retention", "--yes"))["done"]["shipments"] == 1
    (held,) = await rows_of(system, "dash:HELD")
    assert (held["status"], held["final"], held["retired_at"] is None) == ("CREATED", False, False)
    assert held["shipment_id"] not in str(await asked(system, "shipment", "list", "--stale-for", "1s"))
    assert (await asked(system, "retention", "--yes"))["found"]["shipments"] == 0


async def test_killed_and_run_again_it_ends_the_same(system: System) -> None:
    await aged(system, 60)
    async with running(system):
        killed = await start(system, "retention", "--yes", "--rate", "10")
        await until(lambda: _some_retired(system))
        os.kill(killed.pid, signal.SIGKILL)
        await asyncio.wait_for(killed.communicate(), DEADLINE)
        done = (await asked(system, "retention", "--yes"))["done"]
        assert 0 < done["shipments"] < 60
    assert all(each["retired_at"] and each["version"] == 7 for each in await rows_of(system, "dash:OLD"))
    tombstones = [record for record in await system.read(Topic.STATE) if record.value is None]
    assert len(tombstones) == 60
    await assert_conserved(system)


async def _some_retired(system: System) -> bool:
    ((count,),) = await system.rows("select count(*) from shipments where retired_at is not null")
    return bool(count)


async def test_dead_letters_go_when_their_topic_has_let_them_go(system: System) -> None:
    await system.append(raw_records("dash", b"{", LONG_AGO))
    async with running(system):
        await until(system.caught_up)
    await system.execute("update outputs set recorded_at = recorded_at - interval '40 days'")
    ((partition, recorded_at),) = await system.rows("select raw_partition, recorded_at from outputs")
    async with await open_pool(system.settings, "test", 1) as pool:
        old = await limits_in_force(load_settings(system.environ))
        for written, count in ((recorded_at, 0), (recorded_at + timedelta(milliseconds=1), 1)):
            assert (await survey(pool, old, Oldest((partition,), (written,)), None)).dead_letters == count
    async with admin_client(system.settings) as admin:
        place = TopicPartition(system.settings.topic(Topic.DEAD_LETTERS), partition)
        await admin.delete_records({place: RecordsToDelete(before_offset=1)})
    assert (await asked(system, "retention", "--yes"))["done"]["dead_letters"] == 1
    assert await system.rows("select * from outputs") == []
    await assert_conserved(system)
    await waybill(system, "audit", "--all")
