"""Kafka while it takes records, else the spool; and the way back from the one to the other, partition by partition.

While anything is spooled for a partition, its newcomers queue behind it, so that a shipment's records stay in order. Of
the other partitions' newcomers none waits. Before the last batch of a partition is drained its newcomers are held up
for the few milliseconds it takes: else a steady stream would go through the spool for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from itertools import chain
from typing import Final, Literal, Protocol

import structlog

from ingest.errors import DoubtfulError, RefusedError, SpoolError, UnavailableError
from ingest.records import Records
from ingest.spool import Spool
from ingest.spool_file import Spooled
from ingest.turns import by_partition
from ingest.waits import pauses
from runtime.metrics import IngestMetrics
from schemas.records import NewRecord

BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
"""How much of a partition is drained at once: it must reach a broker within seconds over a slow line."""

BATCHES_BYTES: Final = 16 * 1024 * 1024
"""How much is drained at once of all partitions: it is in memory twice, and each batch is the smaller for it."""

STUCK_SECONDS: Final = 300.0
"""How long a batch may be under way to a partition that has a leader and does not take it, as with too few copies in
sync. aiokafka sends it again and again, and Kafka keeps it once; sent anew by another producer it may come twice."""

LONGEST_PAUSE_SECONDS: Final = 10.0
"""The pauses between attempts at a partition that refuses double up to here."""

STUMBLES: Final = 30
"""How often a record alone may be refused in words that do not say whether it is for what it is: some three minutes.
Then it is set aside, so that those behind it go on. If it was the partition, an operator's retry appends it."""

HANDOVER_SECONDS: Final = 1.0
"""How long a webhook waits for the last batch; then it joins the spool."""

GRACE_SECONDS: Final = 1.0
"""How long the batches under way may take at a stop. One that is cut off comes twice."""

SAID_SECONDS: Final = 10.0
"""How long a batch is under way before that is said."""

TIDY_SECONDS: Final = 10.0
"""How often the file is tidied while a partition does not take what waits for it."""

log = structlog.get_logger(__name__)

Taking = Literal["kafka", "spool"]
"""Who keeps the next record."""


class Kafka(Protocol):
    """What is asked of the publisher to Kafka. See `KafkaPublisher`."""

    @property
    def connected(self) -> bool: ...  # noqa: D102

    @property
    def partitions(self) -> int: ...  # noqa: D102

    def takes(self, partition: int) -> bool: ...  # noqa: D102

    async def until_connected(self) -> None: ...  # noqa: D102

    async def send(  # noqa: D102
        self, groups: Mapping[int, Sequence[NewRecord]], within: float | None = None
    ) -> dict[int, UnavailableError]: ...


Draining = Callable[[], AbstractAsyncContextManager[Kafka]]
"""Gives a Kafka for draining alone: a partition that refuses slows down all that share a producer with it."""


