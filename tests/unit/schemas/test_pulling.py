"""What couriers answer when they are asked: the records of it, what belongs to which, and what of it is news."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from schemas.couriers import COURIERS
from schemas.couriers.base import NotFound, WebhookItem
from schemas.couriers.dash.pull import token_of
from schemas.couriers.kiriminaja import pull
from schemas.couriers.pulling import news
from schemas.observation import Carrier, Charges, Driver, Observation
from schemas.records import Provenance, UnreadableError
from schemas.vocabulary import Source
from tests.unit.schemas.examples import SAMPLES
from tests.unit.schemas.reading import (
    JAKARTA,
    NOW,
    RECEIVED,
    answered,
    dash,
    entry,
    kiriminaja,
    occurred,
    pulled,
    read,
    refusal,
    tracking,
)

KIRIMINAJA, DASH = COURIERS["kiriminaja"], COURIERS["dash"]
ASKED = Provenance(courier="kiriminaja", received_at=RECEIVED, source=Source.PULL)
Z = "2025-05-30T10:00:00.000000Z"


def pieces(answer: bytes | Any, reference: str = "X") -> list[WebhookItem]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    found = answered("kiriminaja", body, reference)
    assert isinstance(found, list)
    return found


def refused(courier: str, answer: bytes, reference: str = "X") -> str:
    with pytest.raises(UnreadableError) as caught:
        answered(courier, answer, reference)
    return str(caught.value.reason)


# ---- records ---------------------------------------------------------------------------------------------------------


def test_each_entry_becomes_a_record_in_its_own_bytes_oldest_first() -> None:
    details = b'{ "awb":"A1",\n"order_id" : "X", "name":"Ren\\u00e9 \xf0\x9f\x93\xa6", "costs":{"shipping_cost":1.50} }'
    newest = b'{"status_code" : 200, "big":1000000000000000000000000000000,"z":1E3}'
    oldest = b'{"status_code":101,\t"driver":"" }'
    answer = (
        b'{"status":true, "details" :' + details + b', "histories":[ ' + newest + b" ,\n" + oldest + b' ],"text":"t"}'
    )
    head = b'{"method":"shTracking","order_id":"X","details":' + details + b',"histories":['
    assert pieces(answer) == [WebhookItem(head + oldest + b"]}", "X"), WebhookItem(head + newest + b"]}", "X")]


def test_a_record_stands_for_itself() -> None:
    for piece in pieces(SAMPLES["kiriminaja/tracking/delivered.json"].read_bytes(), "OID-8793949106"):
        assert KIRIMINAJA.split(piece.value) == [piece]
        assert pieces(piece.value, "OID-8793949106") == [piece]


def test_several_entries_in_one_record_are_refused() -> None:
    assert refusal("kiriminaja", tracking(entry(), entry())) == "unknown_shape"
    assert refusal("kiriminaja", tracking(5)) == "unknown_shape"
    assert refusal("kiriminaja", tracking(histories="x")) == "unknown_shape"


@pytest.mark.parametrize("text", ["Data not found", "", None])
def test_not_found(text: str | None) -> None:
    assert answered("kiriminaja", json.dumps({"status": False, "text": text}).encode(), "X") == NotFound()
    assert (
        answered("kiriminaja", json.dumps({"status": False, "details": None, "histories": []}).encode(), "X")
        == NotFound()
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "invalid_json"),
        (b"<html>502 Bad Gateway</html>", "invalid_json"),
        (b'{"status":true,"details":{},"histories":[', "invalid_json"),
        (b'{"status":true,"details":{"x":' + b"[" * 300 + b"]" * 300 + b"}}", "too_deep"),
        (b"null", "unknown_shape"),
        (b"[]", "unknown_shape"),
        (b'"text"', "unknown_shape"),
        (b"{}", "unknown_shape"),
        (b'{"status":true}', "unknown_shape"),
        (b'{"status":true,"details":null,"histories":[]}', "unknown_shape"),
        (b'{"status":true,"details":[],"histories":[]}', "unknown_shape"),
        (b'{"status":true,"details":{},"histories":"soon"}', "unknown_shape"),
        (b'{"status":true,"details":{},"histories":{"a":1}}', "unknown_shape"),
        (b'{"status":true,"details":{"order_id":"Y"},"histories":[]}', "no_shipment"),
        (b'{"status":true,"details":{"order_id":"Y","awb":"Z"},"histories":[{"status_code":200}]}', "no_shipment"),
    ],
)
def test_malformed_answers(answer: bytes, reason: str) -> None:
    assert refused("kiriminaja", answer) == reason


def test_details_too_large_for_so_many_entries() -> None:
    details = {"order_id": "X", "x": "x" * 500_000}
    assert len(pieces(tracking(*[entry()] * 30, details=details))) == 30
    assert refused("kiriminaja", json.dumps(tracking(*[entry()] * 100, details=details)).encode()) == "unknown_shape"


def test_the_record_names_what_was_asked_for() -> None:
    by_awb = pulled(tracking(entry(200)), reference="A1")
    assert [(one.reference, one.details.order_id, one.details.awb) for one in by_awb] == [("A1", "X", "A1")]
    nameless = pulled(tracking(entry(200), details={"order_id": None, "awb": ""}))
    assert [(one.shipment_id, one.details.order_id, one.details.awb) for one in nameless] == [
        ("kiriminaja:X", None, None)
    ]


def test_nothing_is_told_without_history_and_code() -> None:
    nothing: list[Any] = [[], None, {}, ""]
    for empty in nothing:
        assert pieces(tracking(histories=empty, status_code=None)) == []


@pytest.mark.parametrize(
    ("own", "overall", "word", "status", "at"),
    [
        (None, 101, "101", "PENDING_PICKUP", (NOW, "received")),
        (300, 100, "300", "CANCELLED", (NOW, "received")),
        (None, 100, "100", "IN_TRANSIT", ("2025-05-29T03:00:00.000000Z", "assumed_zone")),
        ("", 200, "200", "DELIVERED", (Z, "assumed_zone")),
        (402, None, "402", "RETURNED", (NOW, "received")),
        (None, 999, "999", None, (NOW, "received")),
    ],
)
def test_an_answer_without_history_says_where_the_parcel_stands(
    own: Any, overall: Any, word: str, status: str | None, at: tuple[str, str]
) -> None:
    details = {"status_code": own, "delivered_at": "2025-05-30 17:00:00"}
    (observation,) = pulled(tracking(details=details, status_code=overall))
    assert (observation.word, observation.status, observation.details.description) == (word, status, "newest")
    assert occurred(observation) == at
    later, *_ = pulled(tracking(details={**details, "awb": "A2"}, status_code=overall), received_at=LATER)
    assert same(observation, later)


# ---- what belongs to an entry ----------------------------------------------------------------------------------------

GROWN = {
    "service": "jne",
    "service_name": "REG",
    "costs": {"currency": "IDR", "shipping_cost": 10000, "cod": 5000, "insurance_amount": 100},
    "images": {"camera_img": "https://c", "signature_img": "", "pop_img": "https://p"},
}
LATER = RECEIVED + timedelta(hours=6)


def test_each_entry_takes_what_belongs_to_it() -> None:
    delivered = entry(200, status="Delivered to BAGUS", receiver="BAGUS", driver="Agus")
    scan, last = pulled(tracking(delivered, entry(100, receiver="GUDANG"), details=GROWN))
    for one in (scan, last):
        assert (one.details.order_id, one.details.awb) == ("X", "A1")
        assert one.details.carrier == Carrier("jne", "REG")
        assert one.details.charges == Charges("IDR", 10000, 5000, 100)
        assert (one.details.reason, one.details.tracking_url) == (None, None)
    assert (scan.details.description, scan.details.signed_by, scan.details.driver) == ("scan", None, None)
    assert scan.details.proofs == ()
    assert (last.details.description, last.details.signed_by) == ("Delivered to BAGUS", "BAGUS")
    assert last.details.driver == Driver("Agus")
    assert [(proof.type, proof.url) for proof in last.details.proofs] == [
        ("camera_img", "https://c"),
        ("pop_img", "https://p"),
    ]


@pytest.mark.parametrize(
    ("created_at", "at"),
    [
        ("2025-05-30 17:00:00", (Z, "assumed_zone")),
        ("2025-05-30T10:00:00Z", (Z, "courier")),
        ("", (NOW, "received")),
        (None, (NOW, "received")),
        ("0000-00-00 00:00:00", (NOW, "received")),
        ("2025-06-09 17:00:00", (NOW, "received")),
    ],
)
def test_the_time_of_an_entry(created_at: Any, at: tuple[str, str]) -> None:
    others = {"delivered_at": "2025-05-01 10:00:00", "refunded_at": "2025-05-02 10:00:00"}
    (observation,) = pulled(tracking(entry(200, created_at, date="2025-05-03 10:00:00"), details=others))
    assert occurred(observation) == at


# ---- identity --------------------------------------------------------------------------------------------------------


def same(one: Observation, other: Observation) -> bool:
    digests = {(each.record_digest, each.reading_digest) for each in (one, other)}
    return len(digests) == 1


def test_an_entry_is_the_same_in_a_grown_answer() -> None:
    before = pulled(tracking(entry(101), entry(105), details={"awb": None}))
    after = pulled(
        tracking(entry(500), entry(152), entry(101), entry(105), details=GROWN, text="other", status_code=500),
        received_at=LATER,
    )
    assert all(same(*pair) for pair in zip(before, after, strict=False))
    assert len({one.record_digest for one in after}) == len({one.reading_digest for one in after}) == 4


def test_a_new_package_is_another_entry_once_it_is_shipped() -> None:
    (new,) = pulled(tracking(entry(100), details={"shipped_at": ""}))
    (shipped,) = pulled(tracking(entry(100)))
    assert (new.status, shipped.status) == ("CREATED", "IN_TRANSIT")
    assert new.record_digest != shipped.record_digest
    assert new.reading_digest != shipped.reading_digest


@pytest.mark.parametrize(
    "changes", [{"status_code": 152}, {"created_at": "2025-05-30 17:01:00"}, {"status": "x"}, {"receiver": "x"}]
)
def test_another_entry_has_another_identity(changes: dict[str, Any]) -> None:
    one, other = pulled(tracking({**entry(200), **changes}, entry(200)))
    assert one.record_digest != other.record_digest
    assert one.reading_digest != other.reading_digest


# ---- news ------------------------------------------------------------------------------------------------------------


def fresh(answer: Any, *known: Observation) -> list[tuple[str, int, int]]:
    found = news(KIRIMINAJA, pieces(answer), known, ASKED, JAKARTA)
    assert all(provenance.source is Source.PULL for _, provenance in found)
    return [(read("kiriminaja", piece.value).word, provenance.item, provenance.items) for piece, provenance in found]


def test_what_is_known_is_no_news() -> None:
    first = tracking(entry(101), entry(105), details={"shipped_at": ""})
    grown = tracking(entry(500), entry(100), entry(101), entry(105))
    pushed = read("kiriminaja", kiriminaja("processed_packages"))
    assert fresh(first, pushed) == [("105", 1, 2), ("101", 2, 2)]
    assert fresh(first, pushed, *pulled(first)) == []
    assert fresh(grown, pushed, *pulled(first)) == [("100", 3, 4), ("500", 4, 4)]
    assert fresh(grown, *pulled(grown)) == []


def test_either_digest_tells_what_is_known() -> None:
    (known,) = pulled(tracking(entry(200)))
    for digest in ("record_digest", "reading_digest"):
        assert fresh(tracking(entry(200)), msgspec.structs.replace(known, **{digest: b"of older code"})) == []


def test_an_entry_told_twice_is_news_once() -> None:
    assert fresh(tracking(entry(100), entry(100))) == [("100", 1, 2)]


def test_an_unknown_code_is_news_once() -> None:
    answer = tracking(entry(None), entry(999))
    assert fresh(answer) == [("999", 1, 2), ("null", 2, 2)]
    assert fresh(answer, *pulled(answer)) == []


def test_a_delivery_as_its_webhook_told_it_is_no_news() -> None:
    body = json.dumps(dash("FAILED", failedCount=1)).encode()
    found = answered("dash", b" " + body, "DE-1")
    assert isinstance(found, list)
    known = read("dash", body)
    assert news(DASH, found, [known], ASKED, JAKARTA) == []
    assert [piece for piece, _ in news(DASH, found, [read("dash", dash("IN_DELIVERY"))], ASKED, JAKARTA)] == found


# ---- Dash ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name.startswith("dash/express/")])
def test_get_delivery_answers_in_the_webhooks_envelope(sample: str) -> None:
    body = SAMPLES[sample].read_bytes()
    reference = json.loads(body)["deliveryID"]
    assert answered("dash", body, reference) == [WebhookItem(body, reference)] == DASH.split(body)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "invalid_json"),
        (b"[]", "unknown_shape"),
        (b'{"message":"not found"}', "unknown_shape"),
        (b'{"deliveryID":"X"}', "unknown_shape"),
        (b'{"deliveryID":"X","status":null}', "unknown_shape"),
        (b'{"deliveryID":"Y","status":"FAILED"}', "no_shipment"),
        (b'{"status":"FAILED"}', "no_shipment"),
    ],
)
def test_malformed_deliveries(answer: bytes, reason: str) -> None:
    assert refused("dash", answer) == reason


def test_a_token() -> None:
    assert token_of(b'{"token":"eyJ.a-b_c/+=", "x":1}') == "eyJ.a-b_c/+="


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{}", b"[]", b"null", b'{"token":null}', b'{"token":""}', b'{"token":5}', b'{"token":"a\\r\\nX: y"}',
        b'{"token":"a b"}', b'{"token":"\\u00e9"}', b'{"error":"geheim"}',
    ],
)  # fmt: skip
def test_no_token(answer: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        token_of(answer)
    assert "geheim" not in str(caught.value)


def test_the_method_tells_pulled_from_pushed() -> None:
    assert pull.METHOD not in KIRIMINAJA.words["method"]
    assert read("kiriminaja", kiriminaja("shTracking2")).known is False
    assert (
        KIRIMINAJA.split(b'{"method":"sh\\u0054racking","details":{"awb":"A1"},"histories":[{}]}')[0].reference == "A1"
    )
