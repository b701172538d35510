"""How commands read what stands on the command line. Each reader is an argparse `type`."""

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.values import duration
from schemas.decisions import MAX_DECIDED
from schemas.times import read_time
from schemas.tolerant_json import unstorable

_SEAM: Final = re.compile(r"(?<=[a-z])(?=\d)", re.ASCII)
"""Between the parts of a duration such as 1h30m."""


def moment(text: str, now: datetime | None = None) -> datetime:
    """Read a moment: RFC 3339 with its zone, or a duration ago such as `2h` or `1h30m`. In UTC.

    `now` is what durations count back from; the clock's by default.

    Raises:
        ArgumentTypeError: it is neither.

    """
    try:
        return (now or datetime.now(UTC)) - length(text)
    except OverflowError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is too long ago") from error
    except argparse.ArgumentTypeError as error:
        found = read_time(text.strip().upper(), UTC)
        if found is None:
            raise argparse.ArgumentTypeError(
                f"{text!r} is neither a time such as 2026-11-23T08:30:00Z nor a duration ago such as 2h or 3d"
            ) from error
        at, has_zone = found
        if not has_zone:
            raise argparse.ArgumentTypeError(f"{text!r} has no zone: add Z, or an offset such as +07:00") from error
        return at


def length(text: str) -> timedelta:
    """Read a duration: `90s`, `2h`, `3d`, `1h30m`.

    Raises:
        ArgumentTypeError: it is none.

    """
    try:
        return sum((duration(part) for part in _SEAM.split(text.strip())), timedelta())
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 2h, 3d or 1h30m") from error


def positive(text: str) -> int:
    """Read a whole number above 0, below a billion.

    Raises:
        ArgumentTypeError: it is none.

    """
    if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999999")
    return int(text)


def why(text: str) -> str:
    """Read the reason of a decision: some text, of bounded length.

    Raises:
        ArgumentTypeError: it is empty, too long, or cannot be stored.

    """
    if not text.strip() or len(text) > MAX_DECIDED or unstorable(text):
        raise argparse.ArgumentTypeError(f"give a reason of 1 to {MAX_DECIDED} characters")
    return text


LISTED: Final = 100
"""How many lines of a list a person is shown unless told otherwise: a few screens."""


def most_listed(arguments: argparse.Namespace) -> int | None:
    """Return how many a list gives: what `--limit` says, else a few screens, or all of it as JSON."""
    limit: int | None = arguments.limit
    return limit or (None if arguments.json else LISTED)


def offer_json(parser: argparse.ArgumentParser) -> None:
    """Offer what every command has that prints data."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def offer_personal(parser: argparse.ArgumentParser) -> None:
    """Offer what every command has that prints what may hold personal data."""
    parser.add_argument("--show-personal", action="store_true", help="show personal data; that is noted in the log")
