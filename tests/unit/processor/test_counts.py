"""Counting what waits for people: by one process, which begins at once and goes on when it fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from processor import counts
from processor.counts import Counts, keep_counting
from runtime.errors import UnreachableError
from runtime.metrics import ProcessorMetrics, new_registry
from tests.waiting import until

FOUND = Counts({"invalid_json": 3}, {"unknown_status": 2}, {"dash": 5})


class Process:
    """A process that may have the partition, and whose database may answer."""

    def __init__(self) -> None:
        self.registry = new_registry()
        self.ours = self.stores_work = False
        self.error: Exception | None = None
        self.looks = 0
        self.shared: Any = SimpleNamespace(
            metrics=ProcessorMetrics(self.registry), stores_work=lambda: self.stores_work
        )

    async def count(self) -> Counts:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return FOUND

    def shown(self) -> list[float | None]:
        value = self.registry.get_sample_value
        return [
            value("waybill_processor_open_dead_letters", {"reason": "invalid_json"}),
            value("waybill_processor_open_dead_letters", {"reason": "misrouted"}),
            value("waybill_processor_open_anomalies", {"kind": "unknown_status"}),
            value("waybill_processor_silent_shipments", {"courier": "dash"}),
        ]

    def counted_at(self) -> float | None:
        return self.registry.get_sample_value("waybill_processor_counted_timestamp_seconds")


@pytest_asyncio.fixture
async def process(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    monkeypatch.setattr(counts, "LOOK_SECONDS", 0.001)
    process = Process()
    counting = asyncio.create_task(keep_counting(process.shared, lambda: process.ours, process.count))
    yield process
    assert not counting.done()
    counting.cancel()
    with suppress(asyncio.CancelledError):
        await counting


async def test_only_the_process_with_the_partition_counts_and_only_while_the_stores_answer(process: Process) -> None:
    process.stores_work = True
    await asyncio.sleep(0.02)
    assert (process.looks, process.shown(), process.counted_at()) == (0, [0, 0, 0, 0], 0)
    process.stores_work, process.ours = False, True
    await asyncio.sleep(0.02)
    assert process.looks == 0
    process.stores_work = True
    await until(lambda: process.looks > 0)
    assert process.shown() == [3, 0, 2, 5]
    assert process.counted_at()
    await asyncio.sleep(0.02)
    assert process.looks == 1, "slowly"
    process.ours = False
    await until(lambda: process.counted_at() == 0)
    assert process.shown() == [0, 0, 0, 0]
    process.ours = True
    await until(lambda: process.looks == 2)
    assert process.shown() == [3, 0, 2, 5]


async def test_what_fails_is_told_once_and_tried_again(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "COUNT_EVERY_SECONDS", 0.001)
    with capture_logs() as logs:
        process.ours = process.stores_work = True
        await until(lambda: process.shown() == [3, 0, 2, 5])
        process.error, looks = UnreachableError("PostgreSQL is away"), process.looks
        await until(lambda: process.looks > looks + 3)
        process.error, looks = ValueError("odd"), process.looks
        await until(lambda: process.looks > looks + 3)
        assert process.shown() == [3, 0, 2, 5], "what was counted last"
        process.error, looks = None, process.looks
        await until(lambda: process.looks > looks + 1)
    told = [(log["event"], log["log_level"], log.get("why")) for log in logs]
    assert told == [("not counted", "warning", "PostgreSQL is away"), ("not counted", "error", None)]