class SpoolingPublisher:
    """Keeps records whether Kafka is there or not, while `keep_draining` runs."""

    def __init__(self, kafka: Kafka, draining: Draining, spool: Spool, metrics: IngestMetrics) -> None:
        """Publish to Kafka where nothing is spooled."""
        self._kafka = kafka
        self._draining = draining
        self._spool = spool
        self._metrics = metrics
        self._held: dict[int, asyncio.Event] = {}
        """By partition whose newcomers are held up: set when they may go on."""
        self._under_way = 0
        self._none_under_way = asyncio.Event()
        self._none_under_way.set()
        self._stopping = False
        self._untidy = True

    @property
    def taking(self) -> Taking | None:
        """Who keeps the next record; None if nobody does. The spool, if that depends on the record's partition."""
        if self._spool.records == 0 and self._kafka.connected:
            return "kafka"
        if self._spool.takes:
            return "spool"
        return "kafka" if any(map(self._is_direct, range(self._kafka.partitions))) else None

    async def publish(self, records: Records) -> None:
        """Append records to the raw topic, or to the spool those that cannot be now. See `Publisher`."""
        partitions = self._kafka.partitions
        if not partitions:
            await self._spool.append(records)
            return
        groups = await by_partition(records, partitions)
        if self._held:
            await self._until_let_on(groups)
        direct = {partition: group for partition, group in groups.items() if self._is_direct(partition)}
        failed = await self._kafka.send(direct) if direct else {}
        if failed or len(direct) < len(groups):
            left = (group for partition, group in groups.items() if partition not in direct or partition in failed)
            await self._spool.append(list(chain.from_iterable(left)))

    async def keep_draining(self) -> None:
        """Bring what is spooled to Kafka, each partition's in order, until cancelled."""
        pausing = pauses()
        said = False
        while True:
            try:
                await self._drain()
            except SpoolError as error:
                if not said:
                    log.warning("spool not tidy", waiting=self._spool.records, error=str(error))
                said = True
                await asyncio.sleep(next(pausing))
            else:
                pausing, said = pauses(), False

    async def finish_batches(self) -> None:
        """Wait for the batches under way, and begin no other."""
        self._stopping = True
        await self._none_under_way.wait()

    def _is_direct(self, partition: int) -> bool:
        """Whether a partition's newcomers go to Kafka now."""
        if not self._kafka.takes(partition):
            return False
        if self._spool.records == 0:
            return True
        return self._spool.partitions == self._kafka.partitions and not self._spool.waiting(partition)

    async def _until_let_on(self, partitions: Mapping[int, object]) -> None:
        held = [event.wait() for partition, event in self._held.items() if partition in partitions]
        with suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER_SECONDS):
                await asyncio.gather(*held)

    async def _drain(self) -> None:
        """Wait for something to drain, drain it all, and tidy up behind it. Raises SpoolError."""
        if not self._untidy:
            await self._spool.until(lambda: self._spool.records > 0)
        self._untidy = True
        if self._spool.lines():
            await self._kafka.until_connected()
            began_with = self._spool.records
            async with self._draining() as kafka:
                await kafka.until_connected()
                if self._is_outgrown(kafka):
                    await self._spool.place(kafka.partitions)
                await self._drain_all(kafka)
            if not self._spool.records:
                log.info("spool drained", began_with=began_with)
        await self._spool.tidy()
        self._untidy = False

    async def _drain_all(self, kafka: Kafka) -> None:
        """Drain all partitions, what comes to them meanwhile too. Return early if their number changes."""
        at_work: set[int] = set()
        async with asyncio.TaskGroup() as group:
            drains: set[asyncio.Task[None]] = set()

            def to_do() -> bool:
                return not self._spool.records or self._is_outgrown(kafka) or bool(self._spool.lines() - at_work)

            while self._spool.records and not self._is_outgrown(kafka):
                for partition in self._spool.lines() - at_work:
                    at_work.add(partition)
                    drain = group.create_task(self._drain_partition(kafka, partition, at_work), name="drain the spool")
                    drains.add(drain)
                    drain.add_done_callback(drains.discard)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TIDY_SECONDS):
                        await self._spool.until(to_do)
                        continue
                with suppress(SpoolError):  # it is tidied again
                    await self._spool.tidy()
            for drain in drains:
                drain.cancel()

    def _is_outgrown(self, kafka: Kafka) -> bool:
        """Whether the spool is kept by another number of partitions than the topic has."""
        return kafka.partitions not in (0, self._spool.partitions)

    async def _drain_partition(self, kafka: Kafka, partition: int, at_work: set[int]) -> None:
        """Drain one partition until nothing waits for it; while it does not take it, try again and again.

        What fails is tried in smaller batches: one record that Kafka does not take holds up none before it, and after
        `STUMBLES` none behind it.
        """
        pausing, most, stumbles = pauses(LONGEST_PAUSE_SECONDS), BATCH_RECORDS, 0
        failed = said = False
        while waiting := self._spool.waiting(partition):
            await kafka.until_connected()
            try:
                await self._drain_batch(kafka, partition, most, last=waiting <= most and not failed)
            except (UnavailableError, SpoolError) as error:
                if isinstance(error, DoubtfulError) and most == 1:
                    stumbles += 1
                    if stumbles >= STUMBLES and await self._set_first_aside(partition, str(error)):
                        stumbles = 0
                        continue
                failed, most = True, max(1, most // 2)
                if kafka.connected and not said:  # else it is said for all partitions
                    _interrupted(partition, waiting, str(error))
                    said = True
                await asyncio.sleep(next(pausing))
            else:
                pausing, most, stumbles = pauses(LONGEST_PAUSE_SECONDS), min(2 * most, BATCH_RECORDS), 0
                failed = said = False
        at_work.discard(partition)
        await self._spool.stir()

    async def _drain_batch(self, kafka: Kafka, partition: int, most: int, *, last: bool) -> None:
        if self._stopping or self._is_outgrown(kafka):
            await self._spool.stir()
            await asyncio.Event().wait()  # until cancelled
        suspicion = asyncio.get_running_loop().call_later(
            SAID_SECONDS, _interrupted, partition, self._spool.waiting(partition), "it has no leader, or refuses"
        )
        try:
            with self._counted(), self._holding(partition) if last else nullcontext():
                if last:
                    await self._spool.settled(partition)
                size = min(BATCH_BYTES, BATCHES_BYTES // self._spool.partitions)
                if batch := await self._spool.first(partition, most, size):
                    await self._publish(kafka, partition, batch)
        finally:
            suspicion.cancel()

    async def _publish(self, kafka: Kafka, partition: int, batch: Sequence[Spooled]) -> None:
        """Publish a partition's batch; where Kafka refuses one of it for good, find that one and set it aside."""
        error = (await kafka.send({partition: [each.record for each in batch]}, STUCK_SECONDS)).get(partition)
        done = len(batch) if error is None else error.acknowledged
        if done:
            await self._discard(partition, batch[:done])
        if error is None or done == len(batch):
            return
        rest = batch[done:]
        if not isinstance(error, RefusedError):
            raise error
        if len(rest) == 1:
            await self._set_aside(partition, rest[0], str(error))
            return
        middle = len(rest) // 2
        await self._publish(kafka, partition, rest[:middle])
        await self._publish(kafka, partition, rest[middle:])

    async def _discard(self, partition: int, batch: Sequence[Spooled]) -> None:
        self._metrics.spool_drained.inc(len(batch))
        try:
            await self._spool.discard(partition, batch)
        except SpoolError as error:
            log.warning("spool not deleted yet", error=str(error))

    async def _set_aside(self, partition: int, spooled: Spooled, reason: str) -> None:
        await self._spool.set_aside(partition, spooled, reason)
        self._metrics.spool_refused.inc()
        log.error("record refused by kafka", seq=spooled.seq, bytes=spooled.size, reason=reason)

    async def _set_first_aside(self, partition: int, reason: str) -> bool:
        """Set a partition's first one aside. Say whether it is."""
        try:
            (first,) = await self._spool.first(partition, 1, 0)
            await self._set_aside(partition, first, reason)
        except SpoolError as error:
            log.warning("spool not tidy", waiting=self._spool.records, error=str(error))
            return False
        return True

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a batch that is under way."""
        self._under_way += 1
        self._none_under_way.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._none_under_way.set()

    @contextmanager
    def _holding(self, partition: int) -> Iterator[None]:
        """Hold a partition's newcomers up, not for long."""
        self._held[partition] = event = asyncio.Event()
        patience = asyncio.get_running_loop().call_later(HANDOVER_SECONDS, event.set)
        try:
            yield
        finally:
            patience.cancel()
            event.set()
            del self._held[partition]


def _interrupted(partition: int, waiting: int, error: str) -> None:
    log.warning("draining interrupted", partition=partition, waiting=waiting, error=error)


@asynccontextmanager
async def spooling_publisher(
    kafka: Kafka, draining: Draining, spool: Spool, metrics: IngestMetrics
) -> AsyncIterator[SpoolingPublisher]:
    """Give a publisher that drains the spool in the background. What is left at the end stays for the next start."""
    publisher = SpoolingPublisher(kafka, draining, spool, metrics)
    metrics.spool_records.set_function(lambda: spool.records)
    metrics.spool_oldest_age.set_function(lambda: spool.oldest_age_seconds)
    metrics.spool_refused_records.set_function(lambda: spool.refused)
    metrics.spool_bytes.set_function(lambda: spool.bytes)
    metrics.spool_limit.set(spool.max_bytes)
    metrics.spool_age_limit.set(spool.max_age.total_seconds())
    async with asyncio.TaskGroup() as group:
        drain = group.create_task(publisher.keep_draining(), name="drain the spool")
        try:
            yield publisher
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    await publisher.finish_batches()
        finally:
            drain.cancel()
