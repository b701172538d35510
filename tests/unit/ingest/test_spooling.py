"""Between Kafka and the spool: when which, in which order, and what happens when either fails. Kafka is a fake."""

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import ingest.spooling
from ingest.errors import DoubtfulError, RefusedError, UnavailableError
from ingest.spool import DOUBT_SECONDS, Spool, open_spool
from ingest.spooling import BATCH_RECORDS, STUMBLES, SpoolingPublisher, spooling_publisher
from runtime.metrics import IngestMetrics, new_registry
from schemas.partitioning import partition_of
from schemas.records import NewRecord
from tests.unit.ingest.door_suite import PARTITIONS, DoorSuite
from tests.unit.ingest.doors import Kept, RunningDoor, kept_records, running_door
from tests.waiting import DEADLINE, until

PUBLISH_SECONDS = 0.3
NOW_MS = 1_700_000_000_000


class FakeKafka:
    """A broker in memory. Records in `refused` are never taken, those in `stumbles_over` not now; `failures` sends to
    come fail half-way.

    Partitions in `leaderless` take nothing, and those in `rejecting` fail at once.
    """

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.records: list[NewRecord] = []
        self.refused: set[bytes] = set()
        self.stumbles_over: set[bytes] = set()
        self.leaderless: set[int] = set()
        self.rejecting: set[int] = set()
        self.failures = 0
        self.slow = asyncio.Event()
        """Cleared, a send takes until it is set."""
        self.slow.set()
        self.calls: Counter[int] = Counter()
        self.number = PARTITIONS

    @property
    def connected(self) -> bool:
        return self.there.is_set()

    @property
    def partitions(self) -> int:
        return self.number if self.connected else 0

    def takes(self, partition: int) -> bool:
        return self.connected and partition not in self.leaderless

    async def until_connected(self) -> None:
        await self.there.wait()

    async def send(
        self, groups: Mapping[int, Sequence[NewRecord]], within: float | None = None
    ) -> dict[int, UnavailableError]:
        sends = [self._send(partition, records, within) for partition, records in groups.items()]
        outcomes = await asyncio.gather(*sends)
        return {partition: error for partition, error in zip(groups, outcomes, strict=True) if error}

    async def _send(
        self, partition: int, records: Sequence[NewRecord], within: float | None
    ) -> UnavailableError | None:
        self.calls[partition] += 1
        assert self.there.is_set()
        assert {partition_of(record.key or b"", self.number) for record in records} == {partition}
        try:
            async with asyncio.timeout(PUBLISH_SECONDS if within is None else within):
                while partition in self.leaderless:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            return UnavailableError("no leader")
        if partition in self.rejecting:
            return UnavailableError("no permission")
        if self.failures:
            self.failures -= 1
            half = len(records) // 2
            self.records += records[:half]
            return UnavailableError("broken off", half)
        if any(record.value in self.stumbles_over for record in records):
            return DoubtfulError("UnknownError")
        if any(record.value in self.refused for record in records):
            return RefusedError("too large")
        await asyncio.sleep(0)
        await self.slow.wait()
        self.records += records
        return None

    def values(self) -> list[bytes]:
        return [record.value for record in self.records]


def record(value: int | str, key: str = "k") -> NewRecord:
    return NewRecord(key.encode(), str(value).encode(), [("courier", b"dash")], NOW_MS)


def texts(*values: int | str) -> list[bytes]:
    return [str(value).encode() for value in values]


def keys_of(partition: int, count: int) -> list[str]:
    """Name shipments of a partition."""
    names = (f"s{number}" for number in itertools.count())
    return list(
        itertools.islice((name for name in names if partition_of(name.encode(), PARTITIONS) == partition), count)
    )


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
        spooling_publisher(kafka, lambda: nullcontext(kafka), spool, metrics) as publisher,
    ):
        yield Both(spool, publisher, lambda name: registry.get_sample_value(f"waybill_ingest_spool_{name}") or 0.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.spooling, "pauses", lambda *_: itertools.repeat(0.01))


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
        return kept_records(self._kafka.records, PARTITIONS)


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
    assert not kafka.calls
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
    assert kafka.values() == texts(1, 1, 2)  # the first one twice: Kafka's answer may mean anything


