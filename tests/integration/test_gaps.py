"""What a worker must not pass over: offsets without a record, a log that lost its end, a topic made anew."""

import pytest
from aiokafka import AIOKafkaProducer

from operators.audit.report import Scope
from operators.audit.run import audit
from processor.group import Group
from runtime import kafka, topics
from runtime.errors import SetupError
from runtime.kafka import admin_client
from runtime.kafka_log import client_of
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.integration.inside import working_group
from tests.integration.system import PARTITIONS, Raw, System, assert_exactly_once, lives, open_system
from tests.waiting import until


async def transact(system: System, records: list[Raw], *, commit: bool) -> None:
    """Append records as a foreign producer may, in a transaction. Its marker takes an offset of each partition."""
    producer: AIOKafkaProducer = kafka.new_transactional_producer(system.settings, f"{system.settings.group_id}-other")
    await kafka.start(producer)
    try:
        await producer.begin_transaction()
        topic = system.settings.topic(Topic.RAW)
        for each in records:
            place = partition_of(each.key, PARTITIONS)
            await producer.send_and_wait(topic, each.value, each.key, place, each.timestamp_ms, each.headers)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await kafka.stop(producer)


@pytest.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


async def ready(group: Group) -> bool:
    """Whether every partition is worked on, and nothing waits."""
    return bool(group.workers) and all(
        each.standing.ready and not each.standing.waiting.records for each in group.workers
    )


async def halted(group: Group, why: str) -> None:
    """Wait until every partition stands still and says why."""

    async def stand() -> bool:
        return bool(group.workers) and all(why in (worker.standing.halted or "") for worker in group.workers)

    await until(stand)


async def test_markers_and_aborted_records_are_passed_over(system: System) -> None:
    await transact(system, lives(2, "GONE"), commit=False)
    await system.append(lives(2, "FIRST"))
    await transact(system, lives(2, "KEPT"), commit=True)
    await system.append(lives(2, "NEXT"))
    async with working_group(system) as group:
        await until(system.caught_up)
        await transact(system, lives(2, "GONE"), commit=False)
        await system.append(lives(2, "LAST"))
        await transact(system, lives(2, "LATER"), commit=True)
        await transact(system, lives(2, "GONE"), commit=False)
        await until(system.caught_up)
        await until(lambda: ready(group))
    async with working_group(system) as group:
        await until(lambda: ready(group))
        await system.append(lives(2, "AGAIN"))
        await until(system.caught_up)
    await assert_exactly_once(system)
    assert (await audit(system.settings, Scope(), lambda _: None)).differences == []
    assert len(await system.rows("select * from shipments where shipment_id like '%GONE%'")) == 0
    assert len(await system.rows("select * from shipments where version = 7")) == 12


async def test_a_living_worker_halts_when_the_log_has_lost_its_end(system: System) -> None:
    """As when the only replica ended uncleanly: connections are gone, and another record is where the last was."""
    await system.append(lives(5))
    async with working_group(system) as group:
        await until(system.caught_up)
        await system.execute("update cursors set last_digest = '\\x00'")
        for connection in list(client_of(group._shared.consumer)._conns.values()):
            connection.close()
        await system.append(lives(5, "NEXT"))
        await halted(group, "is not the one that was applied")
    assert len(await system.rows("select * from shipments where shipment_id like '%NEXT%'")) == 0


async def test_a_living_worker_that_finds_the_log_whole_goes_on(system: System) -> None:
    await system.append(lives(5))
    async with working_group(system) as group:
        await until(system.caught_up)
        for connection in list(client_of(group._shared.consumer)._conns.values()):
            connection.close()
        await system.append(lives(5, "NEXT"))
        await until(system.caught_up)
    await assert_exactly_once(system)


async def test_a_topic_made_anew_under_a_living_processor_halts_it(system: System) -> None:
    await system.append(lives(5))
    async with working_group(system) as group:
        await until(system.caught_up)
        async with admin_client(system.settings) as admin:
            await admin.delete_topics([system.settings.topic(Topic.RAW)])
        await until(lambda: made_anew(system))
        await system.append(lives(20, "NEW"))
        await halted(group, "`waybill recover` mends it")
    assert len(await system.rows("select * from shipments where shipment_id like '%NEW%'")) == 0


async def made_anew(system: System) -> bool:
    """Whether the topic could be made again: its deletion takes a moment."""
    try:
        return bool((await topics.apply(system.settings)).created)
    except SetupError:
        return False
