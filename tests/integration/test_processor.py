"""The processor on the real broker and database: exactly once, whatever dies, freezes or poisons."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import count

import msgspec
import pytest
import pytest_asyncio

from processor.protocol.crash_points import Step
from runtime import kafka
from schemas.topics import Topic
from tests.conftest import Databases
from tests.forking import Started
from tests.integration.system import START, System, assert_exactly_once, dash, lives, open_system, raw_records
from tests.waiting import until

OpenSystem = Callable[[], Awaitable[System]]


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


@pytest.fixture
def one_more(kafka_bootstrap_servers: str, databases: Databases, topic_prefix: str) -> OpenSystem:
    """Opens further systems, each isolated from the others."""
    numbers = count(1)

    async def open_one() -> System:
        return await open_system(kafka_bootstrap_servers, await databases.migrated(), f"{topic_prefix}{next(numbers)}.")

    return open_one


@pytest.mark.parametrize("nth", [1, 2])
async def test_death_at_any_step_leaves_each_event_exactly_once(one_more: OpenSystem, nth: int) -> None:
    async def die_at(step: Step) -> None:
        system = await one_more()
        await system.append(lives(10))
        async with system.processor(step, nth) as dying:
            await until(lambda: _ended(dying))
            assert dying.returncode == -signal.SIGKILL
        async with system.processor() as processor:
            await until(system.caught_up)
            processor.terminate()
            assert await asyncio.wait_for(processor.wait(), 10) == 0
        await assert_exactly_once(system)

    await _side_by_side(die_at, list(Step))


async def test_a_frozen_processor_that_wakes_publishes_nothing(one_more: OpenSystem) -> None:
    async def freeze_at(step: Step) -> None:
        await _freeze(await one_more(), step)

    await _side_by_side(freeze_at, [Step.WRITTEN, Step.STORED, Step.SENT, Step.OFFSETS_ADDED])


async def _freeze(system: System, step: Step) -> None:
    await system.append(lives(10))
    async with system.processor(step, 1, signal.SIGSTOP) as zombie:
        await until(lambda: _stopped(zombie))
        async with system.processor() as processor:
            await until(system.caught_up)
            await assert_exactly_once(system)
            zombie.send_signal(signal.SIGCONT)
            await system.append(lives(10, "LATER"))
            await until(system.caught_up)
            for process in (zombie, processor):
                process.terminate()
                assert await asyncio.wait_for(process.wait(), 10) == 0
    await assert_exactly_once(system)


async def test_two_processors_share_the_partitions_and_hand_over(system: System) -> None:
    async with system.processor() as first, system.processor() as second:
        await system.append(lives(20))
        await until(system.caught_up)
        first.terminate()
        await system.append(lives(20, "NEXT"))
        assert await asyncio.wait_for(first.wait(), 10) == 0
        async with system.processor() as third:
            await until(lambda: _has_members(system, 2))
            await system.append(lives(20, "LAST"))
            await until(system.caught_up)
            for process in (second, third):
                process.terminate()
                assert await asyncio.wait_for(process.wait(), 10) == 0
    await assert_exactly_once(system)


async def test_a_record_the_database_refuses_is_a_dead_letter_and_its_neighbours_are_applied(system: System) -> None:
    await system.execute(
        """
        create function refuse() returns trigger language plpgsql as
        $$ begin raise exception using errcode = '22P05', message = 'untranslatable'; end $$;
        create trigger refuse before insert on observations for each row
        when (new.shipment_id = 'dash:POISON') execute function refuse();
        """
    )
    poison = raw_records("dash", dash("POISON", "VERIFIED", 1), START)
    records = lives(10)
    await system.append([*records[:30], *poison, *records[30:]])
    async with system.processor():
        await until(system.caught_up)
    (letter,) = await system.read(Topic.DEAD_LETTERS)
    assert letter.value == poison[0].value
    assert dict(letter.headers)["dlq-reason"] == b"unstorable"
    assert len(await system.read(Topic.EVENTS)) == len(records)


POISON = {
    "NUL": dash("NUL", "FAILED", 1, failedReason="a\0b"),
    "SURROGATE": dash("SURROGATE", "FAILED", 1).replace(b'"failedCount":0', b'"failedReason":"\\ud800"'),
    "HUGE": dash("HUGE", "FAILED", 1).replace(b'"failedCount":0', b'"failedCount":1' + b"0" * 30),
}


async def test_poison_in_the_middle_of_a_batch_is_sanitized_or_a_dead_letter_alone(system: System) -> None:
    deep = dash("DEEP", "FAILED", 1).replace(b'"failedCount":0', b'"media":' + b"[" * 5000 + b"]" * 5000)
    records = lives(5)
    poison = [record for body in [*POISON.values(), deep] for record in raw_records("dash", body, START)]
    await system.append([*records[:10], *poison, *records[10:]])
    async with system.processor():
        await until(system.caught_up)
    (letter,) = await system.read(Topic.DEAD_LETTERS)
    assert letter.value == deep
    assert dict(letter.headers)["dlq-reason"] == b"too_deep"
    events = [msgspec.json.decode(record.value) for record in await system.read(Topic.EVENTS)]
    assert len(events) == len(records) + len(POISON)
    reasons = {event["courier_ref"]: event["reason"] for event in events if event["courier_ref"] in POISON}
    assert reasons == {"NUL": "a\ufffdb", "SURROGATE": "\ufffd", "HUGE": None}


async def test_prefixes_isolate_two_systems(system: System, one_more: OpenSystem) -> None:
    other = await one_more()
    async with system.processor(), other.processor():
        await system.append(lives(3))
        await other.append(lives(5))
        await until(system.caught_up)
        await until(other.caught_up)
    await assert_exactly_once(system)
    await assert_exactly_once(other)
    assert len(await other.rows("select * from shipments")) == 5


async def test_a_late_webhook_with_everything_else_known_is_history(system: System) -> None:
    received = START + timedelta(hours=1)
    story = [("IN_DELIVERY", 3), ("COMPLETED", 4), ("VERIFIED", 1), ("VERIFIED", 1)]
    for word, minute in story:
        await system.append(raw_records("dash", dash("LATE", word, minute), received))
    async with system.processor():
        await until(system.caught_up)
    types = [msgspec.json.decode(record.value)["type"] for record in await system.read(Topic.EVENTS)]
    assert types == ["shipment.status_changed", "shipment.status_changed", "shipment.history_added"]


async def _side_by_side(try_step: Callable[[Step], Awaitable[None]], steps: Sequence[Step]) -> None:
    """Try steps three at a time: most of the time goes into waiting for the group to miss the dead."""
    slots = asyncio.Semaphore(3)

    async def try_one(step: Step) -> None:
        async with slots:
            try:
                await try_step(step)
            except BaseException as error:
                error.add_note(f"at step {step}")
                raise

    async with asyncio.TaskGroup() as group:
        for step in steps:
            group.create_task(try_one(step))


async def _has_members(system: System, count: int) -> bool:
    async with kafka.admin_client(system.settings) as admin:
        described = await admin.describe_consumer_groups([system.settings.group_id])
    return len(described[0].groups[0][5]) == count


async def _ended(process: Started) -> bool:
    return process.returncode is not None


async def _stopped(process: Started) -> bool:
    with open(f"/proc/{process.pid}/stat") as stat:  # noqa: PTH123, ASYNC230 - procfs
        return stat.read().rsplit(")", 1)[1].split()[0] == "T"
