"""The consumer group: which partitions this process works on."""

import asyncio
from collections.abc import Iterable
from time import time
from typing import Final

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition

from processor.partition.shared import Shared
from processor.partition.worker import Worker
from runtime.errors import UnreachableError

HAND_OVER_SECONDS: Final = 2.5
"""How long a worker whose partition has gone elsewhere, or that is to stop, may finish its batch: many times what one
takes. Cut short, it is the next claim that finishes it."""

CANCELLED_SECONDS: Final = 3.0
"""How long a cancelled worker may take to let its clients go. With `HAND_OVER_SECONDS` before and the consumer's end
behind it a stop stays within the lifecycle's 8 s, whatever does not answer."""

log = structlog.get_logger(__name__)


class Group(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts a worker for each partition assigned and stops those of partitions gone.

    Every rebalance takes all partitions away and assigns all anew; a worker whose partition comes back keeps its
    claim.
    """

    def __init__(self, shared: Shared) -> None:
        """Begin without partitions."""
        self._shared = shared
        self._tasks: dict[int, tuple[Worker, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the error of the first worker that fails for good."""

    @property
    def workers(self) -> list[Worker]:
        """The workers of the partitions assigned."""
        return [worker for worker, _ in self._tasks.values()]

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Wait for what is assigned next: most partitions come back."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start and stop workers. Claims run in parallel, outside this callback.

        A group that is stopping takes nothing: its consumer may be given partitions until it has left.
        """
        if self._stopped:
            return
        partitions = {raw.partition for raw in assigned}
        log.info("partitions assigned", partitions=sorted(partitions))
        for partition in self._tasks.keys() - partitions:
            self._dismiss(partition)
        for raw in assigned:
            if raw.partition in self._tasks and self._tasks[raw.partition][1].done():
                self._dismiss(raw.partition)
            if raw.partition not in self._tasks:
                self._engage(raw.partition)
            self._place(raw)

    async def stop(self) -> None:
        """Let every worker finish its batch. None is started any more."""
        self._stopped = True
        for partition in list(self._tasks):
            self._dismiss(partition)
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _engage(self, partition: int) -> None:
        worker = Worker(self._shared, partition)
        task = asyncio.create_task(worker.run(), name=f"partition-{partition}")
        task.add_done_callback(self._ended)
        self._tasks[partition] = worker, task
        standing = worker.standing
        self._shared.metrics.show_partition(
            partition, lambda: standing.state, lambda: standing.waiting.records, lambda: standing.waiting.age(time())
        )

    def _place(self, raw: TopicPartition) -> None:
        """Set where fetching goes on: without a position the consumer would look for a committed offset."""
        standing = self._tasks[raw.partition][0].standing
        consumer = self._shared.consumer
        consumer.seek(raw, standing.position or 0)
        if not standing.working:
            consumer.pause(raw)

    def _dismiss(self, partition: int) -> None:
        worker, task = self._tasks.pop(partition)
        self._shared.metrics.hide_partition(partition)
        worker.stop()
        if not worker.standing.working:
            task.cancel()  # there is no batch to finish, and a claim may wait long
        leaving = asyncio.create_task(_hand_over(partition, task))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None and any(task is each for _, each in self._tasks.values()):
            error = UnreachableError(f"the worker of {task.get_name()} has ended though nobody ended it")
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)


async def _hand_over(partition: int, task: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait([task], timeout=HAND_OVER_SECONDS)
    if not done:
        log.warning("worker cancelled", partition=partition)
        task.cancel()
        await asyncio.wait([task], timeout=CANCELLED_SECONDS)
