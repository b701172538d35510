"""What is odd in a message is dropped; the message still counts. Only what names no shipment or word is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.couriers import COURIERS
from schemas.observation import Charges, Details
from schemas.times import format_time
from tests.unit.schemas.reading import (
    NOW,
    RECEIVED,
    dash,
    entry,
    instant,
    kiriminaja,
    occurred,
    pulled,
    read,
    refusal,
    said,
    tracking,
)

ODD: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "zero": b"0",
    "negative": b"-5",
    "float": b"24.8",
    "10^30": b"1" + b"0" * 30,
    "400 digits": b"9" * 400,
    "5000 digits": b"9" * 5000,
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "empty text": b'""',
    "text": b'"text"',
    "NUL": b'"a\\u0000b"',
    "surrogate": b'"a\\ud800b"',
    "long text": b'"' + b"x" * 100_000 + b'"',
    "empty list": b"[]",
    "list": b'[1,"a",null,{"url":5}]',
    "empty object": b"{}",
    "object": b'{"name":5,"phone":[],"amount":"x","actualRecipientName":{},"\\ud800":1}',
    "deep": b"[" * 190 + b"]" * 190,
}
DASH_FIELDS = [
    "providerOrderID",
    "failedCount",
    "courier",
    "trackingURL",
    "weight",
    "sender",
    "recipient",
    "origin",
    "destination",
    "packages",
    "media",
    "quote",
    "createdAt",
    "updatedAt",
    "pickupAt",
    "completedAt",
    "failedAt",
    "failedReason",
    "cancelledAt",
    "cancelledReason",
]
KIRIMINAJA_FIELDS = [
    "awb",
    "date",
    "shipped_at",
    "finished_at",
    "returned_at",
    "rejected_at",
    "canceled_at",
    "reason",
    "cancel_reason",
    "rejection_note",
    "event_date",
    "service",
    "service_name",
    "service_type",
    "driver",
    "live_track_url",
    "live_tracking_url",
    "shipping_price",
    "shipping_cost",
    "insurance_amount",
    "detail",
]


def with_field(body: dict[str, Any], field: str, value: bytes) -> bytes:
    """Put a field's own bytes into the item (KiriminAja) or the body (Dash)."""
    marked = json.dumps(body).encode()
    at = marked.rindex(b'"order_id"') if b'"order_id"' in marked else marked.rindex(b'"deliveryID"')
    return marked[:at] + json.dumps(field).encode() + b":" + value + b"," + marked[at:]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("field", DASH_FIELDS)
def test_a_dash_status_counts_whatever_else_is_odd(field: str, odd: str) -> None:
    for word, status in (("FAILED", "FAILED"), ("CANCELLED", "CANCELLED"), ("COMPLETED", "DELIVERED")):
        observation = read("dash", with_field(dash(word), field, ODD[odd]))
        assert (observation.reference, observation.status) == ("DE-1", status)
        storable(observation.details)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("field", KIRIMINAJA_FIELDS)
def test_a_kiriminaja_status_counts_whatever_else_is_odd(field: str, odd: str) -> None:
    for body, status in (
        (kiriminaja("finished_packages"), "DELIVERED"),
        (kiriminaja("problem_packages"), "FAILED"),
        (instant("sent"), "IN_DELIVERY"),
    ):
        observation = read("kiriminaja", with_field(body, field, ODD[odd]))
        assert (observation.reference, observation.status) == ("X", status)
        storable(observation.details)


ENTRY_FIELDS = ["created_at", "status", "status_code", "driver", "receiver"]
TRACKING_FIELDS = [
    "awb", "signature_code", "sorting_code", "order_id", "status_code", "estimation", "service", "service_name", "drop",
    "shipped_at", "delivered", "delivered_at", "refunded", "refunded_at", "images", "costs", "origin", "destination",
]  # fmt: skip
IMAGE_FIELDS = ["camera_img", "signature_img", "pop_img"]
COST_FIELDS = [
    "add_cost", "currency", "cod", "insurance_amount", "insurance_percent", "discount_amount", "subsidi_amount",
    "shipping_cost", "correction",
]  # fmt: skip


