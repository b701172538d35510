"""What the stored forms of observations and events have in common: their number, and the numbers of our words.

A form is a byte that numbers it, then MessagePack: values in a fixed order without names, words of our vocabulary as
numbers. What the row says in columns of its own is left out. A form never changes once it was stored: whoever needs
another one gives it a number, and keeps the way back from this one.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec

from schemas.vocabulary import EventType, Phase, Service, Source, Status, TimeSource, Transition, Word

FORM: Final = b"\x01"
"""Begins what is stored today."""

CODES: Final[Mapping[type[Word], str]] = {
    Status: "CREATED ALLOCATING NO_DRIVER VERIFIED NOT_VERIFIED PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_TRANSIT "
    "IN_DELIVERY FAILED DELIVERED RETURNING RETURNED CANCELLED LOST DAMAGED SEIZED CLAIM_SETTLED DISPOSED",
    Phase: "pre_transit in_transit exception delivered returning returned cancelled closed",
    Service: "express logistic instant",
    Source: "push pull replay operator",
    TimeSource: "courier assumed_zone received",
    EventType: "shipment.status_changed shipment.updated shipment.history_added shipment.corrected",
    Transition: "initial forward recovery reassignment return reopened correction",
}
"""The words of our vocabulary, in the order in which they are numbered from 0. Only ever appended to."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError, ValueError, LookupError)
"""What reading something stored raises where it is of a form that this version cannot read."""

StatusCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[Status].split()))]
PhaseCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[Phase].split()))]
ServiceCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[Service].split()))]
SourceCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[Source].split()))]
TimeSourceCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[TimeSource].split()))]
EventTypeCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[EventType].split()))]
TransitionCode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=len(CODES[Transition].split()))]
"""The number of a word that there is."""

Pair: TypeAlias = tuple[str | None, str | None]
"""The values of a carrier or a driver."""

Amounts: TypeAlias = tuple[str, int | None, int | None, int | None]
"""The values of charges."""

_Word = TypeVar("_Word", bound=Word)


def _words(words: type[_Word]) -> tuple[_Word, ...]:
    return tuple(map(words, CODES[words].split()))


def _codes(words: Sequence[_Word]) -> dict[_Word | None, int | None]:
    """Return the number of each word, and no number of no word."""
    return {None: None, **{word: number for number, word in enumerate(words)}}


STATUSES: Final = _words(Status)
PHASES: Final = _words(Phase)
SERVICES: Final = _words(Service)
SOURCES: Final = _words(Source)
TIME_SOURCES: Final = _words(TimeSource)
EVENT_TYPES: Final = _words(EventType)
TRANSITIONS: Final = _words(Transition)
"""The words by their numbers."""

STATUS_CODES: Final = _codes(STATUSES)
PHASE_CODES: Final = _codes(PHASES)
SERVICE_CODES: Final = _codes(SERVICES)
SOURCE_CODES: Final = _codes(SOURCES)
TIME_SOURCE_CODES: Final = _codes(TIME_SOURCES)
EVENT_TYPE_CODES: Final = _codes(EVENT_TYPES)
TRANSITION_CODES: Final = _codes(TRANSITIONS)
"""The numbers by their words."""

pack: Final = msgspec.msgpack.Encoder().encode


def content(stored: bytes) -> bytes:
    """Return what stands behind the form's number.

    Raises:
        ValueError: it is that of another version.

    """
    if not stored.startswith(FORM):
        raise ValueError(f"form {stored[:1].hex()} is of another version")
    return stored[1:]  # faster than a view of it: it is short


def left_out(shipment_id: str, reference: str) -> int | str:
    """Return a reference as it is stored: how long it is, where the shipment's id ends with it."""
    return len(reference) if shipment_id.endswith(reference) else reference


def put_back(shipment_id: str, stored: int | str) -> str:
    """Return a reference that was stored."""
    return stored if isinstance(stored, str) else shipment_id[len(shipment_id) - stored :]


def word_of(words: Sequence[_Word], code: int | None) -> _Word | None:
    """Return the word of a number, if there is one."""
    return None if code is None else words[code]
