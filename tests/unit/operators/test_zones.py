"""When a courier's times without a zone look like those of another zone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from operators.doctor.finding import Level
from operators.doctor.postgres import of_zone
from operators.doctor.zones import FEWEST, Shifted, shifted
from processor.core.reading import Read, read
from runtime.settings import load_settings
from schemas.observation import Observation
from schemas.records import RawRecord
from schemas.vocabulary import Source
from tests.integration.system import dash, raw_records

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
SETTINGS = load_settings({})


def told(zone: str, late: Sequence[timedelta], received: datetime = NOW) -> list[Observation]:
    """Read webhooks whose times are written in a zone, each received so long after what it tells."""
    found = []
    for number, each in enumerate(late):
        local = (received - each).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")
        body = {"method": "shipped_packages", "data": [{"order_id": f"O-{number}", "shipped_at": local}]}
        found += observations("kiriminaja", msgspec.json.encode(body), received)
    return found


def observations(courier: str, body: bytes, received: datetime = NOW) -> list[Observation]:
    found = []
    for each in raw_records(courier, body, received):
        record = RawRecord(0, 0, each.key, each.value, tuple(each.headers), each.timestamp_ms)
        reading = read(record, SETTINGS.assumed_zone, 1)
        assert isinstance(reading, Read)
        found.append(reading.observation)
    return found


SOON = [timedelta(seconds=seconds) for seconds in (2, 30, 45, 90, 300, 7200, 86400)]


@pytest.mark.parametrize(
    ("zone", "hours", "offset"),
    [
        ("Asia/Makassar", -1, "UTC+08:00"),
        ("Asia/Jayapura", -2, "UTC+09:00"),
        ("UTC", 7, "UTC+00:00"),
        ("America/New_York", 12, "UTC-05:00"),
    ],
)
def test_another_zone_is_told(zone: str, hours: int, offset: str) -> None:
    (found,) = shifted(told(zone, SOON), SETTINGS.assumed_zone)
    assert found == Shifted("kiriminaja", "KIRIMINAJA_PUSH_TIMEZONE", hours, len(SOON), offset)
    finding = of_zone(found)
    assert finding.level is Level.WARN
    assert "WAYBILL_KIRIMINAJA_PUSH_TIMEZONE" in (finding.mend or "")


@pytest.mark.parametrize(
    ("zone", "late"),
    [
        ("Asia/Jakarta", SOON),
        ("Asia/Jakarta", [timedelta(minutes=25)] * 9),  # a slow courier
        ("Asia/Jakarta", [timedelta(days=3)] * 9),  # a backlog, and no zone
        ("UTC", SOON[: FEWEST - 1]),  # too few to tell
    ],
)
def test_nothing_is_told_where_it_may_well_be_so(zone: str, late: Sequence[timedelta]) -> None:
    assert list(shifted(told(zone, late), SETTINGS.assumed_zone)) == []


def test_only_the_newest_count() -> None:
    before = told("UTC", SOON * 100, NOW - timedelta(days=30))
    assert list(shifted([*before, *told("Asia/Jakarta", SOON * 100)], SETTINGS.assumed_zone)) == []


def test_times_with_a_zone_pulled_ones_and_couriers_without_the_setting_do_not_count() -> None:
    with_zone = [
        msgspec.json.encode(
            {"method": "shipped_packages", "data": [{"order_id": f"Z{n}", "shipped_at": "2026-11-20T02:00:00+07:00"}]}
        )
        for n in range(9)
    ]
    naive = [dash(f"N{n}", "VERIFIED", 0, updatedAt="2026-11-20 02:00:00") for n in range(9)]
    pulled = [msgspec.structs.replace(each, source=Source.PULL) for each in told("UTC", SOON)]
    found = [
        *(each for body in with_zone for each in observations("kiriminaja", body)),
        *(each for body in naive for each in observations("dash", body)),
        *pulled,
    ]
    assert list(shifted(found, SETTINGS.assumed_zone)) == []