def with_odd(answer: dict[str, Any], at: tuple[Any, ...], value: bytes) -> bytes:
    """Put a field's own bytes somewhere into an answer."""
    inner: Any = answer
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = "@odd@"
    return json.dumps(answer).encode().replace(b'"@odd@"', value)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "at",
    [
        *(("histories", 0, field) for field in ENTRY_FIELDS),
        *(("details", field) for field in TRACKING_FIELDS),
        *(("details", "images", field) for field in IMAGE_FIELDS),
        *(("details", "costs", field) for field in COST_FIELDS),
        *((field,) for field in ("text", "method", "status_code", "anything")),
    ],
    ids=lambda at: ".".join(map(str, at)),
)
def test_a_pulled_history_counts_whatever_else_is_odd(at: tuple[Any, ...], odd: str) -> None:
    answer = tracking(entry(200, receiver="BAGUS"), entry(500), entry(101), details={"images": {}, "costs": {}})
    if at == ("details", "order_id"):
        answer["details"]["awb"] = "X"
    shown = pulled(with_odd(answer, at, ODD[odd]))
    assert [one.reference for one in shown] == ["X", "X", "X"]
    assert [one.status for one in shown[:2]] == ["PENDING_PICKUP", "FAILED"]
    assert shown[2].status == (None if at == ("histories", 0, "status_code") else "DELIVERED")
    for one in shown:
        storable(one.details)


@pytest.mark.parametrize("odd", [name for name in ODD if name not in {"empty object", "object"}])
def test_a_history_entry_that_is_no_object_says_nothing(odd: str) -> None:
    answer = with_odd(tracking(entry(200), entry(500), entry(101)), ("histories", 1), ODD[odd])
    assert [one.word for one in pulled(answer)] == ["101", "200"]


def storable(details: Details) -> None:
    """Check that the database takes it: no NUL, no lone surrogate, bounded, amounts in 64 bits."""
    texts = [details.order_id, details.awb, details.signed_by, details.tracking_url, details.reason]
    texts.append(details.description)
    if details.driver:
        texts += [details.driver.name, details.driver.phone]
    if details.carrier:
        texts += [details.carrier.code, details.carrier.service]
    texts += [text for proof in details.proofs for text in (proof.type, proof.url)]
    for text in texts:
        assert text is None or (text and "\x00" not in text and len(text.encode()) <= 8000)
    if details.charges:
        assert len(details.charges.currency) == 3
        for amount in (details.charges.shipping, details.charges.cod, details.charges.insurance):
            assert amount is None or 0 <= amount < 2**63


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0), (1, 1), (2.0, 2), (2.5, 0), (-1, 0), (True, 0), (None, 0), ([], 0), (10**30, 0), (2**31, 0),
        (2**31 - 1, 2**31 - 1), ("0", 0), ("1", 1), ("01", 1), ("", 0), (" 1", 0), ("1.0", 0), ("-1", 0), ("one", 0),
        ("\u0661", 0), ("9" * 5000, 0), ("2147483648", 0),
    ],
)  # fmt: skip
def test_failure_counts(value: Any, count: int) -> None:
    assert read("dash", dash(failedCount=value)).count == count


@pytest.mark.parametrize(
    ("value", "shipping"),
    [
        (21000, 21000), (21000.0, 21000), (21000.4, 21000), (0, 0), (-1, None), (True, None), ("21000", 21000),
        ("21.000", None), ("", None), (10**30, None), (10**400, None), (1e300, None), (None, None),
    ],
)  # fmt: skip
def test_amounts(value: Any, shipping: int | None) -> None:
    charges = read("dash", dash(quote={"amount": value})).details.charges
    assert charges == (None if shipping is None else Charges("IDR", shipping))


@pytest.mark.parametrize(("length", "kept"), [(1, True), (2000, True), (2048, True), (2049, False), (0, False)])
def test_a_link_is_kept_whole_or_not_at_all(length: int, kept: bool) -> None:
    link = "h" * length
    details = read("dash", dash(trackingURL=link, media=[{"type": "X", "url": link}])).details
    assert details.tracking_url == (link if kept else None)
    assert [proof.url for proof in details.proofs] == ([link] if kept else [])


def test_long_reasons_are_cut_and_pictures_limited() -> None:
    media = [{"type": "FAILED_PROOF", "url": f"https://p.example/{number}"} for number in range(30)]
    details = read("dash", dash("FAILED", failedReason="r" * 5000, media=media)).details
    assert details.reason == "r" * 2000
    assert [proof.url for proof in details.proofs] == [f"https://p.example/{number}" for number in range(20)]


def test_unstorable_characters_become_replacements() -> None:
    observation = read(
        "dash", b'{"deliveryID":"DE-1","status":"FAILED","failedReason":"a\\u0000b\\ud800c\\ud83d\\udce6"}'
    )
    assert observation.details.reason == "a\ufffdb\ufffdc\U0001f4e6"


