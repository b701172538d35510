"""What comes of asking a courier about a shipment. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import msgspec

from runtime.metrics import AskResult
from schemas.couriers.base import WebhookItem

LONGEST_HOLD: Final = 3600.0
"""Seconds of `Retry-After` that are heeded: a typing error on the courier's side shall not stop us for a year."""


class Answered(msgspec.Struct, frozen=True, tag=True):
    """What the courier knows, as raw records, oldest first."""

    pieces: Sequence[WebhookItem]


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """The courier knows no such shipment. Counted, never appended."""


class Throttled(msgspec.Struct, frozen=True, tag=True):
    """We ask too often. `hold`: for how many seconds the courier wants to be left alone, if it says."""

    hold: float | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """No usable answer. `again`: another try may help at once. `why` holds no secret and nothing of the answer."""

    why: str
    again: bool = False
    hold: float | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Our credentials are not accepted: every further ask would fail, too."""

    why: str


AskOutcome = Answered | Unknown | Throttled | Failed | Refused


class Count(msgspec.Struct, frozen=True):
    """What a round, or a courier's part of it, came to. `appended` counts raw records, the others shipments."""

    asked: int = 0
    news: int = 0
    no_news: int = 0
    not_found: int = 0
    throttled: int = 0
    failed: int = 0
    refused: int = 0
    appended: int = 0

    def plus(self, said: AskResult, appended: int = 0) -> "Count":
        """Count one more."""
        return msgspec.structs.replace(
            self,
            asked=self.asked + 1,
            appended=self.appended + appended,
            **{said.value: getattr(self, said.value) + 1},
        )

    def __add__(self, other: "Count") -> "Count":
        """Sum up."""
        return Count(*(mine + its for mine, its in zip(_fields(self), _fields(other), strict=True)))


def _fields(count: Count) -> tuple[int, ...]:
    return msgspec.structs.astuple(count)


def outcome_of_status(status: int, headers: Mapping[str, str], now: datetime) -> AskOutcome | None:
    """Judge an answer by its status. None: its body tells."""
    hold = read_retry_after(headers.get("Retry-After"), now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(hold)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Failed(f"the courier answers {status}", again=True, hold=hold)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Refused(f"the courier answers {status} to our credentials")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Failed(f"the courier answers {status}, a redirect: these are not followed")
    if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        return None
    return Failed(f"the courier answers {status}")


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Read a `Retry-After` header, seconds or an HTTP date, into seconds from now. None: there is no usable one."""
    if text is None:
        return None
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return min(float(stripped[:9]), LONGEST_HOLD)
    try:
        until = parsedate_to_datetime(stripped)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), LONGEST_HOLD)
