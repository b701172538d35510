"""Times as couriers write them, and as Waybill writes them.

Waybill writes RFC 3339 in UTC with microseconds, always 27 characters.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

import msgspec

_READABLE: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)

_USUAL_LENGTHS: Final = frozenset({20, 24, 27})
"""Of `2026-11-27T10:00:00Z`, and of the same with milliseconds or microseconds: most times are written so."""

_LOCAL: Final = len("2026-11-27 10:00:00")

_read_usual: Final = msgspec.json.Decoder(datetime).decode
"""Reads RFC 3339 much faster than an expression does."""

BELIEVED_AHEAD: Final = timedelta(days=1)
"""How far a courier's time may lie after the time received and still be believed: a clock or a zone is wrong
beyond it."""


EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Between these lies every time that a record can have been received. Near the ends of the calendar neither Python's
arithmetic nor the database's is safe."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def moment_of(timestamp_ms: int) -> datetime | None:
    """Return the moment of a Kafka timestamp (milliseconds since the epoch); None: it cannot be a time of a record.

    Brokers take any number.
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None
    return moment if EARLIEST <= moment < LATEST else None


def milliseconds(moment: datetime) -> int:
    """Return the Kafka timestamp (milliseconds since the epoch) of a moment, without what is less than one."""
    return (moment - _EPOCH) // _MILLISECOND


_encode: Final = msgspec.json.Encoder().encode
_QUOTED: Final = len('"2026-11-27T10:00:00.000000Z"')


def format_time(moment: datetime) -> str:
    """Write a moment given in UTC as RFC 3339 with microseconds."""
    quoted = _encode(moment).decode()  # many times faster than `isoformat`
    return quoted[1:-1] if len(quoted) == _QUOTED else f"{quoted[1:20]}.000000Z"


format_shared_time: Final = lru_cache(maxsize=8)(format_time)
"""Writes a time that many things share, as what one batch publishes shares when it was recorded."""


def read_time(value: object, assumed_zone: tzinfo) -> tuple[datetime, bool] | None:
    """Read a courier's time.

    Returns the moment in UTC and whether the courier gave the zone, or None when the value is not a time that can be
    read. Digits beyond the microsecond are dropped.
    """
    if not isinstance(value, str):
        return None
    length = len(value)
    if length in _USUAL_LENGTHS and value[10] == "T" and value[-1] == "Z":
        try:
            return _read_usual(f'"{value}"'), True
        except (msgspec.DecodeError, UnicodeEncodeError):
            pass
    try:
        if length == _LOCAL and value[4] == value[7] == "-" and value[10] == " " and value[13] == value[16] == ":":
            return _in_zone(value, assumed_zone), False
        match = _READABLE.fullmatch(value.strip())
        if match is None:
            return None
        day, clock, fraction, zone = match.groups()
        written = f"{day}T{clock}{f'.{fraction[:6]:0<6}' if fraction else ''}"
        if zone is None:
            return _in_zone(written, assumed_zone), False
        return datetime.fromisoformat(f"{written}{'+00:00' if zone in 'Zz' else zone}").astimezone(UTC), True
    except (ValueError, OverflowError):
        return None


def _in_zone(local: str, zone: tzinfo) -> datetime:
    """Return the moment of a zone's local time. Raises `ValueError` and `OverflowError`."""
    moment = datetime.fromisoformat(f"{local}+00:00")
    offset = zone.utcoffset(moment)  # of the local time: a zone looks at nothing else, and this is five times as fast
    assert offset is not None
    return moment - offset


def latest_believed(received_at: datetime) -> datetime:
    """Return the latest of a courier's times that can be true: a day after the time received."""
    return received_at + BELIEVED_AHEAD
