"""What was last seen of the stores, and that nothing ends the watch over them unseen."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from processor import health as health_module
from processor.health import Health
from runtime.errors import UnreachableError
from runtime.metrics import ProcessorMetrics, StoreName, new_registry
from runtime.settings import load_settings

TOPIC = {"topic": "raw", "error_code": 0, "partitions": [{"leader": 1}]}


class Admin:
    """Answers once in a way that nobody foresaw, then as it should."""

    def __init__(self) -> None:
        self.asked = 0

    async def describe_topics(self, _topics: list[str]) -> list[dict[str, Any]]:
        self.asked += 1
        return [{}] if self.asked == 1 else [TOPIC]


async def test_what_ends_a_watch_is_said_and_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise UnreachableError("PostgreSQL is away")

    monkeypatch.setattr(health_module, "ASK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(health_module, "connect", away)
    health, admin = Health(ProcessorMetrics(new_registry())), Admin()
    with capture_logs() as logs:
        watching = asyncio.create_task(health.watch(load_settings({}), admin, "raw", None))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            while not health.parts.get(StoreName.KAFKA):
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.wait([watching])
    assert [log["event"] for log in logs if log.get("store") == StoreName.KAFKA] == [
        "store not understood",
        "store back",
    ]
    assert not health.all_work()
