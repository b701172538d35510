"""The real door with a wrong clock, huge bodies, and records that the broker refuses or must wait for."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from cli.main import main
from devstack.ports import free_ports
from ingest.spool_file import SpoolFile
from runtime import kafka_admin, topics
from runtime.kafka import admin_client
from runtime.settings import Settings
from schemas.couriers.base import MAX_ITEMS
from schemas.records import NewRecord
from schemas.topics import Topic
from tests.integration.test_ingest import Process, TopicStore, waybill_ingest
from tests.integration.wrong_clock import SHIFT_FILE
from tests.unit.ingest.doors import settings_with
from tests.waiting import until

AFTER = "message.timestamp.after.max.ms"
HOUR = 3_600
LIMIT = 1_048_576


def delivery(name: str, padding: int = 0) -> bytes:
    return msgspec.json.encode({"deliveryID": name, "padding": "x" * padding})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def environ(kafka_bootstrap_servers: str, topic_prefix: str, directory: Path) -> dict[str, str]:
    return {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_TOPIC_PARTITIONS": "2",
        "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
        "WAYBILL_INGEST_SPOOL_DIR": str(directory),
    }


@pytest.fixture
async def settings(environ: dict[str, str]) -> Settings:
    settings = settings_with(**environ)
    await topics.apply(settings)
    return settings


@pytest.fixture
def store(settings: Settings) -> TopicStore:
    return TopicStore(settings)


async def configure(settings: Settings, **configs: str) -> None:
    name = settings.topic(Topic.RAW)
    wanted = {key.replace("_", "."): value for key, value in configs.items()}
    async with admin_client(settings) as admin:
        await kafka_admin.set_configs(admin, {name: wanted})

        async def shown() -> bool:
            found = await kafka_admin.find_topics(admin, [name], list(wanted))
            return dict(found[name].configs) == wanted

        await until(shown)


async def metric_is(ingest: Process, name: str, value: float) -> bool:
    return (await ingest.metrics())[name] == value


def set_clock(shift: Path, seconds: float) -> None:
    """Have a running door's clock be off by so much."""
    beside = shift.with_suffix(".new")
    beside.write_text(str(seconds), encoding="utf-8")
    beside.replace(shift)


@asynccontextmanager
async def wrong_clock(environ: dict[str, str], shift: Path, seconds: float) -> AsyncIterator[Process]:
    set_clock(shift, seconds)
    async with waybill_ingest(environ | {SHIFT_FILE: str(shift)}, ["tests.integration.wrong_clock"]) as ingest:
        yield ingest


async def test_a_door_whose_clock_is_wrong_takes_nothing_until_it_is_right(
    environ: dict[str, str], store: TopicStore, tmp_path: Path
) -> None:
    shift = tmp_path / "shift"
    async with wrong_clock(environ, shift, 7 * HOUR) as ingest:
        await until(lambda: clock_is_wrong(ingest))
        for seconds in (7 * HOUR, -40 * 24 * HOUR, HOUR, -HOUR):
            set_clock(shift, seconds)
            status, headers = await ingest.post(delivery("A"))
            assert (status, headers["Content-Type"]) == (503, "application/problem+json")
            assert int(headers["Retry-After"]) > 0
        readiness = await ingest.readiness()
        assert readiness[0] == 503
        assert readiness[1]["parts"]["clock"] is False
        set_clock(shift, 0)
        await until(ingest.ready)
        assert (await ingest.post(delivery("B")))[0] == 200
        assert "clock" not in (await ingest.readiness())[1]["parts"]
        said = [entry["event"] for entry in ingest.log if entry["event"].startswith("clock")]
        assert said == ["clock wrong", "clock right again"]
    (record,) = await store.kept(1)
    assert record.key == b"dash:B"


async def clock_is_wrong(ingest: Process) -> bool:
    return "clock" in (await ingest.readiness())[1]["parts"]


