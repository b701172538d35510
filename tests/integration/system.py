"""One whole system on the real broker and database, driven from a test: raw records in, topics and rows out."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import asyncpg
import msgspec

from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from processor.protocol.crash_points import Step
from runtime import kafka, migrations, topics
from runtime.errors import UnreachableError
from runtime.settings import Settings, load_settings
from schemas.couriers import COURIERS
from schemas.partitioning import partition_of
from schemas.records import Provenance, RawRecord
from schemas.shipment_ids import shipment_id
from schemas.topics import Topic
from tests import forking
from tests.children import logged
from tests.waiting import DEADLINE, until

PARTITIONS: Final = 2

SESSION_TIMEOUT: Final = os.environ.get("WAYBILL_KAFKA_SESSION_TIMEOUT", "3s")
"""How long tests wait for the group to miss a dead member. Brokers of one's own may allow no less than `6s`."""

START: Final = datetime(2026, 11, 1, 8, tzinfo=UTC)


class Raw(msgspec.Struct, frozen=True):
    """A raw record to append."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


def raw_records(courier: str, body: bytes, received_at: datetime) -> list[Raw]:
    """Make the raw records of one webhook, as the door does."""
    pieces = COURIERS[courier].split(body)
    found = []
    for place, piece in enumerate(pieces, start=1):
        headers = Provenance(courier=courier, received_at=received_at, item=place, items=len(pieces)).headers()
        name = shipment_id(courier, None, piece.reference) if piece.reference else f"digest-{hash(piece.value)}"
        found.append(Raw(name.encode(), piece.value, headers, int(received_at.timestamp() * 1000)))
    return found


def dash(delivery: str, status: str, minute: int, **more: Any) -> bytes:
    """Write a Dash webhook of `minute` minutes after the start."""
    at = (START + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
    body = {"deliveryID": delivery, "providerOrderID": f"O-{delivery}", "status": status, "failedCount": 0}
    return msgspec.json.encode({**body, "updatedAt": at, **more})


def lives(count: int, name: str = "DE") -> list[Raw]:
    """Write the webhooks of `count` LOGISTIC parcels, each failed once, recovered and delivered; interleaved."""
    words = [
        ("PREPARING", 0),
        ("VERIFIED", 0),
        ("PENDING_DELIVERY", 0),
        ("IN_DELIVERY", 0),
        ("FAILED", 1),
        ("PENDING_DELIVERY", 1),
        ("COMPLETED", 1),
    ]
    return [
        record
        for minute, (word, failed) in enumerate(words)
        for number in range(count)
        for record in raw_records(
            "dash", dash(f"{name}-{number}", word, minute, failedCount=failed), START + timedelta(minutes=minute)
        )
    ]


class System:
    """A prefix of its own on the broker, and a database of its own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.settings: Settings = load_settings(self.environ)
        self._ends: dict[int, int] = {}
        self._ends_hold_until = 0.0

    def set(self, **environ: str) -> None:
        """Change settings."""
        self.environ |= environ
        self.settings = load_settings(self.environ)

    async def append(self, records: Sequence[Raw]) -> None:
        """Append raw records, each to its key's partition."""
        producer = kafka.new_producer(self.settings, "test")
        await kafka.start(producer)
        try:
            sent = [
                await producer.send(
                    self.settings.topic(Topic.RAW),
                    record.value,
                    record.key,
                    partition_of(record.key, self.settings.topic_partitions),
                    record.timestamp_ms,
                    record.headers,
                )
                for record in records
            ]
            await asyncio.gather(*sent)
        finally:
            await kafka.stop(producer)

    async def read(self, topic: Topic) -> list[Any]:
        """Read a topic to its end, read committed."""
        async with kafka.open_reader(self.settings, "test", self.settings.topic(topic)) as reader:
            parts = reader.assignment()
            ends = await reader.end_offsets(parts)
            found: list[Any] = []
            async with asyncio.timeout(DEADLINE):
                while any([await reader.position(part) < ends[part] for part in parts]):
                    for batch in (await reader.getmany(timeout_ms=200)).values():
                        found += batch
            return found

    async def rows(self, query: str) -> list[Any]:
        """Ask the database."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def execute(self, statement: str) -> None:
        """Change the database."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def expected_events(self) -> dict[str, int]:
        """Return each shipment's newest version, from the raw topic by the pure planner alone."""
        shipments: dict[str, Shipment] = {}
        records = sorted(await self.read(Topic.RAW), key=lambda record: (record.partition, record.offset))
        for record in records:
            raw = RawRecord(
                record.partition, record.offset, record.key, record.value, tuple(record.headers), record.timestamp
            )
            reading = read(raw, self.settings.assumed_zone, self.settings.topic_partitions)
            shipments.update(Planner(shipments, record.topic, START).add_all([reading]).shipments)
        return {name: shipment.version for name, shipment in shipments.items() if shipment.version}

    async def caught_up(self) -> bool:
        """Whether every raw record is applied and published. The ends of the log are looked at once a second."""
        cursors = dict(await self.rows("select raw_partition, emitted from cursors"))
        if monotonic() > self._ends_hold_until:
            self._ends = await self._raw_ends()
            self._ends_hold_until = monotonic() + 1
        if any(cursors.get(partition, 0) < end for partition, end in self._ends.items()):
            return False
        return all(cursors.get(partition, 0) >= end for partition, end in (await self._raw_ends()).items())

    async def _raw_ends(self) -> dict[int, int]:
        async with kafka.open_reader(self.settings, "test", self.settings.topic(Topic.RAW)) as reader:
            ends = await reader.end_offsets(reader.assignment())
        return {part.partition: end for part, end in ends.items()}

    def processor(
        self, step: Step | None = None, nth: int = 1, number: signal.Signals = signal.SIGKILL
    ) -> AbstractAsyncContextManager[forking.Started]:
        """Run a processor; one with a step sends itself a signal there. It is gone afterwards."""
        command = (
            ["tests.integration.dying_processor", step, str(nth), number.name] if step else ["cli.main", "processor"]
        )
        return logged("processor", lambda log: forking.start(*command, environ=self.environ, stderr=log))


