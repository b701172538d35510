"""How a recovery compares what the database derives with what is published, and stores corrections."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from aiokafka import TopicPartition

from processor.core.cursor import Cursor
from processor.core.errors import RecoveryError
from processor.core.outputs import Output
from processor.core.plan import MAX_BATCH
from processor.kafka.published import PublishedStates, published
from processor.protocol.crash_points import Reached, Step
from processor.protocol.repair import correction
from processor.recovery.look import STALL_SECONDS
from processor.storage.recovery import PAGE, RecoveryStore
from processor.storage.store import Store
from runtime.kafka_types import Consumer
from schemas.events import State
from schemas.partitioning import partition_of

Say = Callable[[str], None]
"""Takes a line of progress."""


class Comparing:
    """Compares the shipments of partitions with the published states."""

    def __init__(
        self, state_topic: str, reader: Consumer, store: Store, tables: RecoveryStore, reached: Reached
    ) -> None:
        """Keep the clients, which are started."""
        self._state_topic = state_topic
        self._reader = reader
        self._store = store
        self._tables = tables
        self._reached = reached

    async def compare(self, cursors: Mapping[int, Cursor], say: Say) -> None:
        """Compare the partitions' shipments with what is published; store a correction for each that differs."""
        if not cursors:
            return
        (partitions,) = {cursor.partitions for cursor in cursors.values()}
        with published(partitions) as states:
            for partition, cursor in cursors.items():
                await self._tables.forget_corrections(partition, cursor)
                await self.read_published(partition, states)
            compared = {partition: states.count(partition) for partition in cursors}
            corrections = dict.fromkeys(cursors, 0)
            async for partition, ids in self._pages(cursors, partitions, states):
                found, before = states.states(ids), corrections[partition]
                corrections[partition] += await self._compare_page(partition, cursors[partition], ids, found, before)
                states.drop(ids)
        for partition, cursor in cursors.items():
            self._reached(Step.PLANNED)
            emitted = cursor.next_offset - 1 if corrections[partition] else cursor.next_offset
            await self._tables.finish(partition, cursor, emitted)
            told = f"{compared[partition]} published shipments compared, {corrections[partition]} corrected"
            say(f"partition {partition}: {told}")

    async def _pages(
        self, cursors: Mapping[int, Cursor], partitions: int, states: PublishedStates
    ) -> AsyncIterator[tuple[int, list[str]]]:
        """Return the partitions' shipments, some at a time: those with a row, then those that are published alone."""
        async for page in self._tables.shipment_ids():
            by_home: dict[int, list[str]] = {}
            for each in page:
                by_home.setdefault(partition_of(each.encode(), partitions), []).append(each)
            for partition in by_home.keys() & cursors.keys():
                yield partition, by_home[partition]
        for partition in cursors:
            while ids := states.left(partition, PAGE):
                yield partition, ids

    async def _compare_page(
        self, partition: int, cursor: Cursor, ids: Sequence[str], published: Mapping[str, State | None], before: int
    ) -> int:
        shipments, said = await self._store.load(ids), await self._tables.newest(ids)
        now = await self._store.now()
        versions: dict[str, int] = {}
        lost: list[State] = []
        outputs: list[Output] = []
        for each in ids:
            state = published.get(each)
            shipment = shipments.get(each)
            if each in published and state is None:
                continue  # forgotten on purpose
            if shipment is not None and shipment.retired:
                continue
            if shipment is None or shipment.snapshot is None:
                if state is not None and (shipment is None or not shipment.version):
                    lost.append(state)
                elif state is not None:
                    versions[each] = state.version
                continue
            latest = said[each]
            corrected = correction(
                shipment,
                latest.observation,
                (cursor.raw_topic, latest.partition, latest.offset),
                state,
                (partition, cursor.next_offset - 1, before + len(outputs)),
                now,
            )
            if corrected is not None:
                outputs.append(corrected)
                assert corrected.version is not None
                versions[each] = corrected.version
            elif state is not None and state.version != shipment.version:
                versions[each] = state.version
        await self._tables.correct(partition, cursor, versions, lost, outputs, now)
        return len(outputs)

    async def read_published(self, partition: int, states: PublishedStates) -> None:
        """Take in a partition of the published states.

        Raises:
            RecoveryError: its log gives no record, though it has not ended.
            TimeoutError: nobody says where it begins.

        """
        topic = TopicPartition(self._state_topic, partition)
        self._reader.assign([topic])
        async with asyncio.timeout(STALL_SECONDS):
            await self._reader.seek_to_beginning(topic)
            end = (await self._reader.end_offsets([topic]))[topic]
        while (position := await self._reader.position(topic)) < end:
            fetched = await self._reader.getmany(topic, timeout_ms=int(STALL_SECONDS * 1000), max_records=MAX_BATCH)
            if not fetched and await self._reader.position(topic) == position:
                raise RecoveryError(f"{topic.topic}, partition {partition}, gives no record at offset {position}")
            states.take(partition, ((record.key, record.value) for record in fetched.get(topic, ())))
