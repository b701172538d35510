"""The workers of the partitions assigned: one that ends by itself does not go unseen."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from processor import group as group_module
from processor.group import Group
from processor.partition.standing import Standing
from runtime.errors import UnreachableError
from runtime.metrics import ProcessorMetrics, new_registry


class Leaving:
    """A worker that ends as its `how` says."""

    how: BaseException | None = None

    def __init__(self, _shared: object, partition: int) -> None:
        self.standing = Standing(partition, SimpleNamespace(pause=lambda: None))  # type: ignore[arg-type]

    async def run(self) -> None:
        if self.how is not None:
            raise self.how

    def stop(self) -> None:
        pass


@pytest.mark.parametrize("how", [None, asyncio.CancelledError(), ValueError("broken")])
async def test_a_worker_that_nobody_ended_is_a_failure(
    how: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "Worker", Leaving)
    monkeypatch.setattr(Leaving, "how", how)
    consumer: Any = SimpleNamespace(seek=lambda *_: None, pause=lambda *_: None)
    shared: Any = SimpleNamespace(consumer=consumer, metrics=ProcessorMetrics(new_registry()))
    group = Group(shared)
    group.on_partitions_assigned([TopicPartition("raw", 3)])
    with pytest.raises(ValueError if isinstance(how, ValueError) else UnreachableError, match=r"broken|partition-3"):
        async with asyncio.timeout(10):
            await group.failed
    await group.stop()
    assert not group.workers


async def test_a_group_that_stops_takes_no_partition_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its consumer has left it may be given all that the others leave: nobody would end such a worker."""
    monkeypatch.setattr(group_module, "Worker", Leaving)
    group = Group(SimpleNamespace())  # type: ignore[arg-type]
    await group.stop()
    group.on_partitions_assigned([TopicPartition("raw", 3)])
    assert not group.workers
    assert not group.failed.done()
