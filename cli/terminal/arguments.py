"""How commands read what stands on the command line. Each reader is an argparse `type`."""

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime import moments
from schemas.decisions import MAX_DECIDED
from schemas.tolerant_json import unstorable


def moment(text: str, now: datetime | None = None) -> datetime:
    """Read a moment, in UTC; see `runtime.moments`. `now` is what durations count back from; the clock's.

    Raises:
        ArgumentTypeError: it is none.

    """
    try:
        return moments.moment(text, now or datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def length(text: str) -> timedelta:
    """Read a duration; see `runtime.moments`.

    Raises:
        ArgumentTypeError: it is none.

    """
    try:
        return moments.length(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
