"""The example subscribers of `examples/`, each in its language, beside one system; and the traps that they avoid.

The topics hold what a subscriber must bear: aborted transactions, the same events again, fields and types that nobody
knows, a parcel that was forgotten, events that are gone.
"""

import asyncio
import inspect
import runpy
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, Final

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer
from confluent_kafka import TopicPartition as Partition

from cli.demo.scenario import load_stories, play
from devstack import Stack
from runtime import kafka
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.conftest import Databases, lacking, own_prefix
from tests.integration.operating import newest_states, waybill
from tests.integration.subscribers import EXAMPLES, LANGUAGES, LackingError, ended, jdbc, node_modules, run, subscriber
from tests.integration.system import PARTITIONS, START, Raw, System, dash, lives, open_system, raw_records
from tests.pages import ROOT, blocks_of
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

GONE: Final = 5
"""So many offsets of each partition of the events are let go: what stood there is known from the state alone."""

STOPPED: Final = {"java": 128 + signal.SIGTERM}
"""What a process says that ended in order after SIGTERM, where that is not 0: the JVM says so of itself."""


TABLES: Final = runpy.run_path(str(EXAMPLES / "python/subscriber.py"))["TABLES"]
"""What every subscriber makes: the test makes it first, to hold a row of it."""


class Published(msgspec.Struct, frozen=True):
    """A record as it stands in a topic, or will."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def published(record: Any) -> Published:
    return Published(record.topic, record.partition, record.key, record.value, list(record.headers))


class Place(msgspec.Struct, frozen=True):
    """A system at work, and databases for its subscribers."""

    system: System
    databases: Databases
    numbers: Any

    def environ(self, database_url: str, language: str) -> dict[str, str]:
        """Return a subscriber's settings. After `kill -9` nobody waits for the dead member: each has its own group."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.system.settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC_PREFIX": self.system.settings.topic_prefix,
            "KAFKA_GROUP_ID": f"{self.system.settings.topic_prefix}parcels.{next(self.numbers)}",
            "DATABASE_URL": jdbc(database_url) if language == "java" else database_url,
        }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def commands(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mapping[str, asyncio.Task[list[str]]]]:
    """What runs each subscriber, made ready while the services start."""
    ready = {name: asyncio.ensure_future(make(tmp_path_factory.mktemp(name))) for name, make in LANGUAGES.items()}
    yield ready
    for task in ready.values():
        task.cancel()
    await asyncio.gather(*ready.values(), return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(commands: object, stack: Stack, template_database: str) -> AsyncIterator[Place]:
    """One system for all languages."""
    databases = Databases(stack.database_url, template_database)
    async with own_prefix(stack) as prefix:
        system = await open_system(stack.kafka_bootstrap_servers, await databases.migrated(), prefix)
        await system.append([*stories(), *lives(20)])
        async with system.processor() as processor:
            await until(system.caught_up)
            await spoil(system)
            yield Place(system, databases, count(1))
            processor.terminate()
            assert await asyncio.wait_for(processor.wait(), DEADLINE) == 0
    await databases.drop()


def stories() -> list[Raw]:
    now = datetime.now(UTC)
    webhooks = play(load_stories(), "story", now, None).webhooks
    return [record for each in webhooks for record in raw_records(each.story.courier, each.body, now)]


async def spoil(system: System) -> None:
    """Write what a subscriber must bear into the topics, in transactions as the processor does."""
    events, states = [[*map(published, await system.read(topic))] for topic in (Topic.EVENTS, Topic.STATE)]
    newest = {record.key: record for record in states}
    for record in [*newest.values()][:3]:  # forgotten, and there again with a field that nobody knows
        states += [changed(record, None), changed(record, {"weather": {"rain": True}})]
    stranger = changed(states[0], {"shipment_id": "dash:FORGOTTEN"}, b"dash:FORGOTTEN")
    unknown = [changed(each, {"type": "shipment.vanished", "version": 2_000, "status": "ODD"}) for each in events[:5]]
    again = [changed(record, {"weather": "wet"}) if place % 3 else record for place, record in enumerate(events)]
    never = [changed(each, {"version": 1_000, "status": "NEVER"}) for each in [*events[-20:], *newest.values()]]
    settings = system.settings
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=f"{settings.topic_prefix}spoiling"
    )
    await producer.start()
    try:
        async with producer.transaction():
            await send(producer, [*states[-6:], stranger, changed(stranger, None), *unknown, *again])
        await producer.begin_transaction()
        await send(producer, never)
        await producer.abort_transaction()
    finally:
        await producer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        name = settings.topic(Topic.EVENTS)
        await admin.delete_records({TopicPartition(name, at): RecordsToDelete(GONE) for at in range(PARTITIONS)})
    finally:
        await admin.close()


