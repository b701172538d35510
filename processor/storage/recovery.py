"""What `waybill recover` asks of PostgreSQL and writes there, each step in one transaction."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from processor.core.cursor import Cursor
from processor.core.errors import ClaimLostError
from processor.core.outputs import Output
from processor.storage.cursors import read_cursor
from processor.storage.outputs import OUTPUT_COLUMNS, output_record
from processor.storage.rows import json_text, read_reading, state_row
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.events import State
from schemas.observation import Observation

PAGE: Final = 2_000
"""Shipments looked at together."""

_Q: Final = load_queries("processor.storage")


class NewestObservation(msgspec.Struct, frozen=True):
    """An observation and the coordinates of its record."""

    observation: Observation
    partition: int
    offset: int


class RecoveryStore:
    """The tables, as a recovery changes them."""

    def __init__(self, pool: Pool) -> None:
        """Keep the pool."""
        self._pool = pool

    async def cursors(self) -> dict[int, Cursor]:
        """Return all cursors by partition."""
        async with self._pool.acquire() as connection:
            return {row["raw_partition"]: read_cursor(row) for row in await connection.fetch(_Q["all_cursors"])}

    async def claim(self, partition: int, epoch: int) -> Cursor:
        """Take a partition over, as a worker does, a recovery under way included."""
        async with self._pool.acquire() as connection:
            return read_cursor(await connection.fetchrow(_Q["claim_for_recovery"], partition, epoch))

    async def begin(self, cursors: Mapping[int, Cursor], gone: Iterable[int]) -> None:
        """Replace cursors by those their recovery begins with, all or none. Those of `gone` partitions are deleted.

        Raises:
            ClaimLostError: a processor has claimed one of them meanwhile. Nothing was changed.

        """
        async with self._pool.acquire() as connection, connection.transaction():
            for partition, cursor in sorted(cursors.items()):
                last = cursor.last
                values = (
                    *(cursor.raw_topic, cursor.partitions, cursor.consumer_group, cursor.next_offset, cursor.emitted),
                    *(cursor.incarnation, cursor.recovery, cursor.recover_until),
                    *((last.offset, last.digest) if last else (None, None)),
                    cursor.began_at,
                )
                if await connection.fetchval(_Q["begin_recovery"], partition, cursor.epoch, *values) is None:
                    raise ClaimLostError(f"a processor has claimed partition {partition} meanwhile")
            await connection.execute(_Q["delete_cursors"], list(gone))

    async def shipment_ids(self) -> AsyncIterator[list[str]]:
        """Return the ids of all shipments that have a row, page by page."""
        after = ""
        while True:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_Q["page_of_shipments"], after, PAGE)
            if not rows:
                return
            ids = [row["shipment_id"] for row in rows]
            yield ids
            after = ids[-1]

    async def newest(self, shipment_ids: Sequence[str]) -> dict[str, NewestObservation]:
        """Return what was said last about each of these shipments.

        Raises:
            StoredRowError: it is stored in a form that this version cannot read.

        """
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_Q["newest_observations"], list(shipment_ids))
        return {
            row["shipment_id"]: NewestObservation(read_reading(row), row["raw_partition"], row["raw_offset"])
            for row in rows
        }

    async def forget_corrections(self, partition: int, cursor: Cursor) -> None:
        """Delete what an interrupted comparison has stored; none of it was published."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._hold(connection, partition, cursor)
            await connection.execute(
                _Q["delete_outputs"], partition, cursor.incarnation, cursor.next_offset - 1, cursor.next_offset
            )

    async def correct(
        self,
        partition: int,
        cursor: Cursor,
        versions: Mapping[str, int],
        lost: Sequence[State],
        outputs: Sequence[Output],
        now: datetime,
    ) -> None:
        """Set versions, add rows for shipments that only the topics know, store corrections."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._hold(connection, partition, cursor)
            ids = sorted(versions)
            await connection.execute(_Q["set_versions"], ids, [versions[each] for each in ids])
            if lost:
                rows = [state_row(state, now) for state in lost]
                await connection.execute(_Q["upsert_shipments"], json_text(rows))
            if outputs:
                records = [output_record(output, cursor.incarnation) for output in outputs]
                await connection.copy_records_to_table("outputs", records=records, columns=OUTPUT_COLUMNS)

    async def finish(self, partition: int, cursor: Cursor, emitted: int) -> None:
        """End a partition's recovery. The next claim publishes what is stored from `emitted` on."""
        async with self._pool.acquire() as connection:
            if await connection.fetchval(_Q["finish_recovery"], partition, cursor.epoch, emitted) is None:
                raise ClaimLostError("another recovery has taken the partition over")

    async def _hold(self, connection: Any, partition: int, cursor: Cursor) -> None:
        if await connection.fetchval(_Q["hold_cursor"], partition, cursor.epoch) is None:
            raise ClaimLostError("another recovery has taken the partition over")
