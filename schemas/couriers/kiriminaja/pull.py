"""What KiriminAja answers when it is asked: a parcel's details and its history, newest entry first.

Each history entry becomes a raw record of the answer's own shape, with `details` and the reference that was asked for:
`{"method":"shTracking","order_id":…,"details":{…},"histories":[{…}]}`. An answer without a history becomes one record
with its own `status_code` and `text` instead.

An entry is known again in every later answer, however much that has grown: of the changing `details` its identity
holds only what decides its status.

Sources: kiriminaja-tracking.txt; facts.md ("Pull").
"""

import json
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Final

import msgspec

from schemas.couriers.base import ApiKey, ApiSetting, Courier, NotFound, Tracking, WebhookItem, check_reference
from schemas.couriers.reading import (
    charges,
    clock,
    driver,
    first_reference,
    identifier,
    is_zero_date,
    members_of,
    observe,
    text,
    url,
)
from schemas.observation import Carrier, Details, Observation, Proof
from schemas.records import Provenance, UnreadableError
from schemas.times import read_time
from schemas.tolerant_json import digest, elements, load, members
from schemas.vocabulary import DeadLetterReason, Status

METHOD: Final = "shTracking"
"""The method that answers carry and no webhook does: it tells a pulled record from a pushed one."""

TRANSIT_CODE: Final = "100"

CODES: Final[dict[str, Status | None]] = {
    TRANSIT_CODE: Status.IN_TRANSIT,  # CREATED before the pick-up: "100" is said of new packages too
    "101": Status.PENDING_PICKUP,
    "105": Status.CREATED,
    "152": Status.PENDING_DELIVERY,
    "200": Status.DELIVERED,
    "300": Status.CANCELLED,
    "400": Status.RETURNED,
    "401": Status.RETURNING,
    "402": Status.RETURNED,  # "arrived at the sender"; newer pages: "at the KiriminAja warehouse" (facts.md)
    "500": Status.FAILED,
    "555": Status.SEIZED,
    "701": Status.LOST,
    "702": Status.DAMAGED,
    "703": Status.CLAIM_SETTLED,
    "704": Status.CLAIM_SETTLED,
    # The rest is of their status page of today (facts.md, "Pull").
    "102": Status.PENDING_PICKUP,  # validated by the pickup officer
    "103": Status.IN_TRANSIT,  # picked up by KiriminAja's driver
    "104": Status.IN_TRANSIT,  # received at KiriminAja's DC
    "106": Status.IN_TRANSIT,  # with the courier
    "110": Status.PENDING_PICKUP,  # pending direct pickup
    "301": Status.FAILED,  # the recipient refused
    "310": Status.FAILED,  # rejected, not ordered
    "311": Status.FAILED,  # rejected, unwilling to pay
    "333": Status.DISPOSED,  # destroyed by the courier
    "403": Status.RETURNING,  # return requested
    "404": Status.RETURNING,  # the courier was asked to return it to the seller
    # These say nothing about the state.
    "107": None,  # reported by the driver
    "210": None,  # SOP violation
    "211": None,  # violation resolved
    "302": None,  # pickup cancelled by the seller
    "350": None,  # pickup cancellation requested
    "405": None,  # return rejected by the seller
    "406": None,  # return breach
    **dict.fromkeys(("901", "902", "903", "904", "905")),  # problems at pick-up, warehouse, courier, return, import
}
"""The codes of history entries. kiriminaja-tracking.txt, "histories.status"."""

SETTLES: Final = {"703": Status.LOST, "704": Status.DAMAGED}
"""What a claim was about: it may have gone unsaid."""

ENTRY_TIME: Final = "created_at"

STATE_TIMES: Final = {"100": "shipped_at", "200": "delivered_at", "400": "refunded_at", "402": "refunded_at"}
"""When the state of an answer without a history began, as far as `details` tells."""

IMAGES: Final = ("camera_img", "signature_img", "pop_img")
"""kiriminaja-tracking.txt: each is "Proof of delivery on shipment when delivered"."""

HANDED_OVER: Final = frozenset({Status.DELIVERED, Status.RETURNED})
"""Where an entry's `receiver` is who took the parcel."""

MAX_RECORDS_BYTES: Final = 32 * 2**20
"""The most that an answer's records may come to. Each repeats `details`; real answers stay below a tenth of a MiB."""


def is_pulled(envelope: Mapping[str, bytes]) -> bool:
    """Whether a record's members are those of a pulled one."""
    try:
        return bool(load(envelope.get("method", b"null")) == METHOD)
    except UnreadableError:
        return False


def pieces(answer: bytes, reference: str) -> list[WebhookItem] | NotFound:
    """Make one piece of each history entry, oldest first, of the answer about the shipment of this reference.

    An entry that is no object says nothing. No pieces: the answer tells neither history nor code.

    Raises:
        UnreadableError: the answer is malformed or about another shipment.

    """
    said = load(answer)
    if not isinstance(said, dict):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the answer is no object")
    if said.get("status") is False:
        return NotFound()
    details, histories = said.get("details"), said.get("histories") or []
    if not isinstance(details, dict) or not isinstance(histories, list):
        raise UnreadableError(
            DeadLetterReason.UNKNOWN_SHAPE, "the answer has no details, or histories that are no list"
        )
    named = {name for name in (identifier(details.get("order_id")), identifier(details.get("awb"))) if name}
    if named and reference not in named:
        raise UnreadableError(DeadLetterReason.NO_SHIPMENT, "the answer is about another shipment")
    raw = members(answer)
    head = b'{"method":"%s","order_id":%s,"details":%s,"histories":[' % (
        METHOD.encode(),
        msgspec.json.encode(reference),
        raw["details"],
    )
    if not histories:
        own = b"".join(b',"%s":%s' % (name.encode(), raw[name]) for name in ("status_code", "text") if name in raw)
        return [WebhookItem(head + b"]" + own + b"}", reference)] if _code(said, details) is not None else []
    texts = zip(elements(raw["histories"]), histories, strict=True)
    entries = [its_text for its_text, entry in texts if isinstance(entry, dict)]
    if len(head) * len(entries) + len(answer) > MAX_RECORDS_BYTES:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the answer's details are too large for so many entries")
    return [WebhookItem(head + entry + b"]}", reference) for entry in reversed(entries)]


