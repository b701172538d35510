"""Clients made from settings, on a real broker: durable, read committed, fenced, and gone in time."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiokafka.errors import ProducerFenced
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from processor.service import serve
from runtime import kafka, topics
from runtime.errors import UnreachableError
from runtime.settings import Settings, load_settings
from schemas.topics import Topic
from tests.integration.system import open_system
from tests.waiting import until


@pytest.fixture
async def settings(kafka_bootstrap_servers: str, topic_prefix: str) -> Settings:
    made = load_settings(
        {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "WAYBILL_TOPIC_PREFIX": topic_prefix,
            "WAYBILL_TOPIC_PARTITIONS": "2",
            "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
        }
    )
    await topics.apply(made)
    return made


async def test_the_largest_body_passes(settings: Settings) -> None:
    producer = kafka.new_producer(settings, "test")
    reader = kafka.new_reader(settings, "test", settings.topic(Topic.RAW))
    await kafka.start(producer)
    await kafka.start(reader)
    body = b"x" * (2 * settings.ingest_max_body_bytes)
    sent = await producer.send_and_wait(settings.topic(Topic.RAW), body, key=b"k")
    record = await asyncio.wait_for(reader.getone(), 10)
    assert (record.partition, record.value) == (sent.partition, body)
    await asyncio.gather(kafka.stop(producer), kafka.stop(reader))


async def test_a_second_producer_fences_the_first_and_its_transaction_is_never_seen(settings: Settings) -> None:
    topic = settings.topic(Topic.EVENTS)
    zombie = kafka.new_transactional_producer(settings, settings.transactional_id(0))
    await kafka.start(zombie)
    await zombie.begin_transaction()
    await zombie.send_and_wait(topic, b"zombie", partition=0)

    heir = kafka.new_transactional_producer(settings, settings.transactional_id(0))
    await kafka.start(heir)
    await heir.begin_transaction()
    await heir.send_and_wait(topic, b"heir", partition=0)
    await heir.commit_transaction()
    with pytest.raises(ProducerFenced):
        await zombie.commit_transaction()

    reader = kafka.new_reader(settings, "test")
    reader.assign([TopicPartition(topic, 0)])
    await kafka.start(reader)
    assert (await asyncio.wait_for(reader.getone(), 10)).value == b"heir"
    await asyncio.gather(*(kafka.stop(client) for client in (zombie, heir, reader)))


async def test_a_broker_that_does_not_answer_is_not_waited_for(unused_tcp_port: int) -> None:
    settings = load_settings({"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{unused_tcp_port}"})
    for client in (kafka.new_producer(settings, "test"), kafka.new_group_consumer(settings, "test")):
        with pytest.raises(UnreachableError):
            await kafka.start(client)


async def test_a_silent_broker_holds_neither_start_nor_stop() -> None:
    """A port that takes connections and never answers, as a frozen broker does."""

    taken: list[asyncio.StreamWriter] = []

    def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = load_settings({"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"})
    producer = kafka.new_producer(settings, "test")
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="does not answer within 1 s"):
        await kafka.start(producer, within=1.0)
    assert time.monotonic() - began < 1.0 + 2 * kafka.GIVE_UP_SECONDS + 0.5
    server.close()
    for writer in taken:
        writer.close()
        await writer.wait_closed()


async def test_the_session_timeout_is_a_setting_and_heartbeats_follow_it() -> None:
    settings = load_settings({"WAYBILL_KAFKA_SESSION_TIMEOUT": "4500ms"})
    consumer: Any = kafka.new_group_consumer(settings, "test")
    assert (consumer._session_timeout_ms, consumer._heartbeat_interval_ms) == (4_500, 1_500)
    await consumer.stop()


async def test_a_session_timeout_that_the_brokers_refuse_is_told_plainly(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    system.settings = msgspec.structs.replace(system.settings, kafka_session_timeout=timedelta(milliseconds=500))
    stop = asyncio.Event()
    with capture_logs() as logs:
        serving = asyncio.create_task(serve(system.settings, stop))

        async def waits() -> bool:
            return any(log["event"] == "waiting" for log in logs)

        await until(waits)
        stop.set()
        await serving
    (told,) = [log["reason"] for log in logs if log["event"] == "waiting"]
    assert "the brokers do not take a session of 500 ms: set WAYBILL_KAFKA_SESSION_TIMEOUT between" in told
    assert "group.min.session.timeout.ms" in told
