"""Offsets without a record: those that transactions of others leave are passed over, no others."""

from aiokafka import AIOKafkaProducer

from operators.audit import Scope, audit
from runtime import kafka
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.integration.in_process import working_group
from tests.integration.system import PARTITIONS, Raw, System, assert_exactly_once, lives, open_system, until


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


async def test_markers_and_aborted_records_are_passed_over(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    await transact(system, lives(2, "GONE"), commit=False)
    await system.append(lives(2, "FIRST"))
    await transact(system, lives(2, "KEPT"), commit=True)
    await system.append(lives(2, "NEXT"))
    async with working_group(system) as group:
        await until(system.caught_up)
        await transact(system, lives(2, "GONE"), commit=False)
        await system.append(lives(2, "LAST"))
        await until(system.caught_up)
        assert not any(worker.halted for worker in group.workers)
    await assert_exactly_once(system)
    assert (await audit(system.settings, Scope(), lambda *_: None)).differences == []
    assert len(await system.rows("select * from shipments where shipment_id like '%GONE%'")) == 0
    assert len(await system.rows("select * from shipments where version = 7")) == 8
