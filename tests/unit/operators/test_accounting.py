"""Why a record that was applied may have no row."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from operators.audit.accounting import Gone, is_accounted
from processor.core.reading import Reading, read
from schemas.records import RawRecord, reread_headers
from tests.integration.system import START, dash, raw_records

NOW = datetime(2026, 11, 2, tzinfo=UTC)
KEPT = Gone(datetime.min.replace(tzinfo=UTC), START - timedelta(days=1))
LATER = Gone(START + timedelta(days=1), START + timedelta(days=1))


def reading(body: bytes, *, again: bool = False) -> Reading:
    (raw,) = raw_records("dash", body, START)
    record = RawRecord(0, 7, raw.key, raw.value, tuple(raw.headers), raw.timestamp_ms)
    if again:
        record = RawRecord(0, 9, raw.key, raw.value, tuple(reread_headers(record, "job/0:7")), raw.timestamp_ms)
    return read(record, lambda *_: UTC, 1)


KNOWN = reading(dash("A", "VERIFIED", 1))
AGAIN = reading(dash("A", "VERIFIED", 1), again=True)
BROKEN = reading(b"{")
TIMELESS = msgspec.structs.replace(BROKEN, record=msgspec.structs.replace(BROKEN.record, timestamp_ms=2**62))
"""Nobody can say that retention has not deleted its dead letter."""


@pytest.mark.parametrize(
    ("said", "gone", "row", "retired", "recovered", "accounted"),
    [
        (KNOWN, KEPT, True, False, False, False),
        (KNOWN, KEPT, True, False, True, False),
        (KNOWN, LATER, True, False, False, False),
        (KNOWN, KEPT, True, True, False, True),
        (KNOWN, KEPT, False, False, False, False),
        (KNOWN, LATER, False, False, False, True),
        (AGAIN, KEPT, True, False, False, True),
        (BROKEN, KEPT, False, False, False, False),
        (BROKEN, LATER, False, False, False, True),
        (BROKEN, KEPT, False, False, True, True),
        (TIMELESS, KEPT, False, False, False, False),
        (TIMELESS, LATER, False, False, False, True),
    ],
)
def test_a_record_without_a_row_is_accounted_for(
    said: Reading, gone: Gone, *, row: bool, retired: bool, recovered: bool, accounted: bool
) -> None:
    assert is_accounted(said, gone, row=row, retired=retired, recovered=recovered) is accounted