def changed(record: Published, fields: Mapping[str, Any] | None, key: bytes | None = None) -> Published:
    """Return a record with some fields of its value as told; without a value for None."""
    value = None if fields is None else msgspec.json.encode(msgspec.json.decode(record.value or b"{}") | dict(fields))
    return msgspec.structs.replace(record, value=value, key=key or record.key)


async def send(producer: AIOKafkaProducer, records: Iterable[Published]) -> None:
    sent = [
        await producer.send(each.topic, each.value, each.key, each.partition, headers=each.headers) for each in records
    ]
    await asyncio.gather(*sent)


async def command_of(commands: Mapping[str, asyncio.Task[list[str]]], language: str) -> list[str]:
    try:
        return await asyncio.shield(commands[language])
    except LackingError as error:
        lacking(f"no subscriber in {language}: {error}")


@asynccontextmanager
async def writes_held(connection: Any, statement: str) -> AsyncIterator[None]:
    """Keep a subscriber from going on, in the middle of its transaction, by a row that is locked meanwhile."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
        yield
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_subscriber_ends_up_with_what_shipments_has(
    commands: Mapping[str, asyncio.Task[list[str]]], place: Place, language: str
) -> None:
    command, system = await command_of(commands, language), place.system
    driven = f"DE-driven-{language}"
    driver = {"name": "Budi", "phone": "0812"}
    await system.append(raw_records("dash", dash(driven, "PENDING_DELIVERY", 1, courier=driver), START))
    await until(system.caught_up)
    database_url = await place.databases.empty()
    table, held = [await asyncpg.connect(database_url) for _ in range(2)]

    async def is_held() -> bool:
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        return bool(await table.fetchval(waiting))

    async def is_same() -> bool:
        query = "select shipment_id, version, status, final from {} order by shipment_id"
        ours = [tuple(row) for row in await table.fetch(query.format("parcels"))]
        return ours == [tuple(row) for row in await system.rows(query.format("shipments"))]

    async def is_followed() -> bool:
        stored = await table.fetch("select partition, next_offset from offsets where topic like '%events'")
        read = {row["partition"]: row["next_offset"] for row in stored}
        return all(read.get(partition, 0) >= end for partition, end in ends.items())

    try:
        await table.execute(TABLES)
        held_row = f"insert into parcels values ('dash:{driven}', 0, '', false, '{{}}')"
        async with (
            writes_held(held, held_row),
            subscriber(command, place.environ(database_url, language)) as process,
        ):
            await until(is_held)
            process.kill()
            await ended(process)
        assert not await table.fetch("select 1 from offsets where topic like '%events'")
        async with subscriber(command, place.environ(database_url, language)) as process:
            await until(is_same)
            ends = await ends_of_events(system)
            await until(is_followed)
            (row,) = await table.fetch("select personal from parcels where shipment_id = $1", f"dash:{driven}")
            assert "Budi" in row["personal"]
            async with writes_held(held, f"update parcels set version = 0 where shipment_id = 'dash:{driven}'"):
                await system.append(lives(3, f"NEXT-{language}"))
                await waybill(system, "shipment", "erase", f"dash:{driven}", "--reason", "asked", "--yes")
                await until(is_held)
                process.kill()
                await ended(process)
        await until(system.caught_up)
        # It goes on from the offsets of its table: what it had applied before is not looked at again.
        await table.execute("update parcels set status = 'KEPT' where shipment_id = 'dash:DE-0'")
        async with subscriber(command, place.environ(database_url, language)) as process:

            async def is_same_but_for_one() -> bool:
                kept = await table.fetchval("select status from parcels where shipment_id = 'dash:DE-0'")
                assert kept == "KEPT"
                async with table.transaction():
                    await table.execute("update parcels set status = 'DELIVERED' where shipment_id = 'dash:DE-0'")
                    same = await is_same()
                    await table.execute("update parcels set status = 'KEPT' where shipment_id = 'dash:DE-0'")
                return same

            await until(is_same_but_for_one)
            ends = await ends_of_events(system)
            await until(is_followed)
            process.terminate()
            assert await ended(process) == STOPPED.get(language, 0)
        states = {name: value for name, value in (await newest_states(system)).items() if value}
        rows = await table.fetch("select shipment_id, personal::text from parcels")
        personal = {row["shipment_id"]: msgspec.json.decode(row["personal"]) for row in rows}
        assert personal == {name: state["personal"] for name, state in states.items()}
        assert "Budi" not in str(personal[f"dash:{driven}"])
        # The events behind the stored offset are gone: a subscriber that went on would have missed them.
        await table.execute("update offsets set next_offset = 0 where topic like '%events'")
        async with subscriber(command, place.environ(database_url, language)) as process:
            assert await ended(process) not in {0, STOPPED.get(language, 0)}
        for block in blocks_of(ROOT / "docs/subscribing.md"):
            if block.tag == "sql":
                await table.execute(block.text)
    finally:
        for connection in (table, held):
            await connection.close()


async def ends_of_events(system: System) -> dict[int, int]:
    """Return what lies behind the last event of each partition."""
    return {record.partition: record.offset + 1 for record in await system.read(Topic.EVENTS)}


def fetched(system: System, topic: Topic, **settings: str) -> list[Any]:
    """Read a topic to its end by librdkafka, as it does unless told otherwise."""
    consumer = Consumer(
        {
            "bootstrap.servers": system.settings.kafka_bootstrap_servers,
            "group.id": f"{system.settings.topic_prefix}looking",
            "enable.partition.eof": True,
            **settings,
        }
    )
    name = system.settings.topic(topic)
    consumer.assign([Partition(name, at, OFFSET_BEGINNING) for at in range(PARTITIONS)])
    found: list[Any] = []
    deadline = monotonic() + DEADLINE
    try:
        while sum(message.error() is not None for message in found) < PARTITIONS:
            assert monotonic() < deadline
            found += consumer.consume(500, 0.1)
    finally:
        consumer.close()
    return [message for message in found if message.error() is None]


async def test_a_client_that_is_not_told_may_read_what_was_never_committed(
    place: Place, commands: Mapping[str, asyncio.Task[list[str]]], tmp_path: Path
) -> None:
    system = place.system
    assert not any(b"NEVER" in (each.value() or b"") for each in fetched(system, Topic.EVENTS))
    told = fetched(system, Topic.EVENTS, **{"isolation.level": "read_uncommitted"})
    assert any(b"NEVER" in (each.value() or b"") for each in told)
    assert inspect.signature(AIOKafkaConsumer).parameters["isolation_level"].default == "read_uncommitted"
    # What kafkajs does unless told otherwise, the subscriber in TypeScript shows. franz-go documents its own.
    java, *options, _program = await command_of(commands, "java")
    asking = tmp_path / "Asking.java"
    asking.write_text(
        "class Asking { public static void main(String... none) { System.out.print("
        'org.apache.kafka.clients.consumer.ConsumerConfig.configDef().defaultValues().get("isolation.level")); } }'
    )
    assert await run([java, *options, str(asking)], tmp_path) == "read_uncommitted"


async def test_offsets_have_gaps(place: Place) -> None:
    offsets = [each.offset() or 0 for each in fetched(place.system, Topic.EVENTS) if each.partition() == 0]
    assert offsets == sorted(offsets)
    assert offsets[-1] - offsets[0] > len(offsets) - 1


async def test_a_group_that_has_read_everything_lags_by_a_marker(place: Place) -> None:
    system = place.system
    behind = {each.partition() or 0: (each.offset() or 0) + 1 for each in fetched(system, Topic.STATE)}
    async with kafka.open_reader(system.settings, "test", system.settings.topic(Topic.STATE)) as reader:
        ends = {at.partition: end for at, end in (await reader.end_offsets(reader.assignment())).items()}
    assert set(behind) == set(ends)
    assert all(ends[partition] > behind[partition] for partition in ends)


async def test_librdkafka_needs_to_be_told_how_keys_are_partitioned(place: Place) -> None:
    system, keys = place.system, [f"dash:DE-{number}".encode() for number in range(20)]

    def homes(**settings: str) -> list[int | None]:
        """Return where librdkafka puts the keys, on a topic that nobody else reads."""
        found: dict[bytes, int | None] = {}
        producer = Producer({"bootstrap.servers": system.settings.kafka_bootstrap_servers, **settings})
        for key in keys:
            producer.produce(
                system.settings.topic(Topic.DEAD_LETTERS),
                b"",
                key,
                on_delivery=lambda _, message: found.update({message.key() or b"": message.partition()}),
            )
        assert producer.flush(DEADLINE) == 0
        return [found[key] for key in keys]

    ours = [partition_of(key, PARTITIONS) for key in keys]
    assert homes(partitioner="murmur2_random") == ours
    assert homes() != ours


async def test_the_sdks_of_cloudevents_decode_what_the_page_shows(place: Place, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {
            "key": (each.key() or b"").decode(),
            "value": (each.value() or b"").decode(),
            "headers": {name: value.decode() for name, value in each.headers() or [] if isinstance(value, bytes)},
        }
        for topic in (Topic.EVENTS, Topic.STATE, Topic.ANOMALIES)
        for each in fetched(place.system, topic)
        if each.value() is not None
    ]
    blocks = {each.tag: each.text for each in blocks_of(ROOT / "docs/subscribing.md") if "decoded" in each.text}
    scope: dict[str, Any] = {}
    exec(blocks["python"], scope)
    for record in records:
        headers = [(name, value.encode()) for name, value in record["headers"].items()]
        event = scope["decoded"](record["key"].encode(), record["value"].encode(), headers)
        assert event.get_data() == msgspec.json.decode(record["value"])
        assert event.get_subject() == record["headers"]["ce_subject"]
        assert event.get_id() == record["headers"]["ce_id"]
        assert event.get_type() == record["headers"]["ce_type"]
    try:
        (tmp_path / "node_modules").symlink_to(await node_modules())
    except LackingError as error:
        lacking(f"CloudEvents of JavaScript: {error}")
    script = tmp_path / "decoded.mjs"
    asking = 'import { readFileSync } from "node:fs"; const all = JSON.parse(readFileSync(0, "utf8")).map(decoded);'
    telling = (
        "console.log(JSON.stringify(all.map(({ id, type, subject, time, data }) => ({ id, type, subject, data }))));"
    )
    script.write_text("\n".join([blocks["js"], asking, telling]))
    said = await run(["node", str(script)], tmp_path, msgspec.json.encode(records))
    assert msgspec.json.decode(said) == [
        {
            "id": record["headers"]["ce_id"],
            "type": record["headers"]["ce_type"],
            "subject": record["headers"]["ce_subject"],
            "data": msgspec.json.decode(record["value"]),
        }
        for record in records
    ]
