"""What KiriminAja sends: the method names the event, `data` holds one or many items.

Sources: kiriminaja-webhooks.md; facts.md ("KiriminAja") for the complete format and the newer methods.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec

from schemas.couriers.base import MAX_ITEMS, Courier, WebhookItem, check_reference
from schemas.couriers.reading import (
    charges,
    clock,
    driver,
    first_given,
    first_reference,
    identifier,
    is_blank,
    is_zero_date,
    members_of,
    observe,
    text,
    url,
)
from schemas.observation import Carrier, Details, Observation
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import digest, digest_of_bytes, elements, is_skippable, load, members
from schemas.vocabulary import DeadLetterReason, Service, Status

REFERENCES: Final = ("order_id", "awb")
"""What names a parcel; the first that is given is the shipment's reference."""

MAX_GROWTH: Final = 8
"""How many times a body's size the methods and packages of its pieces may come to. Real ones stay below 2; more is a
huge method or package repeated for every item, which would fill the memory."""

INSTANT_METHOD: Final = "update_instant_packages"
RETURN_METHOD: Final = "returned_packages"

METHODS: Final[dict[str, Status | None]] = {
    "processed_packages": Status.PENDING_PICKUP,
    "shipped_packages": Status.IN_TRANSIT,
    "canceled_packages": Status.CANCELLED,
    "finished_packages": Status.DELIVERED,
    RETURN_METHOD: Status.RETURNED,  # "when `returned_at` is filled"; RETURNING while it is empty
    "return_finished_packages": Status.RETURNED,  # deprecated
    # Not in the document; seen in public integrations (facts.md, "Express").
    "problem_packages": Status.FAILED,
    "rejected_packages": Status.CANCELLED,
    "validated_packages": None,
}
"""The express methods. kiriminaja-webhooks.md, "Event (Express)". They count on an instant shipment too."""

INSTANT_STATUSES: Final[dict[str, Status | None]] = {
    "picked_up": Status.PENDING_DELIVERY,
    "sent": Status.IN_DELIVERY,
    "no_driver": Status.NO_DRIVER,  # not final: the merchant may ask for a new driver
    "delivered": Status.DELIVERED,
    "cancel": Status.CANCELLED,
    "return": Status.RETURNING,
    "returned": Status.RETURNED,
}
"""The words of `update_instant_packages`. kiriminaja-webhooks.md, "Instant Delivery", "Status Code"."""

OWN_TIMES: Final = {
    "shipped_packages": ("shipped_at",),
    "finished_packages": ("finished_at",),
    "canceled_packages": ("canceled_at", "rejected_at"),  # the complete format has no canceled_at
    "rejected_packages": ("rejected_at",),
    RETURN_METHOD: ("returned_at", "return_finished_at"),
    "return_finished_packages": ("returned_at", "return_finished_at"),
    "problem_packages": ("problem_at",),
}
"""The fields that hold a method's own time, the first that tells counts. facts.md, "Express"."""

INSTANT_TIME: Final = "event_date"
"""The time of an instant item, whatever its status says."""

ORDER_TIME: Final = "date"
"""When the event was, in the short format. In the complete one: when the order was made, on each of its webhooks."""

TIMES: Final = (
    "canceled_at",
    "rejected_at",
    "returned_at",
    "return_finished_at",
    "shipped_at",
    "finished_at",
    "problem_at",
    INSTANT_TIME,
    ORDER_TIME,
)
"""Every time that may count, in an order that holds for each word: a reading has only those of its own word."""

COMPLETE_NAMES: Final = frozenset({"shipped_at", "finished_at", "returned_at", "rejected_at"})
"""An item of the complete format has two or more of these, null or not. facts.md, "Express"."""

INSTANT_TYPES: Final = frozenset({"instant", "same_day", "sameday"})
"""What `packages[].service_type` of an instant shipment is, in any case."""

_ENVELOPE: Final = ("method", "data", "packages")
_DIGITS: Final = re.compile("[0-9]+", re.ASCII)


class _Named(msgspec.Struct):
    order_id: str


class _MaybeNamed(msgspec.Struct):
    order_id: str | None = None


class _One(msgspec.Struct):
    """A webhook of one item that names its order, with its package or none."""

    method: str
    data: Annotated[list[_Named], msgspec.Meta(min_length=1, max_length=1)] | _Named
    packages: Annotated[list[_MaybeNamed], msgspec.Meta(max_length=1)] = []


_one: Final = msgspec.json.Decoder(_One)


