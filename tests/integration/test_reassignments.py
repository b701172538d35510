"""Partitions taken away and given back while records flow: every record is applied once, none is passed over."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, count

import pytest
from aiokafka import TopicPartition

from operators.audit.report import Scope
from operators.audit.run import audit
from runtime import kafka
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.integration.inside import working_group
from tests.integration.system import PARTITIONS, System, assert_exactly_once, lives, open_system
from tests.waiting import until

REASSIGNMENTS = 15
"""The code that let two workers fetch lost a record at every fourth."""

PROCESSORS = 3
STAYS = 3


@pytest.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


async def flow(system: System) -> None:
    """Append records without end, a few at a time."""
    producer = kafka.new_producer(system.settings, "test")
    await kafka.start(producer)
    try:
        for record in chain.from_iterable(lives(1, f"R{number}-") for number in count()):
            partition = partition_of(record.key, PARTITIONS)
            await producer.send_and_wait(
                system.settings.topic(Topic.RAW),
                record.value,
                record.key,
                partition,
                record.timestamp_ms,
                record.headers,
            )
    finally:
        await kafka.stop(producer)


async def assert_nothing_lost(system: System) -> None:
    """Each record of the log has had its effect once, and the audit accounts for every offset."""
    await until(system.caught_up)
    await assert_exactly_once(system)
    assert (await audit(system.settings, Scope(), lambda _: None)).differences == []


@asynccontextmanager
async def flowing(system: System) -> AsyncIterator[None]:
    """Let records flow meanwhile."""
    task = asyncio.create_task(flow(system))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_partition_that_comes_back_at_once_loses_no_record(system: System) -> None:
    everything = [TopicPartition(system.settings.topic(Topic.RAW), partition) for partition in range(PARTITIONS)]
    async with working_group(system) as group:

        async def claimed() -> bool:
            return bool(group.workers) and all(worker.standing.working for worker in group.workers)

        async with flowing(system):
            for _ in range(REASSIGNMENTS):
                await until(claimed)
                await asyncio.sleep(random.uniform(0, 0.1))
                group.on_partitions_assigned([])
                group.on_partitions_assigned(everything)
        await assert_nothing_lost(system)


async def test_processors_that_join_and_leave_lose_and_repeat_nothing(system: System) -> None:
    """Each joins, works, leaves in order and joins again, while the others do the same."""

    async def come_and_go() -> None:
        for _ in range(STAYS):
            async with working_group(system):
                await asyncio.sleep(random.uniform(0.3, 2))

    async with flowing(system), asyncio.TaskGroup() as processors:
        for _ in range(PROCESSORS):
            processors.create_task(come_and_go())
    async with working_group(system):
        await assert_nothing_lost(system)
