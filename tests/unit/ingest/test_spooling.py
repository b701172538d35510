"""Between Kafka and the spool: when which, in which order, and what happens when either fails. Kafka is a fake."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import ingest.spooling
from ingest.errors import RefusedError, UnavailableError
from ingest.records import Record, Records
from ingest.spool import BATCH_RECORDS, DOUBT_SECONDS, Spool, open_spool
from ingest.spooling import SpoolingPublisher, spooling_publisher
from runtime.metrics import IngestMetrics, new_registry
from schemas.partitioning import partition_of
from tests.unit.ingest.door_suite import PARTITIONS, DoorSuite
from tests.unit.ingest.doors import Kept, RunningDoor, running_door

DEADLINE = 10.0
NOW_MS = 1_700_000_000_000


class FakeKafka:
    """A broker in memory. Records in `refused` are never taken; `failures` publishes to come fail half-way."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.records: list[Record] = []
        self.refused: set[bytes] = set()
        self.failures = 0
        self.slow = asyncio.Event()
        """Cleared, a publish takes until it is set."""
        self.slow.set()
        self.calls = 0

    @property
    def connected(self) -> bool:
        return self.there.is_set()

    async def until_connected(self) -> None:
        await self.there.wait()

    async def publish(self, records: Records, within: float | None = None) -> None:
        self.calls += 1
        assert self.there.is_set()
        kept = list(records)
        if self.failures:
            self.failures -= 1
            self.records += kept[: len(kept) // 2]
            raise UnavailableError
        if any(record.value in self.refused for record in kept):
            raise RefusedError("too large")
        await asyncio.sleep(0)
        await self.slow.wait()
        self.records += kept

    def values(self) -> list[bytes]:
        return [record.value for record in self.records]


def record(value: int | str, key: str = "k") -> Record:
    return Record(key.encode(), str(value).encode(), [("courier", b"dash")], NOW_MS)


def texts(*values: int | str) -> list[bytes]:
    return [str(value).encode() for value in values]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


class Both:
    """A spool, its publisher, and what they are measured by."""

    def __init__(self, spool: Spool, publisher: SpoolingPublisher, metric: Callable[[str], float]) -> None:
        self.spool = spool
        self.publisher = publisher
        self.metric = metric

    async def publish(self, *values: int | str) -> None:
        await self.publisher.publish([record(value) for value in values])

    def taking(self) -> str | None:
        return self.publisher.taking

    async def drained(self) -> None:
        await until(lambda: self.spool.records == 0)


@asynccontextmanager
async def spooling(
    kafka: FakeKafka, directory: Path, *, max_bytes: int = 10**9, clock: Callable[[], int] = lambda: NOW_MS
) -> AsyncIterator[Both]:
    registry = new_registry()
    metrics = IngestMetrics(registry)
    async with (
        open_spool(directory, max_bytes=max_bytes, max_age=timedelta(hours=1), now_ms=clock) as spool,
        spooling_publisher(kafka, spool, metrics) as publisher,
    ):
        yield Both(spool, publisher, lambda name: registry.get_sample_value(f"waybill_ingest_spool_{name}") or 0.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.spooling, "pauses", lambda: itertools.repeat(0.01))


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def both(kafka: FakeKafka, tmp_path: Path) -> AsyncIterator[Both]:
    async with spooling(kafka, tmp_path) as both:
        yield both


class KafkaThatComesBack:
    """Brings what was spooled to Kafka, and reads it there."""

    def __init__(self, kafka: FakeKafka, both: Both) -> None:
        self._kafka = kafka
        self._both = both

    async def kept(self, count: int) -> Sequence[Kept]:
        self._kafka.there.set()
        await self._both.drained()
        assert len(self._kafka.records) == count
        return [
            Kept(partition_of(record.key, PARTITIONS), record.key, record.value, record.headers, record.timestamp_ms)
            for record in self._kafka.records
        ]


class TestDoorOnTheSpool(DoorSuite):
    """The suite, with Kafka away until the records are looked for."""

    @pytest.fixture
    async def door(self, both: Both) -> AsyncIterator[RunningDoor]:
        async with running_door(both.publisher) as running:
            yield running

    @pytest.fixture
    def store(self, kafka: FakeKafka, both: Both) -> KafkaThatComesBack:
        return KafkaThatComesBack(kafka, both)


async def test_nothing_is_spooled_while_kafka_takes_it(kafka: FakeKafka, both: Both) -> None:
    kafka.there.set()
    await both.publish(1, 2)
    assert kafka.values() == texts(1, 2)
    assert both.metric("records") == 0
    assert both.taking() == "kafka"


async def test_a_kafka_known_to_be_away_is_not_asked(kafka: FakeKafka, both: Both) -> None:
    await both.publish(1)
    await both.publish(2, 3)
    assert kafka.calls == 0
    assert both.metric("records") == 3
    assert both.taking() == "spool"
    kafka.there.set()
    await both.drained()
    assert kafka.values() == texts(1, 2, 3)
    assert both.metric("drained_total") == 3


async def test_what_kafka_fails_at_is_spooled_whole(kafka: FakeKafka, both: Both) -> None:
    kafka.there.set()
    kafka.failures = 1
    await both.publish(1, 2)
    await both.drained()
    assert kafka.values() == texts(1, 1, 2)  # the first one twice


async def test_newcomers_queue_behind_what_is_spooled(kafka: FakeKafka, both: Both) -> None:
    await both.publish(*range(2 * BATCH_RECORDS))
    kafka.slow.clear()
    kafka.there.set()
    await until(lambda: kafka.calls > 0)
    await both.publish("newcomer")
    assert both.taking() == "spool"
    assert kafka.records == []
    kafka.slow.set()
    await both.drained()
    assert kafka.values() == texts(*range(2 * BATCH_RECORDS), "newcomer")
    await until(lambda: both.taking() == "kafka")


async def test_a_steady_stream_finds_back_to_kafka_in_order(kafka: FakeKafka, both: Both) -> None:
    keys = [f"k{number}" for number in range(8)]
    direct = asyncio.Event()

    async def courier(key: str) -> int:
        """Send one webhook after the other, each as soon as the one before is answered."""
        for number in itertools.count():
            await both.publisher.publish([record(number, key)])
            if direct.is_set():
                return number
        raise AssertionError

    couriers = [asyncio.create_task(courier(key)) for key in keys]
    await until(lambda: both.spool.records > BATCH_RECORDS)
    kafka.there.set()
    await until(lambda: both.taking() == "kafka")
    direct.set()
    last = await asyncio.gather(*couriers)
    for key, number in zip(keys, last, strict=True):
        found = [int(record.value) for record in kafka.records if record.key == key.encode()]
        assert found == list(range(number + 1))


async def test_a_slow_last_batch_does_not_hold_newcomers_up_for_long(
    kafka: FakeKafka, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.spooling, "HANDOVER_SECONDS", 0.05)
    await both.publish(1)
    kafka.slow.clear()
    kafka.there.set()
    await until(lambda: kafka.calls > 0)
    async with asyncio.timeout(DEADLINE):
        await both.publish(2)
    kafka.slow.set()
    await both.drained()
    assert kafka.values() == texts(1, 2)


async def test_a_broken_off_drain_goes_on_where_it_was(kafka: FakeKafka, both: Both) -> None:
    await both.publish(*range(2 * BATCH_RECORDS))
    kafka.failures = 3
    kafka.there.set()
    await both.drained()
    assert list(dict.fromkeys(kafka.values())) == texts(*range(2 * BATCH_RECORDS))


async def test_what_kafka_refuses_for_good_is_set_aside_alone(kafka: FakeKafka, both: Both, tmp_path: Path) -> None:
    kafka.refused = set(texts(0, 7, 8, 99))
    await both.publish(*range(100))
    with capture_logs() as logs:
        kafka.there.set()
        await both.drained()
    assert set(kafka.values()) == set(texts(*range(100))) - kafka.refused
    assert sorted(kafka.values(), key=int) == kafka.values()
    assert both.metric("refused_total") == 4
    alarms = [entry for entry in logs if entry["log_level"] == "error"]
    assert [alarm["event"] for alarm in alarms] == ["record refused by kafka"] * 4
    assert both.taking() == "kafka"


async def test_a_newcomer_kafka_refuses_is_accepted_and_set_aside(kafka: FakeKafka, both: Both) -> None:
    kafka.refused = set(texts("large"))
    kafka.there.set()
    await both.publish("large")
    await both.drained()
    await both.publish("small")
    assert kafka.values() == texts("small")
    assert both.metric("refused_total") == 1


async def test_a_spool_at_its_limit_takes_nothing_more(kafka: FakeKafka, tmp_path: Path) -> None:
    async with spooling(kafka, tmp_path, max_bytes=100) as both:
        with capture_logs() as logs:
            waiting = 0
            while both.spool.takes:
                await both.publish(waiting)
                waiting += 1
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    await both.publish("one more")
        assert 1 < waiting < 20
        assert both.taking() is None
        assert [entry["event"] for entry in logs] == ["spool takes nothing"]
        kafka.there.set()
        await both.drained()
        await both.publish("room")
        assert kafka.values() == texts(*range(waiting), "room")


async def test_a_spool_that_is_too_old_takes_nothing_more(kafka: FakeKafka, tmp_path: Path) -> None:
    now = NOW_MS
    async with spooling(kafka, tmp_path, clock=lambda: now) as both:
        await both.publish(1)
        now += 1_800_000
        assert both.metric("oldest_age_seconds") == 1800
        await both.publish(2)
        now += 1_801_000
        with pytest.raises(UnavailableError):
            await both.publish(3)
        assert both.taking() is None
        kafka.there.set()
        await both.drained()
        assert kafka.values() == texts(1, 2)
        assert both.metric("oldest_age_seconds") == 0


async def test_a_full_disk_is_unavailable_until_there_is_room(
    kafka: FakeKafka, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both.publish(1)
    file = both.spool._file
    await both.spool._run(lambda: file._db.execute("pragma max_page_count = 1").fetchall())
    with capture_logs() as logs, pytest.raises(UnavailableError):
        await both.publish("x" * 100_000)
    assert [entry["event"] for entry in logs] == ["spool takes nothing"]
    assert both.taking() is None
    monkeypatch.setattr("ingest.spool.DOUBT_SECONDS", 0.0)
    assert both.taking() == "spool"  # to be tried again
    monkeypatch.setattr("ingest.spool.DOUBT_SECONDS", DOUBT_SECONDS)
    assert both.spool.records == 1
    await both.spool._run(lambda: file._db.execute("pragma max_page_count = 100000").fetchall())
    await both.publish("y" * 100_000)
    assert both.spool.takes
    kafka.there.set()
    await both.drained()
    assert kafka.values() == texts(1, "y" * 100_000)


async def test_a_disk_that_cannot_delete_does_not_hold_anything_up(
    kafka: FakeKafka, both: Both, tmp_path: Path
) -> None:
    await both.publish(*range(2 * BATCH_RECORDS))
    file = both.spool._file
    await both.spool._run(lambda: file._db.execute("pragma query_only = on").fetchall())
    kafka.there.set()
    await both.drained()
    assert kafka.values() == texts(*range(2 * BATCH_RECORDS))
    await both.publish("direct")
    assert kafka.values()[-1:] == texts("direct")
    await both.spool._run(lambda: file._db.execute("pragma query_only = off").fetchall())
    count = "select count(*) from spooled"
    async with asyncio.timeout(DEADLINE):
        while (await both.spool._run(lambda: file._db.execute(count).fetchone()))[0]:
            await asyncio.sleep(0.01)


async def test_what_is_not_drained_stays_for_the_next_start(kafka: FakeKafka, tmp_path: Path) -> None:
    async with spooling(kafka, tmp_path) as both:
        await both.publish(1, 2)
    assert kafka.records == []
    kafka.there.set()
    async with spooling(kafka, tmp_path) as both:
        await both.drained()
        await both.publish(3)
    assert kafka.values() == texts(1, 2, 3)


async def test_a_stop_lets_the_batch_under_way_finish(kafka: FakeKafka, tmp_path: Path) -> None:
    async with spooling(kafka, tmp_path) as both:
        await both.publish(*range(2 * BATCH_RECORDS))
        kafka.slow.clear()
        kafka.there.set()
        await until(lambda: kafka.calls > 0)
        asyncio.get_running_loop().call_later(0.05, kafka.slow.set)
    assert kafka.values() == texts(*range(BATCH_RECORDS))
    async with spooling(kafka, tmp_path) as both:
        await both.drained()
    assert kafka.values() == texts(*range(2 * BATCH_RECORDS))


async def test_one_commit_serves_many(both: Both) -> None:
    await asyncio.gather(*(both.publish(number) for number in range(2_000)))
    assert both.spool.records == 2_000


async def test_a_disk_that_does_not_answer_is_unavailable(
    kafka: FakeKafka, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.spool.COMMIT_SECONDS", 0.1)
    answer = threading.Event()
    hanging = asyncio.create_task(both.spool._run(answer.wait))
    results = await asyncio.gather(*(both.publish(number) for number in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [UnavailableError] * 3
    assert both.taking() is None
    answer.set()
    await hanging
    monkeypatch.undo()
    await both.publish("later")
    kafka.there.set()
    await both.drained()
    assert kafka.values()[-1:] == texts("later")
