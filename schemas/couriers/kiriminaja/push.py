"""What KiriminAja sends: the method names the event, `data` holds one or many items.

Sources: kiriminaja-webhooks.md; facts.md ("KiriminAja") for the complete format and the newer methods.
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

import msgspec

from schemas.couriers.base import MAX_ITEMS, Courier, Piece, check_reference
from schemas.couriers.reading import (
    charges,
    clock,
    driver,
    first_given,
    identifier,
    members_of,
    observe,
    text,
    url,
)
from schemas.observation import Carrier, Details, Observation
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import digest, elements, load
from schemas.vocabulary import DeadLetterReason, Service, Status

MAX_GROWTH: Final = 8
"""How many times a body's size the methods and packages of its pieces may come to. Real ones stay below 2; more is a
huge method or package repeated for every item, which would fill the memory."""

INSTANT_METHOD: Final = "update_instant_packages"
RETURN_METHOD: Final = "returned_packages"


class Word(msgspec.Struct, frozen=True):
    """What a word means, and the field that holds its own time."""

    status: Status | None
    own_time: str | None


METHODS: Final[dict[str, Word]] = {
    "processed_packages": Word(Status.PENDING_PICKUP, None),
    "shipped_packages": Word(Status.IN_TRANSIT, "shipped_at"),
    "canceled_packages": Word(Status.CANCELLED, "canceled_at"),
    "finished_packages": Word(Status.DELIVERED, "finished_at"),
    RETURN_METHOD: Word(Status.RETURNED, "returned_at"),  # RETURNING while `returned_at` is empty
    "return_finished_packages": Word(Status.RETURNED, "returned_at"),  # deprecated; its document has `date` only
    # Not in the document; seen in public integrations (facts.md, "Express").
    "problem_packages": Word(Status.FAILED, None),
    "rejected_packages": Word(Status.CANCELLED, "rejected_at"),
    "validated_packages": Word(None, None),
}
"""The express methods. kiriminaja-webhooks.md, "Event (Express)". They count on an instant shipment too."""

INSTANT_STATUSES: Final[dict[str, Word]] = {
    word: Word(status, "event_date")
    for word, status in {
        "picked_up": Status.PENDING_DELIVERY,
        "sent": Status.IN_DELIVERY,
        "no_driver": Status.NO_DRIVER,  # not final: the merchant may ask for a new driver
        "delivered": Status.DELIVERED,
        "cancel": Status.CANCELLED,
        "return": Status.RETURNING,
        "returned": Status.RETURNED,
    }.items()
}
"""The words of `update_instant_packages`. kiriminaja-webhooks.md, "Instant Delivery", "Status Code"."""

_ENVELOPE: Final = ("method", "data", "packages")


def split(body: bytes, envelope: Mapping[str, bytes]) -> list[Piece]:
    """Make one piece of each item with its package, then one of each package without an item.

    What stands beside them in the body, such as `payment`, rides with the first piece.
    """
    try:
        items, packages = (_entries(envelope.get(name, b"null")) for name in ("data", "packages"))
        if max(len(items), len(packages)) > MAX_ITEMS:
            return [Piece(body, None)]
        values = [_load_or_none(raw) for raw in items], [_load_or_none(raw) for raw in packages]
    except UnreadableError:
        return [Piece(body, None)]
    pairs = _pairs(*values)
    if len(pairs) == 1:
        return [Piece(body, _reference(*values, *pairs[0]))]
    method = envelope.get("method", b"null")
    repeated = sum(len(method) + (0 if package is None else len(packages[package])) for _, package in pairs)
    if not pairs or len(pairs) > MAX_ITEMS or repeated > MAX_GROWTH * len(body):
        return [Piece(body, None)]
    beside = b"".join(
        b"," + msgspec.json.encode(name) + b":" + raw for name, raw in envelope.items() if name not in _ENVELOPE
    )
    return [
        Piece(
            b"".join(
                (
                    b'{"method":' + method,
                    b"" if item is None else b',"data":[' + items[item] + b"]",
                    b"" if package is None else b',"packages":[' + packages[package] + b"]",
                    b"" if place else beside,
                    b"}",
                )
            ),
            _reference(*values, item, package),
        )
        for place, (item, package) in enumerate(pairs)
    ]


def read(courier: Courier, envelope: object, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
    """Read one item.

    Raises:
        UnreadableError: the record is no item, names no shipment or has no word.

    """
    item, package, method = _one_item(envelope)
    body = _merged(item, package)
    word = _word(method, item)
    meaning = INSTANT_STATUSES.get(word) if method == INSTANT_METHOD else METHODS.get(word)
    reference = check_reference(first_given(body, "order_id", "awb"), "order_id or awb")
    status = meaning.status if meaning else None
    if word == RETURN_METHOD and text(body.get("returned_at")) is None:
        status = Status.RETURNING  # "when `returned_at` is filled mean your shipment is successfully returned"
    names = [name for name in (meaning.own_time if meaning else None, "date") if name]
    instant = method == INSTANT_METHOD or members_of(package).get("service_type") == Service.INSTANT
    return observe(
        courier,
        provenance,
        reference=reference,
        word=word,
        status=status,
        known=meaning is not None,
        record_digest=digest((method, item, package)),
        times=clock(body, names, provenance.received_at, assumed_zone),
        details=_details(body),
        proves=(Service.INSTANT,) if instant and meaning else (),
    )


def own_time(word: str) -> str | None:
    """Return the field that holds a word's own time."""
    meaning = INSTANT_STATUSES.get(word) or METHODS.get(word)
    return meaning.own_time if meaning else None