@pytest.mark.parametrize(
    ("word", "fields", "reason"),
    [
        ("FAILED", {"failedReason": "f", "cancelledReason": "c"}, "f"),
        ("CANCELLED", {"failedReason": "f", "cancelledReason": "c"}, "c"),
        ("COMPLETED", {"failedReason": "f", "cancelledReason": "c"}, None),
        ("FAILED", {"failedReason": ""}, None),
    ],
)
def test_dash_reasons(word: str, fields: dict[str, str], reason: str | None) -> None:
    assert read("dash", dash(word, **fields)).details.reason == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reason": "a", "cancel_reason": "b", "rejection_note": "c"}, "a"),
        ({"reason": "", "cancel_reason": "b", "rejection_note": "c"}, "b"),
        ({"reason": 5, "rejection_note": "c"}, "c"),
        ({}, None),
    ],
)
def test_kiriminaja_reasons(fields: dict[str, Any], reason: str | None) -> None:
    assert read("kiriminaja", kiriminaja("canceled_packages", **fields)).details.reason == reason


# ---- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("", "no_shipment"),
        (" ", "no_shipment"),
        ("\u00a0\u3000\t", "no_shipment"),
        (None, "no_shipment"),
        (5, "no_shipment"),
        (1.5, "no_shipment"),
        (True, "no_shipment"),
        (["DE-1"], "no_shipment"),
        ({"id": "DE-1"}, "no_shipment"),
        ("x" * 129, "no_shipment"),
        ("é" * 65, "no_shipment"),
        ("a\x00b", "unstorable"),
        ("a\ud800b", "unstorable"),
    ],
)
def test_unusable_references(reference: Any, reason: str) -> None:
    assert refusal("dash", dash(deliveryID=reference)) == reason
    assert refusal("kiriminaja", kiriminaja(order_id=reference)) == reason
    if reference is not None and not (isinstance(reference, str) and not reference.strip()):
        assert refusal("kiriminaja", kiriminaja(order_id=reference, awb="A1")) == reason


def test_a_reference_is_judged_the_same_whatever_stands_beside_it() -> None:
    assert refusal("dash", b'{"deliveryID":"a\\u0000b","status":"ON_HOLD","x":"\\ud800","y":1e999}') == "unstorable"


@pytest.mark.parametrize("reference", ["x", "x" * 128, "é" * 64, "Ünïcødé-📦", "a b", "dash:1", "0"])
def test_usable_references(reference: str) -> None:
    assert read("dash", dash(deliveryID=reference)).shipment_id == f"dash:{reference}"
    assert read("kiriminaja", kiriminaja(order_id=reference)).shipment_id == f"kiriminaja:{reference}"


@pytest.mark.parametrize("around", [" {}", "{}\n", "\t{}\r\n", "\u00a0{}\u2003", "\u3000{}\u2028", "{}\u0085"])
@pytest.mark.parametrize("reference", ["DE-1", "a b", "x" * 128])
def test_white_space_around_a_reference_is_no_part_of_it(around: str, reference: str) -> None:
    spelled = around.format(reference)
    assert read("dash", dash(deliveryID=spelled)).shipment_id == f"dash:{reference}"
    assert read("dash", dash(providerOrderID=spelled)).details.order_id == reference
    item = read("kiriminaja", kiriminaja(order_id=spelled, awb=spelled))
    assert (item.shipment_id, item.details.order_id, item.details.awb) == (
        f"kiriminaja:{reference}",
        reference,
        reference,
    )
    assert read("kiriminaja", kiriminaja(order_id="\u3000", awb=spelled)).shipment_id == f"kiriminaja:{reference}"
    (entry_,) = pulled(tracking(entry(), details={"order_id": spelled, "awb": spelled}), reference=reference)
    assert (entry_.reference, entry_.details.order_id, entry_.details.awb) == (reference, reference, reference)
    for courier, body in (("dash", dash(deliveryID=spelled)), ("kiriminaja", kiriminaja(order_id=spelled))):
        (piece,) = COURIERS[courier].split(json.dumps(body).encode())
        assert piece.reference == reference


@pytest.mark.parametrize("visible", ["\u200b", "\ufeff", "_"])
def test_what_is_no_white_space_stays(visible: str) -> None:
    assert read("dash", dash(deliveryID=f"{visible}DE-1")).shipment_id == f"dash:{visible}DE-1"


