"""The processor's side of PostgreSQL: what a batch needs, and one transaction a batch."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Final

from processor.core.cursor import Cursor
from processor.core.errors import ClaimLostError
from processor.core.plan import Plan
from processor.core.reading import Reading, decisions
from processor.core.roots import Roots
from processor.core.state import Shipment
from processor.protocol.crash_points import Reached, Step, no_one
from processor.storage.batch import BatchRows, write_batch
from processor.storage.commands import applied_before, load_roots, written_decisions
from processor.storage.data_errors import blaming_data
from processor.storage.outputs import OutputChunk, stored_outputs
from processor.storage.shipments import load_shipments
from runtime.postgres import Connections
from runtime.queries import load_queries

_Q: Final = load_queries("processor.storage")


class Store:
    """One raw topic's tables."""

    def __init__(self, pool: Connections, reached: Reached = no_one) -> None:
        """Keep the pool. Every method takes one connection of it for its own time."""
        self._pool = pool
        self._reached = reached

    async def now(self) -> datetime:
        """Return the time by PostgreSQL's clock: one for all processors, whatever their machines' clocks say."""
        async with self._pool.acquire() as connection:
            now: datetime = await connection.fetchval(_Q["now"])
        return now

    async def load(self, shipment_ids: Iterable[str]) -> dict[str, Shipment]:
        """Return those of the shipments that anything is known of.

        Raises:
            UnstorableError: the database refuses an id.
            StoredRowError: something stored about one of them cannot be read.

        """
        found, _ = await self.load_some(sorted(shipment_ids), None)
        return found

    async def load_some(self, shipment_ids: Sequence[str], most: int | None) -> tuple[dict[str, Shipment], int]:
        """Load shipments in this order until they weigh more than `most` bytes.

        Return those that anything is known of, and for how many of the ids that speaks. Raises as `load` does.
        """
        if not shipment_ids:
            return {}, 0
        with blaming_data():
            async with self._pool.acquire() as connection, connection.transaction():
                return await load_shipments(connection, shipment_ids, most)

    async def recall(self, readings: Iterable[Reading]) -> tuple[frozenset[str], Roots]:
        """Return which of a batch's command ids were applied, and what is known of the roots it reads again.

        Raises:
            UnstorableError: the database refuses one of them.

        """
        appended = [each for each in readings if each.command_id is not None or each.root is not None]
        if not appended:
            return frozenset(), {}
        commands = {each.command_id for each in appended if each.command_id is not None}
        roots = {each.root for each in appended if each.root is not None}
        with blaming_data():
            async with self._pool.acquire() as connection:
                return await applied_before(connection, commands), await load_roots(connection, roots)

    async def written_down(self, readings: Iterable[Reading]) -> frozenset[tuple[str, bytes]]:
        """Return the decisions that the operators' log has under a batch's command ids, whatever they say.

        They stand there before they are appended.
        """
        commands = {decision.command_id for decision in decisions(readings) if decision.command_id}
        if not commands:
            return frozenset()
        with blaming_data():
            async with self._pool.acquire() as connection:
                return await written_decisions(connection, commands)

    async def apply(self, partition: int, held: Cursor, moved: Cursor, plan: Plan, now: datetime) -> None:
        """Write a batch and move the cursor from `held` to `moved`, in one transaction.

        Raises:
            ClaimLostError: another claim has taken the partition over.
            UnstorableError: the database refuses a value of the batch. Nothing was written.
            StoredRowError: what is to be erased cannot be read. Nothing was written.

        """
        rows = BatchRows.of(plan, held.incarnation, now)
        with blaming_data():
            async with self._pool.acquire() as connection, connection.transaction():
                await write_batch(connection, partition, held, moved, rows)
                self._reached(Step.WRITTEN)

    async def note_emitted(self, partition: int, cursor: Cursor, emitted: int) -> None:
        """Remember how far is published, when no batch comes along to carry it.

        Raises:
            ClaimLostError: another claim has taken the partition over.

        """
        async with self._pool.acquire() as connection:
            noted = await connection.fetchval(_Q["note_emitted"], partition, cursor.epoch, emitted)
        if noted is None:
            raise ClaimLostError("another claim has taken the partition over")

    def stored(self, partition: int, cursor: Cursor, start: int) -> AsyncIterator[OutputChunk]:
        """Return the outputs stored for the causes from `start` up to the cursor, in chunks. The last ends there."""
        return stored_outputs(self._pool, partition, cursor, start)
