"""What compressing Kafka's records would save in bytes, and cost whom: raw webhooks, and the events and states of them.

Whole batches are appended and read back, codec after codec, in rounds:

    python -m bench.compression [--records N] [--write]
"""

import argparse
import asyncio
from collections.abc import Sequence
from datetime import UTC
from random import Random
from statistics import median
from string import ascii_lowercase
from time import process_time
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.backlog import backlog
from bench.machine import bench_stack, described
from bench.page import markdown, publish
from bench.pure_path import NOW, fetched
from bench.watching import cpu_seconds
from devstack.kafka import EmbeddedKafka
from processor.core.messages import Message, batch_messages
from processor.core.plan import MAX_BATCH, Planner
from processor.core.reading import read
from runtime import kafka, kafka_admin
from schemas.records import RawRecord
from schemas.topics import Topic
from tests.integration.system import System, open_system

CODECS: Final = (None, "gzip", "lz4", "zstd")
RECORDS: Final = 24_000
ROUNDS: Final = 3
SECTION: Final = "compression"


class Cost(msgspec.Struct, frozen=True):
    """µs of CPU that a record takes: of who appends it, of who reads it, of the broker."""

    appending: float
    reading: float
    broker: float


def varied(records: Sequence[RawRecord]) -> list[RawRecord]:
    """Return records with persons, places and numbers of their own: equal bodies would be compressed to nothing."""
    random = Random(RECORDS)

    def words(count: int) -> str:
        return " ".join("".join(random.choices(ascii_lowercase, k=random.randint(3, 9))) for _ in range(count))

    def changed(record: RawRecord) -> RawRecord:
        body = msgspec.json.decode(record.value or b"")
        body["providerOrderID"] = f"ORDER-{random.randrange(10**9)}"
        body["quote"] = {"amount": random.randrange(9_000, 90_000, 500)}
        for person in (body["sender"], body["recipient"]):
            person |= {"firstName": words(1), "lastName": words(1), "companyName": words(2)}
            person["phone"] = f"08{random.randrange(10**9, 10**10)}"
        for place in (body["origin"], body["destination"]):
            place["address"] = words(6)
            place["coordinates"] = {"latitude": random.uniform(-11, 6), "longitude": random.uniform(95, 141)}
        for parcel in body["packages"]:
            parcel |= {"name": words(2), "description": words(4), "price": random.randrange(10**6)}
        for picture in body["media"]:
            picture["url"] = f"https://pictures.example/{random.randbytes(16).hex()}.jpg"
        return msgspec.structs.replace(record, value=msgspec.json.encode(body))

    return [changed(record) for record in records]


def raw_messages(records: Sequence[RawRecord]) -> list[Message]:
    """Return raw records as messages."""
    return [
        Message(Topic.RAW, record.key, record.value, list(record.headers), record.timestamp_ms) for record in records
    ]


def output_messages(records: Sequence[RawRecord]) -> list[Message]:
    """Return the events and states of raw records."""
    found: list[Message] = []
    planner = Planner({}, "bench.raw", NOW)
    plan = planner.add_all(read(record, lambda *_: UTC, 1) for record in records)
    for first in range(0, len(plan.outputs), MAX_BATCH):
        found += batch_messages(plan.outputs[first : first + MAX_BATCH])
    return found


async def measured(broker: EmbeddedKafka, system: System, name: str, codec: str | None, sent: list[Message]) -> Cost:
    """Append messages to a topic of their own and read them back."""
    async with kafka.admin_client(system.settings) as admin:
        await kafka_admin.create_topics(admin, [(name, 1, 1, {})])
    began, broker_began = process_time(), cpu_seconds(broker.pid)
    await append(system, name, codec, sent)
    appended = process_time()
    await read_back(system, name, len(sent))
    spent = appended - began, process_time() - appended, cpu_seconds(broker.pid) - broker_began
    return Cost(*(seconds / len(sent) * 1e6 for seconds in spent))


async def append(system: System, name: str, codec: str | None, messages: Sequence[Message]) -> None:
    """Append messages in batches as large as the processor's."""
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=system.settings.kafka_bootstrap_servers,
        acks="all",
        max_request_size=system.settings.max_message_bytes,
        max_batch_size=kafka.BATCH_BYTES,
        compression_type=codec,
    )
    await producer.start()
    try:
        batch, deliveries = producer.create_batch(), []
        for message in messages:
            if not _append(batch, message):
                deliveries.append(await producer.send_batch(batch, name, partition=0))
                batch = producer.create_batch()
                _append(batch, message)
        deliveries.append(await producer.send_batch(batch, name, partition=0))
        await asyncio.gather(*deliveries)
    finally:
        await producer.stop()


async def read_back(system: System, name: str, count: int) -> None:
    """Read a topic's records."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=system.settings.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=kafka.FETCH_BYTES,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(name, 0)])
        seen = 0
        while seen < count:
            seen += sum(map(len, (await consumer.getmany(timeout_ms=1_000, max_records=MAX_BATCH)).values()))
    finally:
        await consumer.stop()


async def sizes(broker: EmbeddedKafka) -> dict[str, int]:
    """Return the bytes of each topic's first partition on disk."""
    said = await broker.tool("kafka-log-dirs", "--describe")
    found = msgspec.json.decode(said[said.index("{") :].splitlines()[0])
    logs = [log for each in found["brokers"] for directory in each["logDirs"] for log in directory["partitions"]]
    return {log["partition"].removesuffix("-0"): log["size"] for log in logs}


def _append(batch: Any, message: Message) -> bool:
    appended = batch.append(
        timestamp=message.timestamp_ms, key=message.key, value=message.value, headers=message.headers
    )
    return appended is not None


async def main(count: int) -> str:
    """Measure every codec in turn, in rounds; return a table of the medians."""
    records = varied(fetched(backlog(count)))
    sent = {"raw webhooks": raw_messages(records), "events and states": output_messages(records)}
    rows: list[list[str]] = []
    async with bench_stack() as stack:
        broker = stack.kafka
        assert isinstance(broker, EmbeddedKafka), "bytes and time of a broker that is not ours are not seen"
        system = await open_system(stack.kafka_bootstrap_servers, stack.database_url, "compression.")
        for what, messages in sent.items():
            names = {codec: f"{what.replace(' ', '-')}.{codec}" for codec in CODECS}
            costs: dict[str | None, list[Cost]] = {codec: [] for codec in CODECS}
            await measured(broker, system, f"{what.replace(' ', '-')}.warm", None, messages)
            for number in range(ROUNDS):
                for codec, name in names.items():
                    costs[codec].append(await measured(broker, system, f"{name}.{number}", codec, messages))
            stored = await sizes(broker)
            for codec, own in costs.items():
                spent = [median(values) for values in zip(*map(msgspec.structs.astuple, own), strict=True)]
                size = stored[f"{names[codec]}.0"] / len(messages)
                rows.append([what, codec or "none", f"{size:,.0f}", *(f"{each:.1f}" for each in spent)])
    return markdown(["records", "codec", "bytes each", "CPU, µs each: appending", "reading", "broker"], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    chosen = parser.parse_args()
    text = f"Measured on {described()}.\n\n{asyncio.run(main(chosen.records))}"
    publish(SECTION, text, write=chosen.write)
