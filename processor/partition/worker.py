"""One partition's worker: claim, then batch after batch. It alone writes the partition's shipments.

A batch is one PostgreSQL transaction, then one Kafka transaction (`batches`). After any doubt everything in memory is
dropped and the partition claimed anew (`claiming`): what is to be published then comes from the database, never from
memory.
"""

import asyncio
from contextlib import suppress

import structlog
from aiokafka import TopicPartition

from processor.core.errors import HaltError, MendableError
from processor.kafka.feed import Feed
from processor.partition.batches import Batches
from processor.partition.claiming import Claiming
from processor.partition.doubts import DOUBTS
from processor.partition.publishing import Publishing
from processor.partition.shared import Shared
from processor.partition.standing import Standing
from processor.pauses import pause

log = structlog.get_logger(__name__)


class Worker:
    """Applies one partition from its assignment until `stop`."""

    def __init__(self, shared: Shared, partition: int) -> None:
        """Prepare; `run` does the work."""
        self._shared = shared
        self._feed = Feed(shared.consumer, TopicPartition(shared.stream.raw_topic, partition))
        self._stopping = asyncio.Event()
        self.standing = Standing(partition, self._feed)
        self._claiming = Claiming(shared, self.standing, self._feed)
        self._batches = Batches(shared, self._claiming, self._feed, self._stopping)
        self._publishing = Publishing(shared, partition)

    def stop(self) -> None:
        """Ask for an orderly end: the piece in hand is finished. Nothing is fetched any more."""
        self._stopping.set()
        self._feed.close()

    async def run(self) -> None:
        """Claim and work until stopped."""
        while not self._stopping.is_set():
            try:
                await self._claim()
                await self._batches.work()
            except MendableError as error:
                self.standing.halt(str(error))
                await self._drop_claim()
                await self._wait_until_mended()
                self.standing.mended()
            except HaltError as error:
                self.standing.halt(str(error))
                with suppress(*DOUBTS):  # what is stored is published; else the next claim does it
                    await self._batches.remember()
                await self._drop_claim()
                await self._stopping.wait()
            except DOUBTS as error:
                self.standing.doubt(error, stores_work=self._shared.stores_work(), stopping=self._stopping.is_set())
            finally:
                # A worker that is cancelled just now still closes its producer.
                await asyncio.shield(self._drop_claim())
            await self.standing.pause(self._stopping)

    async def _claim(self) -> None:
        timeless = self._publishing.refused
        self._publishing = Publishing(self._shared, self.standing.partition, timeless=timeless)
        self._batches.begin(await self._claiming.take_over(self._publishing), self._publishing)

    async def _drop_claim(self) -> None:
        self.standing.dropped()
        self._batches.drop()
        await self._publishing.close()

    async def _wait_until_mended(self) -> None:
        """Look, without claiming, until the partition can go on."""
        attempt = 0
        while not self._stopping.is_set():
            attempt += 1
            await pause(attempt, self._stopping)
            with suppress(*DOUBTS):
                if await self._claiming.could_resume():
                    log.info("partition mended", partition=self.standing.partition)
                    self.standing.halted = None
                    return