TRACKING: Final = Tracking(
    address=ApiSetting("KIRIMINAJA_API_URL", "where KiriminAja's tracking is asked; empty: it is not asked"),
    access=ApiKey(ApiSetting("KIRIMINAJA_API_KEY", "the merchant's key at KiriminAja's API")),
    method="POST",
    path="/api/mitra/tracking",
    body=lambda reference: {"order_id": reference},
    pieces=pieces,
)
"""kiriminaja-tracking.txt. An unknown parcel is answered 200: a 404 means that the address is wrong."""


def reference_of(body: bytes) -> str | None:
    """Return the reference of a pulled record, if it has a usable one."""
    try:
        return _reference(members_of(load(body)))
    except UnreadableError:
        return None


def read(courier: Courier, record: dict[str, Any], provenance: Provenance, assumed_zone: tzinfo) -> Observation:
    """Read one history entry.

    The first edition of the rules called an entry new only while `shipped_at` was an empty text: `former_digest`.

    Raises:
        UnreadableError: the record holds several entries, or names no shipment.

    """
    reference = _reference(record)
    details = members_of(record.get("details"))
    entry = _entry(record, details)
    word = _word(entry.get("status_code"))
    new = word == TRANSIT_CODE and _before_the_pick_up(entry, details, assumed_zone)
    status = Status.CREATED if new else CODES.get(word)
    return observe(
        courier,
        provenance,
        reference=reference,
        word=word,
        status=status,
        known=word in CODES,
        record_digest=digest((METHOD, reference, entry, new)),
        times=clock(
            {ENTRY_TIME: _timed(entry, record, assumed_zone).get(ENTRY_TIME)}, provenance.received_at, assumed_zone
        ),
        details=Details(
            driver=driver(entry.get("driver")),
            signed_by=text(entry.get("receiver")) if status in HANDED_OVER else None,
            description=text(entry.get("status")),
        ),
        shared=_shared(details, status),
        jumps_through=SETTLES.get(word),
        former_digest=digest((METHOD, reference, entry, False)) if new and text(details.get("shipped_at")) else None,
    )


def _reference(record: Mapping[str, Any]) -> str:
    details = members_of(record.get("details"))
    named = first_reference(record, "order_id") or first_reference(details, "order_id", "awb")
    return check_reference(named, "order_id or awb")


def _before_the_pick_up(entry: Mapping[str, Any], details: Mapping[str, Any], zone: tzinfo) -> bool:
    """Whether the parcel was new when this was said: not shipped yet, or not before the minute of `shipped_at`."""
    shipped_at = details.get("shipped_at")
    if is_zero_date(shipped_at, zone):
        return True
    shipped, said = read_time(shipped_at, zone), read_time(entry.get(ENTRY_TIME), zone)
    return shipped is not None and said is not None and said[0] < shipped[0].replace(second=0, microsecond=0)


def _entry(record: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """Return the record's one entry, or for a record without one an entry of what the answer says itself."""
    histories = record.get("histories") or []
    if not isinstance(histories, list) or len(histories) > 1:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not one history entry")
    if histories:
        if not isinstance(histories[0], dict):
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the history entry is no object")
        return histories[0]
    code = _code(record, details)
    since = details.get(STATE_TIMES.get(_word(code), ENTRY_TIME))
    return {"status_code": code, "status": record.get("text"), ENTRY_TIME: since}


def _timed(entry: dict[str, Any], record: Mapping[str, Any], zone: tzinfo) -> dict[str, Any]:
    """Return an entry without a zero date that stands for its time where the answer has no history."""
    no_time = not record.get("histories") and is_zero_date(entry[ENTRY_TIME], zone)
    return {} if no_time else entry


def _code(answer: Mapping[str, Any], details: Mapping[str, Any]) -> Any:
    """Return an answer's own code. "`details.status_code` may be null while the top-level `status_code` is set"."""
    given = details.get("status_code")
    return answer.get("status_code") if given in (None, "") else given


def _word(code: object) -> str:
    """Return a code as text. A missing or odd one is an unknown word: it never breaks the rest of a history."""
    if isinstance(code, str) and code:
        return code
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    return json.dumps(code)


def _shared(details: dict[str, Any], status: Status | None) -> Details:
    """Return what holds for the parcel whichever entry tells it; the pictures belong to the delivery."""
    carrier = Carrier(text(details.get("service")), text(details.get("service_name")))
    costs = members_of(details.get("costs"))
    images = members_of(details.get("images")) if status is Status.DELIVERED else {}
    return Details(
        order_id=identifier(details.get("order_id")),
        awb=identifier(details.get("awb")),
        carrier=carrier if carrier.code or carrier.service else None,
        charges=charges(
            currency=costs.get("currency"),
            shipping=costs.get("shipping_cost"),
            cod=costs.get("cod"),
            insurance=costs.get("insurance_amount"),
        ),
        proofs=tuple(Proof(type=name, url=link) for name in IMAGES if (link := url(images.get(name)))),
    )
