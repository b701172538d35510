"""Taking single details out of couriers' JSON. What is odd is None, so that the rest of a message still counts."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from math import isfinite
from typing import Any, Final

import msgspec

from schemas.couriers.base import Courier
from schemas.observation import EDITION, Charges, Details, Driver, Observation, Stamp
from schemas.records import Provenance
from schemas.shipment_ids import shipment_id
from schemas.times import latest_believed, read_time
from schemas.tolerant_json import clean, digest
from schemas.vocabulary import Service, Status, TimeSource

MAX_TEXT: Final = 2_000
"""Characters of free text that are kept: reasons, names, scan texts. Longer ones are cut; the raw record has all."""

MAX_IDENTIFIER_BYTES: Final = 128
"""The longest order number or AWB, in UTF-8. A longer one could not be indexed and is no identifier."""

MAX_URL: Final = 2_048
"""Characters of a link that are kept. A cut link would lead nowhere, so a longer one is dropped."""

MAX_PROOFS: Final = 20
"""Pictures that are kept of one message. Couriers send up to three."""

MAX_AMOUNT: Final = 2**63 - 1
"""The largest number that the database and every subscriber's language can hold."""

RUPIAH: Final = "IDR"
_CURRENCY: Final = re.compile("[A-Z]{3}", re.ASCII)

YEAR_2000: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""A time before it is a zero date, as MySQL, Carbon and clocks that begin in 1970 write "none"."""

_DIGITS: Final = re.compile("[0-9]{1,40}", re.ASCII)
"""A number as text. No number that counts has more digits."""

MAX_COUNT: Final = 2**31 - 1
"""The largest failure count that the database holds."""


def string(value: object) -> str | None:
    """Return a text as it is."""
    return value if isinstance(value, str) else None


def text(value: object) -> str | None:
    """Return a text, storable and of bounded length. An empty one is None."""
    if not isinstance(value, str) or not value:
        return None
    return clean(value[:MAX_TEXT])


def identifier(value: object) -> str | None:
    """Return an order number or AWB, without the white space around it. White space alone is None."""
    if not isinstance(value, str):
        return None
    value = value.strip()
    if value.isascii() and value.isprintable() and len(value) <= MAX_IDENTIFIER_BYTES:
        return value or None
    found = text(value)
    return found if found and len(found.encode()) <= MAX_IDENTIFIER_BYTES else None


def url(value: object) -> str | None:
    """Return a link."""
    return clean(value) if isinstance(value, str) and 0 < len(value) <= MAX_URL else None


def digits(value: object) -> object:
    """Return the number that a text of digits stands for. Anything else is as it was."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def amount(value: object) -> int | None:
    """Return an amount of money in whole units, rounded."""
    value = digits(value)
    if isinstance(value, float):
        value = round(value) if isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_AMOUNT else None


def count(value: object) -> int:
    """Return a failure count. Missing or odd: 0."""
    value = digits(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= MAX_COUNT else 0


def members_of(value: object) -> dict[str, Any]:
    """Return an object's members. Anything else has none."""
    return value if isinstance(value, dict) else {}


def first_given(body: Mapping[str, Any], *names: str) -> Any:
    """Return the first member of those named that is neither null nor empty text."""
    for name in names:
        value = body.get(name)
        if value is not None and value != "":
            return value
    return None


def is_blank(value: object) -> bool:
    """Whether a reference is as good as not given: null, or white space at most."""
    return value is None or (isinstance(value, str) and not value.strip())


def first_reference(body: Mapping[str, Any], *names: str) -> Any:
    """Return the first member of those named that is not blank, whatever it is."""
    for name in names:
        value = body.get(name)
        if not is_blank(value):
            return value
    return None


def driver(value: object) -> Driver | None:
    """Return a driver from an object with `name` and `phone`, or from a bare name."""
    if isinstance(value, str):
        return named_driver(value, None)
    return named_driver(value.get("name"), value.get("phone")) if isinstance(value, dict) else None


def named_driver(name: object, phone: object) -> Driver | None:
    """Return a driver of whom a name or a telephone number is known."""
    found = Driver(text(name), text(phone))
    return found if found.name or found.phone else None


def charges(
    *, currency: object = None, shipping: object = None, cod: object = None, insurance: object = None
) -> Charges | None:
    """Return charges, in rupiah where no currency is named, or None where no amount is known."""
    if shipping is cod is insurance is None:
        return None
    amounts = amount(shipping), amount(cod), amount(insurance)
    if amounts == (None, None, None):
        return None
    named = currency if isinstance(currency, str) and _CURRENCY.fullmatch(currency) else RUPIAH
    return Charges(named, *amounts)


def is_zero_date(value: object, zone: tzinfo) -> bool:
    """Whether a time says "none": it cannot be read, or lies before the year 2000."""
    found = read_time(value, zone)
    return found is None or found[0] < YEAR_2000


_COURIER: Final = TimeSource.COURIER
_ASSUMED_ZONE: Final = TimeSource.ASSUMED_ZONE


class Clock(msgspec.Struct, frozen=True, gc=False):
    """The times of one message: as read, for its identity, and as believed, for its order."""

    read: dict[str, datetime | None]
    believed: dict[str, Stamp]


def clock(given: Mapping[str, object], received_at: datetime, zone: tzinfo) -> Clock:
    """Read the times that may count for a word, by the courier's field names."""
    read: dict[str, datetime | None] = {}
    believed = {}
    latest = latest_believed(received_at)
    for name, value in given.items():
        found = None if value is None else read_time(value, zone)
        if found is None:
            read[name] = None
            continue
        read[name] = moment = found[0]
        if moment <= latest:
            believed[name] = Stamp(moment, _COURIER if found[1] else _ASSUMED_ZONE)
    return Clock(read, believed)


def first_of(observation: Observation, names: Iterable[str | None]) -> Stamp:
    """Return the first believed time of those named, else the time received."""
    for name in names:
        if name is not None and (stamp := observation.times.get(name)):
            return stamp
    return observation.received


def observe(
    courier: Courier,
    provenance: Provenance,
    *,
    reference: str,
    word: str,
    status: Status | None,
    known: bool,
    record_digest: bytes,
    times: Clock,
    details: Details,
    shared: Details | None = None,
    proves: tuple[Service, ...] = (),
    hints: tuple[Service, ...] = (),
    count: int = 0,
    updated_at: datetime | None = None,
    jumps_through: Status | None = None,
    former_digest: bytes | None = None,
) -> Observation:
    """Put a reading together and give it its identity.

    `shared` are details of the whole shipment that ride along: they are no part of the identity, so a message is
    known again when it comes with other ones. They give way to `details`.
    """
    shown_word = clean(word[:MAX_TEXT])
    return Observation(  # by position, several times faster: one is made of every record
        shipment_id(courier.name, provenance.account, reference),
        courier.name,
        provenance.account,
        reference,
        shown_word,
        status,
        known,
        provenance.received_at,
        provenance.source,
        record_digest,
        digest((reference, shown_word, status, times.read, count, proves, details)),
        provenance.item,
        count,
        times.believed,
        updated_at,
        proves,
        hints,
        jumps_through,
        _with_shared(details, shared) if shared else details,
        former_digest,
        None,
        EDITION,
    )


def _with_shared(details: Details, shared: Details) -> Details:
    given = {name: value for name, value in msgspec.structs.asdict(details).items() if value}
    return msgspec.structs.replace(shared, **given)