async def test_newcomers_queue_behind_what_is_spooled(kafka: FakeKafka, both: Both) -> None:
    await both.publish(*range(2 * BATCH_RECORDS))
    kafka.slow.clear()
    kafka.there.set()
    await until(lambda: bool(kafka.calls))
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
    await until(lambda: bool(kafka.calls))
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
        await until(lambda: both.metric("refused_total") == 4)
    assert set(kafka.values()) == set(texts(*range(100))) - kafka.refused
    assert sorted(kafka.values(), key=int) == kafka.values()
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
    await until(lambda: both.metric("refused_total") == 1)


async def test_a_spool_at_its_limit_takes_nothing_more(kafka: FakeKafka, tmp_path: Path) -> None:
    async with spooling(kafka, tmp_path, max_bytes=100) as both:
        with capture_logs() as logs:
            waiting = 0
            with suppress(UnavailableError):
                for waiting in range(20):
                    await both.publish(waiting)
            with pytest.raises(UnavailableError):
                await both.publish("one more")
        assert 1 < waiting < 20
        assert both.taking() is None
        assert [entry["event"] for entry in logs] == ["spool takes nothing"]
        assert (both.metric("limit_bytes"), both.metric("age_limit_seconds")) == (100, 3600)
        assert 70 < both.metric("bytes") <= 100, "what the alert on it goes by"
        kafka.there.set()
        await both.drained()
        assert both.metric("bytes") == 0
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
        await until(lambda: bool(kafka.calls))
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


async def test_a_partition_without_a_leader_holds_up_no_other(kafka: FakeKafka, both: Both) -> None:
    sick, *healthy = range(PARTITIONS)
    (lost,) = keys_of(sick, 1)
    kafka.leaderless = {sick}
    kafka.there.set()
    await both.publisher.publish([record("first", lost)])
    await until(lambda: both.spool.partitions == PARTITIONS)
    for number in range(20):
        for partition in healthy:
            await both.publisher.publish([record(number, *keys_of(partition, 1))])
        await both.publisher.publish([record(number, lost)])
    assert both.metric("records") == 21, "those of the sick partition, and no other"
    assert Counter(kafka.values()) == Counter(texts(*range(20)) * len(healthy))
    assert both.taking() == "spool"
    kafka.leaderless = set()
    await both.drained()
    mine = [each.value for each in kafka.records if each.key == lost.encode()]
    assert mine == texts("first", *range(20)), "each once, in order"
    assert len(kafka.records) == 20 * PARTITIONS + 1


@pytest.mark.parametrize("state", ["leaderless", "rejecting"])
async def test_what_a_webhook_says_of_healthy_partitions_is_appended_once(
    kafka: FakeKafka, both: Both, state: str
) -> None:
    sick, *healthy = range(PARTITIONS)
    setattr(kafka, state, {sick})
    kafka.there.set()
    names = [keys_of(partition, 1)[0] for partition in range(PARTITIONS)]
    for number in range(5):
        await both.publisher.publish([record(number, name) for name in names])
    await until(lambda: bool(kafka.calls[sick]) and both.metric("records") == 5)
    assert len(kafka.records) == 5 * len(healthy)
    setattr(kafka, state, set())
    await both.drained()
    assert Counter(each.key for each in kafka.records) == Counter({name.encode(): 5 for name in names})


async def test_a_drain_goes_on_past_a_partition_that_rejects(kafka: FakeKafka, both: Both) -> None:
    """All was spooled while Kafka was away: what the broker acknowledged is not appended again."""
    await both.publisher.publish([record(number, f"s{number}") for number in range(400)])
    kafka.rejecting = {1}
    kafka.there.set()
    theirs = {f"s{number}".encode() for number in range(400) if partition_of(f"s{number}".encode(), PARTITIONS) == 1}
    await until(lambda: both.spool.records == len(theirs))
    await until(lambda: kafka.calls[1] > 5)
    assert Counter(each.key for each in kafka.records).most_common(1)[0][1] == 1
    assert not theirs & {each.key for each in kafka.records}
    kafka.rejecting = set()
    await both.drained()
    assert len(kafka.records) == 400


