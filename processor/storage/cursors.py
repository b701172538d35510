"""Taking partitions over: the cursor rows of PostgreSQL."""

import asyncio
import secrets
from collections.abc import Awaitable
from typing import Any, Final

from processor.core.cursor import Cursor, Fingerprint, Stream
from runtime.postgres import Connection, Pool, connect
from runtime.queries import load_queries
from runtime.settings import Settings

CLAIM_PATIENCE_SECONDS: Final = 5.0
"""How long a claim waits for the cursor's row before it ends the sessions that hold it: a batch commits in less."""

_Q: Final = load_queries("processor.storage")


class Cursors:
    """One raw topic's cursors."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        """Keep the pool. Every method takes one connection of it for its own time."""
        self._settings = settings
        self._pool = pool

    async def look(self, partition: int, stream: Stream, log_start: int) -> Cursor:
        """Return a partition's cursor without claiming it, or how it would begin."""
        async with self._pool.acquire() as connection:
            return _seen(await _row(connection, partition, stream), partition, stream, log_start)

    async def claim(self, partition: int, stream: Stream, log_start: int) -> Cursor:
        """Take a partition over: from now on no earlier claim can write it.

        A partition seen for the first time starts at `log_start`. While a recovery is under way, or where the
        database belongs to another stream, the cursor is only looked at.
        """
        async with self._pool.acquire() as connection:
            row = await self._impatiently(connection, _claim(connection, partition, stream, log_start))
            if row is not None:
                return read_cursor(row)
            return _seen(await _row(connection, partition, stream), partition, stream, log_start)

    async def _impatiently(self, connection: Connection, claim: Awaitable[Any]) -> Any:
        """Wait for what may wait for a zombie's lock; end the zombie when that takes long."""
        claiming = asyncio.ensure_future(claim)
        try:
            done, _ = await asyncio.wait([claiming], timeout=CLAIM_PATIENCE_SECONDS)
            if not done:
                await self._end_blockers(connection.get_server_pid())
            return await claiming
        finally:
            claiming.cancel()
            await asyncio.wait([claiming])

    async def _end_blockers(self, waiting: int) -> None:
        """End the sessions of our role that the session `waiting` waits for.

        Over a connection of its own: those of the pool may all be held by claims that wait like this one.
        """
        connection = await connect(self._settings, "processor-claims")
        try:
            await connection.execute(_Q["blockers"], waiting)
        finally:
            connection.terminate()


async def _claim(connection: Connection, partition: int, stream: Stream, log_start: int) -> Any:
    """Claim the row, made first where there is none: to insert beside one that is locked waits for its lock, too."""
    seen = await _row(connection, partition, stream)
    if seen is None or seen["raw_partition"] != partition:
        await connection.execute(
            _Q["create_cursor"], partition, stream.raw_topic, stream.partitions, stream.consumer_group, log_start
        )
    return await connection.fetchrow(_Q["claim_cursor"], partition, secrets.randbits(63))


async def _row(connection: Connection, partition: int, stream: Stream) -> Any:
    return await connection.fetchrow(
        _Q["look_at_cursor"], partition, stream.raw_topic, stream.partitions, stream.consumer_group
    )


def _seen(row: Any, partition: int, stream: Stream, log_start: int) -> Cursor:
    """Return the partition's cursor, or how it would begin: in the stream that the database belongs to, if any."""
    if row is not None and row["raw_partition"] == partition:
        return read_cursor(row)
    known = stream if row is None else read_cursor(row).stream
    return Cursor(
        raw_topic=known.raw_topic,
        partitions=known.partitions,
        consumer_group=known.consumer_group,
        next_offset=log_start,
        emitted=log_start,
        epoch=0,
        began_at=log_start,
    )


def read_cursor(row: Any) -> Cursor:
    """Read a row of `cursors`."""
    values = dict(row)
    del values["raw_partition"]
    offset, found = values.pop("last_offset"), values.pop("last_digest")
    return Cursor(**values, last=None if offset is None else Fingerprint(offset, found))