def _word(method: str, item: object) -> str:
    """Return the courier's word: the method, or the item's status for the instant method."""
    if method != INSTANT_METHOD:
        return method
    status = members_of(item).get("status")
    if not isinstance(status, str) or not status:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the instant item has no status")
    return status


def _one_item(envelope: object) -> tuple[object, object, str]:
    if not isinstance(envelope, dict) or not isinstance(method := envelope.get("method"), str) or not method:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a method")
    items, packages = (_listed(envelope.get(name)) for name in ("data", "packages"))
    pairs = _pairs(items, packages)
    if len(pairs) != 1:
        reason = DeadLetterReason.UNKNOWN_SHAPE if pairs else DeadLetterReason.NO_SHIPMENT
        raise UnreadableError(reason, f"{len(pairs)} items in one record")
    item, package = (
        None if at is None else entries[at] for at, entries in zip(pairs[0], (items, packages), strict=True)
    )
    if not isinstance(item, dict | None) or not isinstance(package, dict | None):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "an item is no object")
    return item, package, method


def _listed(value: object) -> list[Any]:
    """The documentation says plural or singular: one object counts as a list of one."""
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]


def _entries(raw: bytes) -> list[bytes]:
    if raw.lstrip().startswith(b"["):
        return elements(raw)
    return [] if raw.strip() in (b"null", b'""') else [raw]


def _load_or_none(raw: bytes) -> Any:
    try:
        return load(raw)
    except UnreadableError:
        return None


def _pairs(items: Sequence[Any], packages: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """Put each item and the package of the same order_id (else AWB) together. What stays single stands alone."""
    places: dict[tuple[str, str], int] = {}
    for at, package in enumerate(packages):
        order_id, awb = (members_of(package).get(name) for name in ("order_id", "awb"))
        names = [("order_id", order_id), ("awb", awb), *([] if order_id else [("awb alone", awb)])]
        for name, found in names:
            if isinstance(found, str) and found:
                places.setdefault((name, found), at)
    taken: set[int] = set()
    pairs: list[tuple[int | None, int | None]] = []
    for at, item in enumerate(items):
        package = _package_of(members_of(item), places)
        pairs.append((at, package))
        if package is not None:
            taken.add(package)
    return [*pairs, *((None, at) for at in range(len(packages)) if at not in taken)]


def _package_of(item: dict[str, Any], places: Mapping[tuple[str, str], int]) -> int | None:
    """Find by order_id; by AWB only where one of the two has no order_id."""
    order_id, awb = item.get("order_id"), item.get("awb")
    if isinstance(order_id, str) and (found := places.get(("order_id", order_id))) is not None:
        return found
    if not isinstance(awb, str):
        return None
    return places.get(("awb alone" if order_id else "awb", awb))


def _merged(item: object, package: object) -> dict[str, Any]:
    """The item's fields win; a null or empty one gives way to the package's."""
    said = {name: value for name, value in members_of(item).items() if value not in (None, "", [], {})}
    return {**members_of(package), **said}


def _reference(items: Sequence[Any], packages: Sequence[Any], item: int | None, package: int | None) -> str | None:
    body = _merged(None if item is None else items[item], None if package is None else packages[package])
    try:
        return check_reference(first_given(body, "order_id", "awb"), "order_id or awb")
    except UnreadableError:
        return None


def _details(body: dict[str, Any]) -> Details:
    carrier = Carrier(text(body.get("service")), text(first_given(body, "service_name", "service_type")))
    reasons = (text(body.get(name)) for name in ("reason", "cancel_reason", "rejection_note"))
    return Details(
        order_id=identifier(body.get("order_id")),
        awb=identifier(body.get("awb")),
        carrier=carrier if carrier.code or carrier.service else None,
        charges=charges(
            shipping=first_given(body, "shipping_price", "shipping_cost"), insurance=body.get("insurance_amount")
        ),
        driver=driver(body.get("driver")),
        tracking_url=url(first_given(body, "live_track_url", "live_tracking_url")),
        reason=next((reason for reason in reasons if reason), None),
    )
