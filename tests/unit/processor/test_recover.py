"""A recovery that reads a log which gives nothing: it ends instead of waiting for ever."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from processor.core.errors import RecoveryError
from processor.protocol.crash_points import no_one
from processor.recovery import compare
from processor.recovery.compare import Comparing


class Silent:
    """A reader of a partition whose leader is away."""

    def __init__(self, *, begins: bool) -> None:
        self._begins = begins

    def assign(self, _parts: list[TopicPartition]) -> None:
        pass

    async def seek_to_beginning(self, _part: TopicPartition) -> None:
        if not self._begins:
            await asyncio.Event().wait()

    async def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 7)

    async def position(self, _part: TopicPartition) -> int:
        return 3

    async def getmany(self, *_: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(timeout_ms / 1000)
        return {}


@pytest.mark.parametrize(("begins", "error"), [(True, RecoveryError), (False, TimeoutError)])
async def test_a_log_that_gives_nothing_ends_the_recovery(
    begins: bool, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "STALL_SECONDS", 0.05)
    nobody: Any = None
    reader: Any = Silent(begins=begins)
    made = Comparing("shipment.state", reader, nobody, nobody, no_one)
    async with asyncio.timeout(10):
        with pytest.raises(error):
            await made.read_published(0, nobody)
