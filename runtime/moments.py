"""Moments and durations as operators write them. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.values import duration
from schemas.times import read_time

_SEAM: Final = re.compile(r"(?<=[a-z])(?=\d)", re.ASCII)
"""Between the parts of a duration such as 1h30m."""


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that a text means, in UTC: RFC 3339 with its zone, or a duration ago such as `2h` or `1h30m`.

    Raises:
        ValueError: it is neither. The text is the whole complaint.

    """
    try:
        ago = length(text)
    except ValueError:
        return _time(text)
    try:
        return now - ago
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long ago") from error


def length(text: str) -> timedelta:
    """Return the duration that a text means: `90s`, `2h`, `3d`, `1h30m`.

    Raises:
        ValueError: it is none. The text is the whole complaint.

    """
    try:
        return sum((duration(part) for part in _SEAM.split(text.strip())), timedelta())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a duration such as 90s, 2h, 3d or 1h30m") from error


def _time(text: str) -> datetime:
    found = read_time(text.strip().upper(), UTC)
    if found is None:
        raise ValueError(f"{text!r} is neither a time such as 2026-11-23T08:30:00Z nor a duration ago such as 2h or 3d")
    at, has_zone = found
    if not has_zone:
        raise ValueError(f"{text!r} has no zone: add Z, or an offset such as +07:00")
    return at
