"""How a consumer takes a log's batches apart into records.

aiokafka takes every header's name for UTF-8. Brokers do not look at names, so anybody who may append can write one that
is not, and then the whole batch could be read by nobody. Reaches into aiokafka 0.14.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from struct import unpack_from
from typing import Any, Final

import aiokafka.consumer.fetcher
import msgspec
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from schemas.records import RawRecord

_LENGTH_AT: Final = 8
"""Where a batch says how long it is, from behind that number on."""

_LENGTH_SIZE: Final = 4


class Records:
    """The batches of a fetched log, as aiokafka's `MemoryRecords` gives them.

    Of a header's name the bytes that are no UTF-8 are written as `\\xff`.
    """

    def __init__(self, data: bytes) -> None:
        """Begin with the first batch."""
        self._data = data
        self._start = 0
        self._records = MemoryRecords(data)

    def has_next(self) -> bool:
        """Whether another whole batch was fetched."""
        found: bool = self._records.has_next()
        return found

    def size_in_bytes(self) -> int:
        """Return how much was fetched, an incomplete batch at the end included."""
        return len(self._data)

    def next_batch(self) -> Any:
        """Return the next batch.

        Raises:
            CorruptRecordException: it is none.

        """
        batch = self._records.next_batch()
        (length,) = unpack_from(">i", self._data, self._start + _LENGTH_AT)
        start, self._start = self._start, self._start + _LENGTH_AT + _LENGTH_SIZE + length
        return _Batch(batch, memoryview(self._data)[start : self._start])


class _Batch:
    """A batch that is read by aiokafka's fast reader, and from a record that this cannot read on by the slow one."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        given = 0
        try:
            for record in self._batch:
                yield record
                given += 1
        except (UnicodeDecodeError, CorruptRecordException):
            yield from islice(_read_slowly(self._data), given, None)


def _read_slowly(data: memoryview) -> Iterator[Any]:
    batch = _DefaultRecordBatchPy(data)
    batch._maybe_uncompress()
    batch._buffer = _Lenient(batch._buffer)
    yield from batch


class _Lenient(bytearray):
    """Bytes whose every slice can be decoded."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class ConsumerRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as a consumer gives it, like aiokafka's `ConsumerRecord`, which takes ten times as long to make."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    checksum: int | None
    serialized_key_size: int
    serialized_value_size: int
    headers: Sequence[tuple[str, bytes]]


def read_any_name() -> None:
    """Have every consumer of this process read records whatever their headers are called, and read them fast."""
    aiokafka.consumer.fetcher.MemoryRecords = Records
    aiokafka.consumer.fetcher.ConsumerRecord = ConsumerRecord


def raw_record(record: Any) -> RawRecord:
    """Return what a consumer gives as a raw record."""
    return RawRecord(record.partition, record.offset, record.key, record.value, tuple(record.headers), record.timestamp)
