"""Kafka while it takes records, else the spool; and the way back from the one to the other.

While anything is spooled, newcomers queue behind it, so that a shipment's records stay in order. Before the last
batch of a spool is drained newcomers are held up for the few milliseconds it takes: else a steady stream would go
through the spool for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal, Protocol

import structlog

from ingest.errors import RefusedError, SpoolError, UnavailableError
from ingest.publisher import pauses
from ingest.records import Records
from ingest.spool import BATCH_RECORDS, Spool
from ingest.spool_file import Spooled
from runtime.metrics import IngestMetrics

DRAIN_SECONDS: Final = 10.0
"""How long a batch of the spool may take. Nobody waits for it, and a broker that is just back is slow."""

HANDOVER_SECONDS: Final = 1.0
"""How long a webhook waits for the last batch; then it joins the spool."""

GRACE_SECONDS: Final = 1.0
"""How long a batch under way may take at a stop. One that is cut off comes twice."""

log = structlog.get_logger(__name__)

Taking = Literal["kafka", "spool"]
"""Who keeps the next record."""


class Kafka(Protocol):
    """What is asked of the publisher to Kafka. See `KafkaPublisher`."""

    @property
    def connected(self) -> bool: ...  # noqa: D102

    async def until_connected(self) -> None: ...  # noqa: D102

    async def publish(self, records: Records, within: float | None = None) -> None: ...  # noqa: D102


class SpoolingPublisher:
    """Keeps records whether Kafka is there or not, while `keep_draining` runs."""

    def __init__(self, kafka: Kafka, spool: Spool, metrics: IngestMetrics) -> None:
        """Publish to Kafka where nothing is spooled."""
        self._kafka = kafka
        self._spool = spool
        self._metrics = metrics
        self._open = asyncio.Event()
        """Clear while newcomers are held up."""
        self._open.set()
        self._at_work = asyncio.Lock()
        self._untidy = True

    @property
    def taking(self) -> Taking | None:
        """Who keeps the next record; None if nobody does."""
        if self._spool.records == 0 and self._kafka.connected:
            return "kafka"
        return "spool" if self._spool.takes else None

    async def publish(self, records: Records) -> None:
        """Append records to the raw topic, or to the spool if that cannot be now. See `Publisher`."""
        if not self._open.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(HANDOVER_SECONDS):
                    await self._open.wait()
        if self._spool.records == 0 and self._kafka.connected:
            with suppress(UnavailableError):
                await self._kafka.publish(records)
                return
        await self._spool.append(records)

    async def keep_draining(self) -> None:
        """Bring what is spooled to Kafka, in order, until cancelled."""
        pausing = pauses()
        said = False
        while True:
            try:
                await self._drain()
            except (UnavailableError, SpoolError) as error:
                if not said:
                    log.warning("draining interrupted", waiting=self._spool.records, error=str(error))
                said = True
                await asyncio.sleep(next(pausing))
            else:
                pausing, said = pauses(), False

    async def finish_batch(self) -> None:
        """Wait for the batch under way, and begin no other."""
        await self._at_work.acquire()

    async def _drain(self) -> None:
        """Wait for something to drain, and drain it all."""
        if not self._untidy:
            await self._spool.until_any()
        self._untidy = True
        began_with = self._spool.records
        while self._spool.records:
            await self._kafka.until_connected()
            async with self._at_work:
                await self._drain_batch()
        await self._spool.tidy()
        self._untidy = False
        if began_with:
            log.info("spool drained", began_with=began_with)

    async def _drain_batch(self) -> None:
        if self._spool.records <= BATCH_RECORDS:
            self._open.clear()
        try:
            if not self._open.is_set():
                await self._spool.settled()
            if batch := await self._spool.first():
                await self._publish(batch)
        finally:
            self._open.set()

    async def _publish(self, batch: Sequence[Spooled]) -> None:
        """Publish a batch; where Kafka refuses one of it for good, find that one and set it aside."""
        try:
            await self._kafka.publish([spooled.record for spooled in batch], DRAIN_SECONDS)
        except RefusedError as refusal:
            if len(batch) == 1:
                await self._set_aside(batch[0], str(refusal))
                return
            middle = len(batch) // 2
            await self._publish(batch[:middle])
            await self._publish(batch[middle:])
            return
        self._metrics.spool_drained.inc(len(batch))
        try:
            await self._spool.discard(batch)
        except SpoolError as error:
            log.warning("spool not deleted yet", error=str(error))

    async def _set_aside(self, spooled: Spooled, reason: str) -> None:
        await self._spool.set_aside(spooled, reason)
        self._metrics.spool_refused.inc()
        log.error("record refused by kafka", seq=spooled.seq, bytes=spooled.size, reason=reason)


@asynccontextmanager
async def spooling_publisher(kafka: Kafka, spool: Spool, metrics: IngestMetrics) -> AsyncIterator[SpoolingPublisher]:
    """Give a publisher that drains the spool in the background. What is left at the end stays for the next start."""
    publisher = SpoolingPublisher(kafka, spool, metrics)
    metrics.spool_records.set_function(lambda: spool.records)
    metrics.spool_oldest_age.set_function(lambda: spool.oldest_age_seconds)
    async with asyncio.TaskGroup() as group:
        draining = group.create_task(publisher.keep_draining(), name="drain the spool")
        try:
            yield publisher
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    await publisher.finish_batch()
        finally:
            draining.cancel()
