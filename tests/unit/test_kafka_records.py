"""Records are read whatever their headers are called, and what is not a record is still said to be corrupt."""

from importlib import import_module

import aiokafka.consumer.fetcher
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from hypothesis import given
from hypothesis import strategies as st

from runtime.kafka_records import Records
from tests.integration.strange import CODECS, Name


def batch(names: list[bytes], compression: int = 0) -> bytes:
    """Write a batch of a record for each name."""
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, 0, 2**30)
    for offset, name in enumerate(names):
        assert builder.append(offset, offset, b"k", b"v%d" % offset, [("a", b"1"), (Name(name), b"2"), ("b", None)])
    return bytes(builder.build())


def read(data: bytes) -> list[list[tuple[int, bytes, tuple[str, ...]]]]:
    records, found = Records(data), []
    while records.has_next():
        each = records.next_batch()
        assert each.validate_crc()
        found.append([(one.offset, one.value, tuple(name for name, _ in one.headers)) for one in each])
    return found


def test_consumers_read_so() -> None:
    assert import_module("runtime.kafka")
    assert aiokafka.consumer.fetcher.MemoryRecords is Records


@given(st.lists(st.lists(st.binary(max_size=5), min_size=1, max_size=4), max_size=3), st.sampled_from([0, *CODECS]))
def test_a_name_that_is_no_utf_8_is_written_out(batches: list[list[bytes]], compression: int) -> None:
    expected = [
        [(at, b"v%d" % at, ("a", name.decode(errors="backslashreplace"), "b")) for at, name in enumerate(names)]
        for names in batches
    ]
    data = b"".join(batch(names, compression) for names in batches)
    assert read(data) == expected
    assert read(data + b"\0" * 5) == expected


def test_what_is_no_record_is_corrupt() -> None:
    data = bytearray(batch([b"\xff", b"x"]))
    data[-1] = 8  # the length of the last header's value: 4, where nothing is left
    records = Records(bytes(data))
    with pytest.raises(CorruptRecordException):
        list(records.next_batch())
