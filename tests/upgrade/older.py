"""What an older Waybill left behind, put onto a broker and into a database. `fill.py` wrote it."""

import asyncio
import base64
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from runtime import kafka
from runtime.settings import Settings
from schemas.topics import Topic

FIRST_EDITION: Final = Path(__file__).parent / "first_edition"
GROUP: Final = "waybill-processor"


class Left(msgspec.Struct, frozen=True):
    """The topics as they were left: records by topic, the group's offsets with their metadata."""

    prefix: str
    partitions: int
    topics: dict[str, list[tuple[int, str | None, str | None, list[tuple[str, str | None]], int]]]
    committed: list[tuple[int, int, str]]


def left(directory: Path = FIRST_EDITION) -> Left:
    """Return what the topics held."""
    return msgspec.json.decode((directory / "topics.json").read_bytes(), type=Left)


async def restore_database(database_url: str, directory: Path = FIRST_EDITION) -> None:
    """Fill an empty database."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute((directory / "database.sql").read_text())
    finally:
        await connection.close()


async def restore_topics(settings: Settings, found: Left) -> None:
    """Make the topics anew, with every record at the offset it had, but for the outputs': those had gaps."""
    await _make_topics(settings, found)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, acks="all", max_request_size=4 * 1024 * 1024
    )
    await kafka.start(producer)
    try:
        for topic, records in found.topics.items():
            await asyncio.gather(*[await _send(producer, found.prefix + topic, record) for record in records])
    finally:
        await kafka.stop(producer)
    await _commit(settings, found)


async def _make_topics(settings: Settings, found: Left) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        wanted = [found.prefix + topic for topic in found.topics]
        if stale := [name for name in wanted if name in there]:
            await admin.delete_topics(stale)
        await admin.create_topics(
            [NewTopic(name, found.partitions, 1, topic_configs={"max.message.bytes": "4194304"}) for name in wanted]
        )
    finally:
        await admin.close()


async def _send(producer: AIOKafkaProducer, topic: str, record: Any) -> Any:
    partition, key, value, headers, timestamp_ms = record
    return await producer.send(
        topic, _bytes(value), _bytes(key), partition, timestamp_ms, [(name, _bytes(each)) for name, each in headers]
    )


async def _commit(settings: Settings, found: Left) -> None:
    raw = found.prefix + Topic.RAW
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers, group_id=found.prefix + GROUP, enable_auto_commit=False
    )
    consumer.assign([TopicPartition(raw, partition) for partition in range(found.partitions)])
    await kafka.start(consumer)
    try:
        await consumer.commit(
            {
                TopicPartition(raw, partition): OffsetAndMetadata(offset, metadata)
                for partition, offset, metadata in found.committed
            }
        )
    finally:
        await kafka.stop(consumer)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