@pytest.mark.parametrize("body", [dash("FAILED"), kiriminaja("shipped_packages"), instant("sent"), tracking(entry())])
def test_a_byte_order_mark_before_a_body_is_passed_over(body: dict[str, Any]) -> None:
    courier = "dash" if "deliveryID" in body else "kiriminaja"
    plain = json.dumps(body).encode()
    marked = b"\xef\xbb\xbf" + plain
    (piece,) = COURIERS[courier].split(marked)
    assert (piece.value, piece.reference) == (marked, read(courier, plain).reference)
    assert said(read(courier, marked)) == said(read(courier, plain))


@pytest.mark.parametrize("order_id", [None, "", " ", "\u3000\n"])
def test_a_message_with_only_an_awb_makes_its_own_shipment(order_id: str | None) -> None:
    observation = read("kiriminaja", kiriminaja(order_id=order_id, awb="A1"))
    assert (observation.shipment_id, observation.details.order_id, observation.details.awb) == (
        "kiriminaja:A1",
        None,
        "A1",
    )


# ---- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [None, "", 5, True, [], {}, ["FAILED"]])
def test_a_missing_or_odd_word_is_an_unknown_shape(word: Any) -> None:
    assert refusal("dash", dash(word)) == "unknown_shape"
    assert refusal("kiriminaja", kiriminaja(word)) == "unknown_shape"
    assert refusal("kiriminaja", instant(word)) == "unknown_shape"


def test_no_word_at_all() -> None:
    assert refusal("dash", {"deliveryID": "DE-1"}) == "unknown_shape"
    assert refusal("kiriminaja", {"data": [{"order_id": "X"}]}) == "unknown_shape"
    assert refusal("kiriminaja", {"method": "update_instant_packages", "data": {"order_id": "X"}}) == "unknown_shape"
    assert refusal("kiriminaja", {"method": "update_instant_packages", "packages": [{"order_id": "X"}]}) == (
        "unknown_shape"
    )


def test_an_unstorable_word_is_unknown() -> None:
    observation = read("dash", b'{"deliveryID":"DE-1","status":"FAILED\\u0000"}')
    assert (observation.word, observation.known) == ("FAILED\ufffd", False)


# ---- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"deliveryID":"DE-1","status":"FAI', "invalid_json"),
        (b'{"deliveryID":"DE-1","status":"FAILED"} x', "invalid_json"),
        (b"{'deliveryID':'DE-1'}", "invalid_json"),
        (b'{"deliveryID":"DE-1","status":"FAILED","a":NaN}', "invalid_json"),
        (b'{"deliveryID":"DE-1","status":"FAILED","a":Infinity}', "invalid_json"),
        (b'{"deliveryID":"DE-1","status":"FAILED","a":"\xff"}', "invalid_json"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"deliveryID":"DE-1","status":"FAILED"}', "invalid_json"),
        ('{"deliveryID":"DE-1","status":"FAILED"}'.encode("utf-16"), "invalid_json"),
        (b'{"deliveryID":"DE-1","status":"FAILED","a":' + b"[" * 200 + b"]" * 200 + b"}", "too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
        (b"[" * 100_000, "too_deep"),
        (b"5", "unknown_shape"),
        (b'"FAILED"', "unknown_shape"),
        (b"null", "unknown_shape"),
        (b"[]", "unknown_shape"),
        (b'[{"deliveryID":"DE-1","status":"FAILED"}]', "unknown_shape"),
        (b"{}", "unknown_shape"),
    ],
)
def test_unreadable_bodies(body: bytes, reason: str) -> None:
    assert refusal("dash", body) == reason


def test_nesting_at_the_limit_is_read() -> None:
    assert read("dash", b'{"deliveryID":"DE-1","status":"FAILED","a":' + b"[" * 199 + b"]" * 199 + b"}").known


def test_brackets_inside_texts_are_no_nesting() -> None:
    text = b'"' + b"[{" * 5000 + b'\\"[[[[\\\\"'
    assert read("dash", b'{"deliveryID":"DE-1","status":"FAILED","a":' + text + b"}").known


def test_of_duplicate_members_the_last_counts() -> None:
    observation = read("dash", b'{"status":"FAILED","deliveryID":"DE-1","status":"COMPLETED","deliveryID":"DE-2"}')
    assert (observation.reference, observation.word) == ("DE-2", "COMPLETED")


# ---- times -----------------------------------------------------------------------------------------------------------

Z = "2025-05-30T10:00:00.000000Z"