def new_system(
    kafka_bootstrap_servers: str, database_url: str, prefix: str, partitions: int = PARTITIONS, replicas: int = 1
) -> System:
    """Return a system whose schema and topics are still to be made."""
    return System(
        {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "WAYBILL_DATABASE_URL": database_url,
            "WAYBILL_TOPIC_PREFIX": prefix,
            "WAYBILL_TOPIC_PARTITIONS": str(partitions),
            "WAYBILL_TOPIC_REPLICATION_FACTOR": str(replicas),
            "WAYBILL_PROCESSOR_ADMIN_PORT": "0",
            "WAYBILL_KAFKA_SESSION_TIMEOUT": SESSION_TIMEOUT,
        }
    )


async def open_system(
    kafka_bootstrap_servers: str, database_url: str, prefix: str, partitions: int = PARTITIONS, replicas: int = 1
) -> System:
    """Make the schema and the topics of a new system."""
    system = new_system(kafka_bootstrap_servers, database_url, prefix, partitions, replicas)
    await migrations.migrate(system.settings)
    await until(lambda: _topics_are_made(system.settings))
    return system


async def _topics_are_made(settings: Settings) -> bool:
    """Make the topics. A broker that others keep busy may answer later than a command waits."""
    try:
        await topics.apply(settings)
    except UnreachableError:
        return False
    return True


async def assert_exactly_once(system: System) -> None:
    """Every raw record has had its effect once: on the topics, in the rows, and the two agree."""
    versions = await system.expected_events()
    seen: dict[str, list[int]] = {}
    for record in await system.read(Topic.EVENTS):
        event = msgspec.json.decode(record.value)
        seen.setdefault(event["shipment_id"], []).append(event["version"])
    assert seen == {name: list(range(1, version + 1)) for name, version in versions.items()}
    rows = {row["shipment_id"]: row["version"] for row in await system.rows("select * from shipments")}
    assert rows == versions
    states = {record.key.decode(): msgspec.json.decode(record.value) for record in await system.read(Topic.STATE)}
    assert {name: state["version"] for name, state in states.items()} == versions
    raw = len(await system.read(Topic.RAW))
    outcomes = Counter(row["outcome"] for row in await system.rows("select outcome from observations"))
    assert outcomes.total() + len(await system.read(Topic.DEAD_LETTERS)) == raw
    assert outcomes["event"] == sum(versions.values())