async def test_what_was_stamped_by_a_wrong_clock_while_kafka_was_away_is_appended(
    environ: dict[str, str], settings: Settings, store: TopicStore, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    away = environ | {"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}
    async with wrong_clock(away, tmp_path / "shift", 7 * HOUR) as ingest:
        assert (await ingest.post(delivery("A")))[0] == 200
    async with waybill_ingest(environ) as ingest:
        await until(lambda: metric_is(ingest, "waybill_ingest_spool_records", 0))
        assert (await ingest.metrics())["waybill_ingest_spool_refused_records"] == 0
    (record,) = await store.kept(1)
    assert record.timestamp_ms > (time.time() + 6 * HOUR) * 1000


async def test_a_timestamp_that_the_broker_does_not_take_waits(
    environ: dict[str, str], settings: Settings, store: TopicStore, directory: Path
) -> None:
    """As on topics of an older version: `waybill topics apply` lets it in."""
    await configure(settings, **{AFTER.replace(".", "_"): str(HOUR * 1000)})
    file = SpoolFile(directory)
    file.append([[NewRecord(b"dash:A", b"{}", [("courier", b"dash")], int((time.time() + 7 * HOUR) * 1000))]], LIMIT)
    file.close()
    async with waybill_ingest(environ) as ingest:

        async def interrupted() -> bool:
            return any(entry["event"] == "draining interrupted" for entry in ingest.log)

        await until(interrupted)
        metrics = await ingest.metrics()
        assert (metrics["waybill_ingest_spool_records"], metrics["waybill_ingest_spool_refused_total"]) == (1, 0)
        assert await topics.apply(settings)
        await until(lambda: metric_is(ingest, "waybill_ingest_spool_records", 0))
    assert len(await store.kept(1)) == 1


async def test_what_the_broker_refused_is_sent_again_beside_the_running_door(
    environ: dict[str, str],
    settings: Settings,
    store: TopicStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    async def spool(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = await asyncio.to_thread(main, ["spool", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    await configure(settings, max_message_bytes="5000")
    async with waybill_ingest(environ) as ingest:
        await until(partial(ingest.takes, "kafka"))
        assert (await ingest.metrics())["waybill_ingest_spool_refused_records"] == 0
        for name in "ABC":
            assert (await ingest.post(delivery(name, 10_000)))[0] == 200
        await until(lambda: metric_is(ingest, "waybill_ingest_spool_refused_records", 3))
        code, again = await spool("retry", "1", "--yes")
        assert code == 1
        assert "MessageSizeTooLarge" in again["retried"][0]["failure"]
        assert (await spool("drop", "3", "--yes"))[0] == 0
        await topics.apply(settings)
        code, done = await spool("retry", "--yes")
        assert code == 0
        assert [each["seq"] for each in done["retried"]] == [1, 2]
        assert (await spool("list"))[1]["refused"] == []
        await until(lambda: metric_is(ingest, "waybill_ingest_spool_refused_records", 0))
    assert {record.key for record in await store.kept(2)} == {b"dash:A", b"dash:B"}


async def test_huge_bodies_cost_neither_the_memory_nor_the_others_nor_the_stop(
    directory: Path, record_property: Callable[[str, object], None]
) -> None:
    """Kafka is away: all of it goes to the spool, whose limit holds."""
    (port,) = free_ports(1)
    limit = 20_000_000
    environ = {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
        "WAYBILL_INGEST_SPOOL_DIR": str(directory),
        "WAYBILL_INGEST_SPOOL_MAX_BYTES": str(limit),
    }
    opening, item, closing = b'{"method":"shipped_packages","data":[', b"{},", b"{}]}"
    huge = opening + item * ((LIMIT - len(opening) - len(closing)) // len(item)) + closing
    most = opening + b'{"awb":"A"},' * (MAX_ITEMS - 1) + closing
    headers = {"Content-Type": "application/json; x=" + "y" * 8_000}
    async with waybill_ingest(environ) as ingest:
        assert (await ingest.post(delivery("warm")))[0] == 200
        process = psutil.Process(ingest.process.pid)
        before, peak, slowest, smalls = process.memory_info().rss, 0, 0.0, []
        flood = asyncio.gather(*(ingest.post(body, "kiriminaja", headers) for body in [huge, most] * 8))
        while not flood.done():
            began = time.monotonic()
            smalls.append((await ingest.post(delivery("small")))[0])
            slowest = max(slowest, time.monotonic() - began)
            peak = max(peak, process.memory_info().rss)
        record_property("memory, MB", round((peak - before) / 1e6))
        record_property("slowest small webhook, seconds", round(slowest, 2))
        assert set(smalls) <= {200, 503}
        assert smalls.count(200) > len(smalls) / 2
        answers = [status for status, _ in await flood]
        assert set(answers[::2]) <= {200, 503}
        assert 200 in answers[::2], "an authenticated body is kept"
        assert peak - before < 250_000_000, f"{(peak - before) / 1e6:.0f} MB"
        assert slowest < 5.0
        last = asyncio.gather(*(ingest.post(most, "kiriminaja", headers) for _ in range(4)), return_exceptions=True)
        await asyncio.sleep(0)
        ingest.process.send_signal(signal.SIGTERM)
        assert await ingest.exit_code() == 0
        await last
    file = SpoolFile(directory)
    assert 0 < file.bytes <= limit
    file.close()
