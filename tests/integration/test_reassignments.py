"""Partitions taken away and given back while records flow: every record is applied once, none is passed over."""

import asyncio
import random
from itertools import chain, count

import pytest
from aiokafka import TopicPartition

from operators.audit import Scope, audit
from runtime import kafka
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.integration.in_process import working_group
from tests.integration.system import PARTITIONS, System, assert_exactly_once, lives, open_system, until

REASSIGNMENTS = 15
"""The code that let two workers fetch lost a record at every fourth."""


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


async def test_a_partition_that_comes_back_at_once_loses_no_record(system: System) -> None:
    everything = [TopicPartition(system.settings.topic(Topic.RAW), partition) for partition in range(PARTITIONS)]
    async with working_group(system) as group:
        flowing = asyncio.create_task(flow(system))

        async def claimed() -> bool:
            return bool(group.workers) and all(worker.working for worker in group.workers)

        for _ in range(REASSIGNMENTS):
            await until(claimed)
            await asyncio.sleep(random.uniform(0, 0.1))
            group.on_partitions_assigned([])
            group.on_partitions_assigned(everything)
        flowing.cancel()
        await asyncio.wait([flowing])
        assert flowing.cancelled()
        await until(system.caught_up)
    await assert_exactly_once(system)
    assert (await audit(system.settings, Scope(), lambda *_: None)).differences == []