async def test_a_record_that_kafka_stumbles_over_waits_at_the_head_of_its_line(
    kafka: FakeKafka, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.spooling, "STUMBLES", 10**6)
    kafka.stumbles_over = set(texts(300))
    kafka.there.set()
    await both.publish(*range(400))
    await until(lambda: both.spool.records == 100)
    assert kafka.values() == texts(*range(300)), "those before it are not held up"
    assert both.spool.refused == 0
    kafka.stumbles_over = set()
    await both.drained()
    assert kafka.values() == texts(*range(400))


async def test_records_that_kafka_stumbles_over_again_and_again_are_set_aside(kafka: FakeKafka, both: Both) -> None:
    kafka.stumbles_over = set(texts(0, 7, 8, 99))
    kafka.there.set()
    with capture_logs() as logs:
        await both.publish(*range(100))
        await both.drained()
    assert kafka.values() == [each for each in texts(*range(100)) if each not in kafka.stumbles_over]
    assert both.spool.refused == both.metric("refused_records") == 4
    assert kafka.calls.total() > 4 * STUMBLES
    reasons = [(entry["event"], entry["reason"]) for entry in logs if entry["log_level"] == "error"]
    assert reasons == [("record refused by kafka", "UnknownError")] * 4


async def test_a_partition_that_rejects_for_long_is_said_once(kafka: FakeKafka, both: Both) -> None:
    kafka.rejecting = {partition_of(b"k", PARTITIONS)}
    kafka.there.set()
    with capture_logs() as logs:
        await both.publish(1)
        await until(lambda: kafka.calls.total() > 6)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["draining interrupted"]
    assert both.spool.refused == 0


async def test_a_topic_with_more_partitions_than_before(kafka: FakeKafka, both: Both) -> None:
    kafka.leaderless = {partition_of(b"k", PARTITIONS)}
    kafka.there.set()
    await both.publish(1)
    await until(lambda: both.spool.partitions == PARTITIONS)
    kafka.number = 3 * PARTITIONS
    kafka.leaderless = set()
    await both.publish(2)
    await both.drained()
    assert kafka.values() == texts(1, 2)
    await both.publish(3)
    assert kafka.values() == texts(1, 2, 3)


async def test_the_limit_holds_for_all_that_come_at_once(kafka: FakeKafka, tmp_path: Path) -> None:
    async with spooling(kafka, tmp_path, max_bytes=10_000) as both:
        kinds = await asyncio.gather(*(both.publish("x" * 1_000) for _ in range(30)), return_exceptions=True)
        kept = kinds.count(None)
        assert 5 < kept < 10
        assert Counter(map(type, kinds)) == {type(None): kept, UnavailableError: 30 - kept}
        assert both.spool.records == kept
        with pytest.raises(UnavailableError):
            await both.publish(*["x" * 100] * 100)
        assert both.spool.records == kept


async def test_an_old_record_of_one_partition_stops_no_other(kafka: FakeKafka, tmp_path: Path) -> None:
    now = NOW_MS
    sick = partition_of(b"k", PARTITIONS)
    kafka.leaderless = {sick}
    kafka.there.set()
    async with spooling(kafka, tmp_path, clock=lambda: now) as both:
        await both.publish(1)
        await until(lambda: both.spool.partitions == PARTITIONS)
        now += 3_601_000
        with pytest.raises(UnavailableError):
            await both.publish(2)
        assert both.taking() == "kafka", "for the others"
        other = keys_of((sick + 1) % PARTITIONS, 1)[0]
        await both.publisher.publish([record(3, other)])
        assert kafka.values() == texts(3)