@pytest.mark.parametrize(
    ("fields", "at", "source"),
    [
        ("completedAt=2025-05-30T10:00:00Z updatedAt=2025-05-29T10:00:00Z", Z, "courier"),
        ("updatedAt=2025-05-30T10:00:00Z pickupAt=2025-05-29T10:00:00Z", Z, "courier"),
        ("pickupAt=2025-05-30T10:00:00Z createdAt=2025-05-29T10:00:00Z", Z, "courier"),
        ("failedAt=2025-05-30T10:00:00Z", NOW, "received"),
        ("createdAt=2025-05-30T10:00:00Z", NOW, "received"),
        ("completedAt=garbage updatedAt=2025-05-30T10:00:00Z", Z, "courier"),
        ("completedAt=2025-06-09T10:00:00Z updatedAt=2025-05-30T10:00:00Z", Z, "courier"),
        ("completedAt=2025-05-30T10:00:00", Z, "assumed_zone"),
        ("completedAt=2025-05-30T17:00:00+07:00", Z, "courier"),
    ],
)
def test_the_time_of_a_dash_event(fields: str, at: str, source: str) -> None:
    body = dash("COMPLETED", **dict(field.split("=") for field in fields.split()))
    assert occurred(read("dash", body)) == (at, source)


def test_the_time_of_an_express_pick_up() -> None:
    times = {"updatedAt": "2025-05-29T10:00:00Z", "pickupAt": "2025-05-30T10:00:00Z"}
    express = read("dash", dash("PENDING_DELIVERY", trackingURL="https://t.example/1", **times))
    assert occurred(express) == (Z, "courier")
    logistic = read("dash", dash("PENDING_DELIVERY", **times))
    assert occurred(logistic) == ("2025-05-29T10:00:00.000000Z", "courier")


OWN_TIMES = {
    "processed_packages": (),
    "shipped_packages": ("shipped_at",),
    "canceled_packages": ("canceled_at", "rejected_at"),
    "finished_packages": ("finished_at",),
    "returned_packages": ("returned_at", "return_finished_at"),
    "return_finished_packages": ("returned_at", "return_finished_at"),
    "problem_packages": ("problem_at",),
    "rejected_packages": ("rejected_at",),
    "validated_packages": (),
    "teleported_packages": (),
}
ALL_TIMES = (
    *("shipped_at", "canceled_at", "finished_at", "returned_at", "return_finished_at", "rejected_at", "problem_at"),
    *("event_date", "cancel_date", "created_at"),
)


@pytest.mark.parametrize("method", OWN_TIMES)
def test_the_time_of_a_kiriminaja_event_is_never_another_methods(method: str) -> None:
    own = OWN_TIMES[method]
    others = {name: "2025-05-01T10:00:00Z" for name in ALL_TIMES if name not in own}
    complete = len({"shipped_at", "finished_at", "returned_at", "rejected_at"}.intersection(others)) > 1
    dated = {"date": "2025-05-30 17:00:00"}
    assert complete
    assert occurred(read("kiriminaja", kiriminaja(method, **others))) == (NOW, "received")
    assert occurred(read("kiriminaja", kiriminaja(method, **dated))) == (Z, "assumed_zone")
    for at, name in enumerate(own):
        item = {**others, **dated, name: "2025-05-30T10:00:00Z"}
        later = dict.fromkeys(own[at + 1 :], "2025-05-02T10:00:00Z")
        assert occurred(read("kiriminaja", kiriminaja(method, **item, **later))) == (Z, "courier")


NULLS = ("shipped_at", "finished_at", "returned_at", "rejected_at")


@pytest.mark.parametrize("method", OWN_TIMES)
def test_the_date_of_the_complete_format_is_the_orders(method: str) -> None:
    """An item with two of the four names is complete, null or not; one with a single name is short."""
    of_the_order = method == "processed_packages"
    for names in (NULLS, NULLS[:2], NULLS[2:], (NULLS[0], NULLS[3])):
        item = {**dict.fromkeys(names), "date": "2025-05-30T10:00:00.000000Z"}
        said = occurred(read("kiriminaja", kiriminaja(method, **item)))
        assert said == ((Z, "courier") if of_the_order else (NOW, "received")), names
    for name in NULLS:
        item = {name: None, "date": "2025-05-30T10:00:00.000000Z"}
        assert occurred(read("kiriminaja", kiriminaja(method, **item))) == (Z, "courier"), name