def reference_of_one(body: bytes) -> str | None:
    """Return the reference of a usual webhook of one item, without reading the rest. None: only `split` can tell."""
    if not is_skippable(body):
        return None
    try:
        one = _one.decode(body)
        item = one.data[0] if isinstance(one.data, list) else one.data
        known = one.method in METHODS or one.method == INSTANT_METHOD
        if known and all(package.order_id in (None, item.order_id) for package in one.packages):
            return check_reference(item.order_id, "order_id")
    except (msgspec.DecodeError, UnreadableError):
        pass
    return None


def split(body: bytes, envelope: Mapping[str, bytes]) -> list[WebhookItem]:
    """Make one piece of each item with its package, then one of each package without an item.

    What stands beside them in the body, such as `payment`, rides with the first piece.
    """
    try:
        items, packages = (_entries(envelope.get(name, b"null")) for name in ("data", "packages"))
        if max(len(items), len(packages)) > MAX_ITEMS:
            return [WebhookItem(body, None)]
        values = [_load_or_none(raw) for raw in items], [_load_or_none(raw) for raw in packages]
    except UnreadableError:
        return [WebhookItem(body, None)]
    pairs = _pairs(*values)
    if len(pairs) == 1:
        return [WebhookItem(body, _reference(*values, *pairs[0]))]
    method = envelope.get("method", b"null")
    repeated = sum(len(method) + (0 if package is None else len(packages[package])) for _, package in pairs)
    if not pairs or len(pairs) > MAX_ITEMS or repeated > MAX_GROWTH * len(body):
        return [WebhookItem(body, None)]
    beside = b"".join(
        b"," + msgspec.json.encode(name) + b":" + raw for name, raw in envelope.items() if name not in _ENVELOPE
    )
    return [
        WebhookItem(
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


def read(courier: Courier, value: bytes, envelope: object, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
    """Read one item. `envelope` is the record's value as JSON.

    Raises:
        UnreadableError: the record is no item, names no shipment or has no word.

    """
    item, package, method = _one_item(envelope)
    body = _merged(item, package)
    called = _plural(method)
    instant_item = called == INSTANT_METHOD
    word = _instant_word(item) if instant_item else called
    meanings = INSTANT_STATUSES if instant_item else METHODS
    if is_zero_date(body.get("returned_at"), assumed_zone):
        body.pop("returned_at", None)
    returning = called == RETURN_METHOD and "returned_at" not in body
    instant = instant_item or _is_instant(members_of(package).get("service_type"))
    return observe(
        courier,
        provenance,
        reference=_checked_reference(body),
        word=word,
        status=Status.RETURNING if returning else meanings.get(word),
        known=word in meanings,
        record_digest=digest_of_bytes(value),
        times=clock(
            {name: body.get(name) for name in _times_of(word, item, instant_item=instant_item)},
            provenance.received_at,
            assumed_zone,
        ),
        details=_details(body),
        proves=(Service.INSTANT,) if instant and word in meanings else (),
    )


def former_digest(value: bytes) -> bytes | None:
    """Return the digest by which the first editions named an item: of the canonical JSON of method, item and package.

    A pulled entry, which is no item, is named as ever.
    """
    try:
        item, package, method = _one_item(load(value))
    except UnreadableError:
        return None
    return digest((method, item, package))


def _times_of(word: str, item: object, *, instant_item: bool) -> list[str]:
    """Return the names of the times that may count for a word, the word's own first. Never another method's."""
    own = (INSTANT_TIME,) if instant_item else OWN_TIMES.get(word, ())
    complete = len(COMPLETE_NAMES.intersection(members_of(item))) > 1
    return [*own, *(() if complete and word != "processed_packages" else (ORDER_TIME,))]


def _plural(method: str) -> str:
    """Return a method's name in the plural: the document says that it may stand in the singular."""
    return f"{method}s" if method.endswith("_package") else method


def _is_instant(service_type: object) -> bool:
    return isinstance(service_type, str) and service_type.lower() in INSTANT_TYPES


def _instant_word(item: object) -> str:
    """Return the courier's word of the instant method: the item's status."""
    status = members_of(item).get("status")
    if not isinstance(status, str) or not status:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the instant item has no status")
    return status


def _one_item(envelope: object) -> tuple[object, object, str]:
    if not isinstance(envelope, dict) or not isinstance(method := envelope.get("method"), str) or not method:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a method")
    items, packages = _listed(envelope.get("data")), _listed(envelope.get("packages"))
    if len(items) == 1 and not packages and isinstance(items[0], dict):
        return items[0], None, method  # as nearly every item of the express methods comes
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
    """Return a list's values. One object counts as a list of one, one with digits for names as a list by number."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and (places := _numbered(value)):
        return [value[name] for name in places]
    return [] if value is None or value == "" else [value]


def _entries(raw: bytes) -> list[bytes]:
    """Return the same values as `_listed`, each in its own bytes."""
    if raw.lstrip().startswith(b"["):
        return elements(raw)
    if raw.lstrip().startswith(b"{"):
        values = _members_or_none(raw)
        return [values[name] for name in _numbered(values)] or [raw]
    return [] if raw.strip() in (b"null", b'""') else [raw]


def _numbered(names: Collection[str]) -> list[str]:
    """Return an object's names in the order of the numbers they are. Not all of them digits: none."""
    if not all(_DIGITS.fullmatch(name) for name in names):
        return []
    return sorted(names, key=lambda name: (len(name.lstrip("0")), name.lstrip("0")))


def _members_or_none(raw: bytes) -> dict[str, bytes]:
    try:
        return members(raw)
    except UnreadableError:
        return {}


def _load_or_none(raw: bytes) -> Any:
    try:
        return load(raw)
    except UnreadableError:
        return None


def _pairs(items: Sequence[Any], packages: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """Put each item and the package of the same order_id (else AWB) together. What stays single stands alone."""
    if len(items) == len(packages) == 1 and _are_one(items[0], packages[0]):
        return [(0, 0)]
    places: dict[tuple[str, str], int] = {}
    for at, package in enumerate(packages):
        order_id, awb = _names(package)
        names = [("order_id", order_id), ("awb", awb), *([] if order_id else [("awb alone", awb)])]
        for name, found in names:
            if isinstance(found, str):
                places.setdefault((name, found), at)
    taken: set[int] = set()
    pairs: list[tuple[int | None, int | None]] = []
    for at, item in enumerate(items):
        package = _package_of(item, places)
        pairs.append((at, package))
        if package is not None:
            taken.add(package)
    return [*pairs, *((None, at) for at in range(len(packages)) if at not in taken)]


def _are_one(item: object, package: object) -> bool:
    """Whether a single item and a single package belong together: unless both name an order_id and these differ."""
    if not isinstance(item, dict) or not isinstance(package, dict):
        return False
    ours, theirs = _names(item)[0], _names(package)[0]
    return ours is None or theirs is None or ours == theirs


def _package_of(item: object, places: Mapping[tuple[str, str], int]) -> int | None:
    """Find by order_id; by AWB only where one of the two has no order_id."""
    order_id, awb = _names(item)
    if isinstance(order_id, str) and (found := places.get(("order_id", order_id))) is not None:
        return found
    if not isinstance(awb, str):
        return None
    return places.get(("awb alone" if order_id else "awb", awb))


def _names(body: object) -> tuple[Any, Any]:
    """Return order_id and AWB as they are compared: without white space around them, the AWB in any case."""
    order_id, awb = (members_of(body).get(name) for name in REFERENCES)
    return (
        order_id.strip() or None if isinstance(order_id, str) else order_id,
        awb.strip().casefold() or None if isinstance(awb, str) else awb,
    )


def _merged(item: object, package: object) -> dict[str, Any]:
    """Return all that an item and its package say. The item wins; what it leaves empty gives way to the package's."""
    said = {
        name: value
        for name, value in members_of(item).items()
        if value not in (None, "", [], {}) and not (name in REFERENCES and is_blank(value))
    }
    return {**members_of(package), **said}


def _checked_reference(body: dict[str, Any]) -> str:
    return check_reference(first_reference(body, *REFERENCES), "order_id or awb")


def _reference(items: Sequence[Any], packages: Sequence[Any], item: int | None, package: int | None) -> str | None:
    body = _merged(None if item is None else items[item], None if package is None else packages[package])
    try:
        return _checked_reference(body)
    except UnreadableError:
        return None


def _details(body: dict[str, Any]) -> Details:
    carrier = Carrier(text(body.get("service")), text(first_given(body, "service_name", "service_type")))
    return Details(
        order_id=identifier(body.get("order_id")),
        awb=identifier(body.get("awb")),
        carrier=carrier if carrier.code or carrier.service else None,
        charges=charges(
            shipping=first_given(body, "shipping_price", "shipping_cost"), insurance=body.get("insurance_amount")
        ),
        driver=driver(body.get("driver")),
        tracking_url=url(first_given(body, "live_track_url", "live_tracking_url")),
        reason=text(body.get("reason")) or text(body.get("cancel_reason")) or text(body.get("rejection_note")),
    )
