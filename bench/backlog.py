"""How fast a backlog becomes committed events, and how many times faster than one message at a time.

Both run on the same machine, broker, database and records, one after the other:

    python -m bench.backlog [records]
"""

import asyncio
import sys
from datetime import timedelta
from time import monotonic
from typing import Any, Final

import asyncpg
import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.machine import bench_systems, sample
from runtime import kafka
from schemas.topics import Topic
from tests.integration.system import START, Raw, System, raw_records

WINDOW: Final = 500
"""Shipments whose webhooks are interleaved: a backlog holds many parcels at every stage of their lives."""

SHARE: Final = 200
"""One record in so many is enough for the slow way: it takes some 30 ms for each."""

WORDS: Final = ("preparing", "verified", "pending_delivery", "in_delivery", "failed", "completed")


def backlog(count: int, start: int = 0) -> list[Raw]:
    """Make raw records of LOGISTIC parcels, six webhooks each, from the courier's own examples.

    `start` is how many records came before.
    """
    examples = [msgspec.json.decode(sample(f"dash/logistic/{word}.json")) for word in WORDS]
    records = []
    for first in range(start // len(WORDS), (start + count) // len(WORDS), WINDOW):
        for minute, example in enumerate(examples):
            at = START + timedelta(minutes=minute)
            for number in range(first, first + WINDOW):
                body = {
                    **example,
                    "deliveryID": f"DE-{number}",
                    "updatedAt": at.isoformat(),
                    "failedCount": minute // 4,
                }
                records += raw_records("dash", msgspec.json.encode(body), at)
    return records


async def waybill(system: System, count: int) -> float:
    """Process a backlog with the real processor. Return events a second, from the first to the last."""
    reader = kafka.new_reader(system.settings, "bench", system.settings.topic(Topic.EVENTS))
    await kafka.start(reader)
    try:
        async with system.processor() as process:
            seen, first = 0, 0.0
            while seen < count:
                seen += sum(map(len, (await reader.getmany(timeout_ms=500)).values()))
                first = first or (monotonic() if seen else 0.0)
            seconds = monotonic() - first
            memory = psutil.Process(process.pid).memory_info().rss
    finally:
        await kafka.stop(reader)
    print(f"waybill: {count} events in {seconds:.1f} s = {count / seconds:,.0f}/s; RSS {memory / 1e6:.0f} MB")
    return count / seconds


async def one_at_a_time(system: System, count: int) -> float:
    """Do what most consumers do: for each message one database transaction and one Kafka transaction."""
    settings, raw = system.settings, TopicPartition(system.settings.topic(Topic.RAW), 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id="one-at-a-time")
    await consumer.start()
    await producer.start()
    database = await asyncpg.connect(settings.database_url)
    await database.execute("create table parcels (id text primary key, status text, version bigint)")
    consumer.assign([raw])
    await consumer.seek_to_beginning(raw)
    started = monotonic()
    for _ in range(count):
        await _handle(await consumer.getone(), database, producer, settings.topic(Topic.EVENTS))
    seconds = monotonic() - started
    await database.close()
    await producer.stop()
    await consumer.stop()
    print(f"one at a time: {count} events in {seconds:.1f} s = {count / seconds:,.0f}/s")
    return count / seconds


async def _handle(record: Any, database: Any, producer: Any, topic: str) -> None:
    body = msgspec.json.decode(record.value)
    async with database.transaction():
        version = await database.fetchval(
            """
            insert into parcels values ($1, $2, 1)
            on conflict (id) do update set status = excluded.status, version = parcels.version + 1
            returning version
            """,
            body["deliveryID"],
            body["status"],
        )
    event = msgspec.json.encode({"id": body["deliveryID"], "status": body["status"], "version": version})
    async with producer.transaction():
        await producer.send_and_wait(topic, event, record.key)
        position = {TopicPartition(record.topic, record.partition): record.offset + 1}
        await producer.send_offsets_to_transaction(position, "one-at-a-time")


async def main(count: int) -> None:
    async with bench_systems("fast.", "slow.") as (fast, slow):
        records = backlog(count)
        await fast.append(records)
        await slow.append(records)
        quick = await waybill(fast, len(records))
        plain = await one_at_a_time(slow, len(records) // SHARE)
        print(f"ratio: {quick / plain:,.0f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000))