def test_the_names_of_the_package_make_no_item_complete() -> None:
    package = {"order_id": "X", **dict.fromkeys(NULLS)}
    body = {**kiriminaja("problem_packages", date="2025-05-30T10:00:00Z"), "packages": [package]}
    assert occurred(read("kiriminaja", body)) == (Z, "courier")


@pytest.mark.parametrize("zero", ["0000-00-00 00:00:00", "-0001-11-30T00:00:00.000000Z", "1970-01-01 00:00:00"])
def test_a_zero_date_is_no_time_of_a_return(zero: str) -> None:
    for method in ("returned_packages", "return_finished_packages"):
        item = {"returned_at": zero, "date": "2025-05-30T10:00:00Z"}
        assert occurred(read("kiriminaja", kiriminaja(method, **item))) == (Z, "courier")


@pytest.mark.parametrize("status", ["cancel", "sent", "flown", "shipped_packages", "returned_packages"])
def test_the_time_of_an_instant_event(status: str) -> None:
    item = {"event_date": "2025-05-30T10:00:00.000000Z", "cancel_date": "2025-05-01T10:00:00Z"}
    others = {"shipped_at": "2025-05-01T10:00:00Z", "returned_at": "2025-05-01T10:00:00Z"}
    assert occurred(read("kiriminaja", instant(status, **item, **others))) == (Z, "courier")
    assert occurred(read("kiriminaja", instant(status, date="2025-05-30 17:00:00"))) == (Z, "assumed_zone")
    assert occurred(read("kiriminaja", instant(status, cancel_date="2025-05-01T10:00:00Z"))) == (NOW, "received")


@pytest.mark.parametrize(("ahead", "believed"), [(-1, True), (0, True), (1, False)])
def test_a_time_more_than_a_day_ahead_is_not_believed(ahead: int, believed: bool) -> None:
    stamp = format_time(RECEIVED + timedelta(days=1, microseconds=ahead))
    assert occurred(read("dash", dash(updatedAt=stamp))) == ((stamp, "courier") if believed else (NOW, "received"))
    assert (read("dash", dash(updatedAt=stamp)).updated_at is not None) is believed


# ---- identity --------------------------------------------------------------------------------------------------------


def test_a_repeat_has_the_same_identity_whatever_its_time_received() -> None:
    body = b'{"deliveryID":"DE-1","status":"FAILED","failedCount":1}'
    one, other = read("dash", body), read("dash", body, RECEIVED + timedelta(hours=1))
    assert (one.record_digest, one.reading_digest) == (other.record_digest, other.reading_digest)


def test_a_repeat_has_the_same_reading_whatever_its_spelling() -> None:
    one = read("dash", b'{"deliveryID":"DE-1","status":"FAILED","failedCount":1}')
    other = read("dash", b' { "failedCount":1,"status":"FAILED" ,"deliveryID":"DE-1"}')
    assert one.record_digest != other.record_digest
    assert said(one) == said(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"deliveryID": "DE-2"},
        {"status": "COMPLETED"},
        {"failedCount": 2},
        {"updatedAt": "2025-05-30T10:00:00Z"},
        {"updatedAt": "2026-05-30T10:00:00Z"},
        {"courier": {"name": "Ani"}},
        {"failedReason": "r"},
    ],
)
def test_another_reading_has_another_identity(changes: dict[str, Any]) -> None:
    one, other = read("dash", dash("FAILED")), read("dash", {**dash("FAILED"), **changes})
    assert one.record_digest != other.record_digest
    assert one.reading_digest != other.reading_digest


def test_what_the_reading_leaves_out_is_no_part_of_its_identity() -> None:
    one, other = read("dash", dash(weight=1)), read("dash", dash(weight=2))
    assert one.record_digest != other.record_digest
    assert one.reading_digest == other.reading_digest


def test_a_reading_does_not_depend_on_when_it_is_believed() -> None:
    ahead = dash(updatedAt="2025-06-05T10:00:00Z")
    early, later = read("dash", ahead), read("dash", ahead, datetime(2025, 6, 6, tzinfo=UTC))
    assert early.reading_digest == later.reading_digest
    assert (early.times, len(later.times)) == ({}, 1)


def test_spellings_of_emptiness_are_told_apart_only_by_the_record() -> None:
    bodies = [dash("FAILED", failedReason=empty) for empty in (None, "", 5)]
    assert len({read("dash", body).reading_digest for body in bodies}) == 1
    assert len({read("dash", body).record_digest for body in bodies}) == 3
