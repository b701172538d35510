"""What waits in the spool, by partition, and a webhook's records as rows of it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from ingest.spool_db import size_of, write_headers
from schemas.partitioning import hash_of
from schemas.records import NewRecord

ROWS_A_STATEMENT: Final = 50
"""Python's lock is fought for once a statement: beside a busy event loop several rows in one are 3 times faster."""

Row = tuple[bytes, bytes, bytes, int, int]
"""Key, value, headers, timestamp in milliseconds, the key's hash."""


class Line(msgspec.Struct):
    """What waits for one partition: how many records, when the first was received (milliseconds since the epoch)."""

    records: int
    oldest_ms: int
    old: int = 0
    """How many of them an older version of Waybill has left."""


def join(lines: dict[int, Line], behind: dict[int, Line]) -> None:
    """Put the records of `behind` behind those of `lines`."""
    for partition, line in behind.items():
        ahead = lines.get(partition)
        if ahead is None:
            lines[partition] = line
        else:
            ahead.records += line.records
            ahead.old += line.old


class WebhookRows:
    """A webhook's records as rows, some at a time while there is room, and what they came to."""

    def __init__(self, records: Iterable[NewRecord], partitions: int, room: int) -> None:
        """Begin. `room` is how many bytes there are."""
        self._records = records
        self._partitions = partitions
        self._room = room
        self.fits = True
        self.bytes = 0
        self.lines: dict[int, Line] = {}

    def __iter__(self) -> Iterator[list[Row]]:
        """Return the rows, as many at a time as one statement takes. They end early where there is no more room."""
        rows = (
            (key, record.value, write_headers(record.headers), record.timestamp_ms, hash_of(key))
            for record in self._records
            for key in (record.key or b"",)
        )
        while batch := list(islice(rows, ROWS_A_STATEMENT)):
            self.bytes += sum(size_of(*row[:3]) for row in batch)
            if self.bytes > self._room:
                self.fits = False
                return
            for *_, timestamp_ms, hash_ in batch:
                line = self.lines.setdefault(hash_ % self._partitions, Line(0, timestamp_ms))
                line.records += 1
            yield batch
