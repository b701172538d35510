"""Whatever arrives is read, or refused in the one way the processor knows."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.records import Provenance, UnreadableError
from schemas.shipment_ids import shipment_id
from schemas.vocabulary import Source
from tests.model.reference import Said, pairs, read_dash, read_entry, read_kiriminaja
from tests.property.driving import JAKARTA, zone_of
from tests.strategies import (
    DASH_DETAILS_ONLY,
    DASH_KNOWN,
    KIRIMINAJA_METHODS,
    KIRIMINAJA_STATUSES,
    START,
    WEBHOOKS,
    encoded,
    odd_json,
    pieces_of,
    written_times,
)

every_courier = pytest.mark.parametrize("courier", COURIERS)
PROVENANCE = {name: Provenance(courier=name, received_at=START) for name in COURIERS}

keys = st.sampled_from(
    [
        "deliveryID",
        "status",
        "failedCount",
        "media",
        "quote",
        "recipient",
        "courier",
        "trackingURL",
        "updatedAt",
        "pickupAt",
        "failedAt",
        "method",
        "data",
        "packages",
        "order_id",
        "awb",
        "date",
        "driver",
        "service_type",
        "shipped_at",
        "returned_at",
        "payment",
        "details",
        "histories",
        "status_code",
        "created_at",
    ]
)
words = st.sampled_from(
    [
        *DASH_KNOWN,
        *DASH_DETAILS_ONLY,
        *KIRIMINAJA_METHODS,
        *KIRIMINAJA_STATUSES,
        "update_instant_packages",
        "shTracking",
        "X",
        "Y",
    ]
)
shaped = st.recursive(
    st.one_of(odd_json, words, written_times),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=6)),
    max_leaves=20,
)
"""JSON with the couriers' own names in the wrong places."""

items = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "order_id": st.sampled_from(["X", "Y", "Z", "", None, 5, "x" * 200]),
            "awb": st.sampled_from(["1", "2", "", None]),
            "status": words,
            "service_type": st.sampled_from(["instant", "REG"]),
            "date": written_times,
        },
    ),
    odd_json,
)
envelopes = st.fixed_dictionaries(
    {"method": st.one_of(words, odd_json)},
    optional={
        "data": st.one_of(st.lists(items, max_size=4), items),
        "packages": st.one_of(st.lists(items, max_size=4), items),
        "payment": odd_json,
        "details": items,
        "histories": st.one_of(st.lists(items, max_size=2), items),
        "order_id": words,
        "\ud800": odd_json,
    },
)


def read(courier: str, value: bytes, **provenance: Any) -> Observation | UnreadableError:
    try:
        return COURIERS[courier].read(
            value, msgspec.structs.replace(PROVENANCE[courier], **provenance), zone_of(courier, Source.PUSH)
        )
    except UnreadableError as error:
        return error


def check(courier: str, body: bytes) -> None:
    """Split never raises; each piece is read or refused; the door names the shipment that the processor finds."""
    for piece in COURIERS[courier].split(body):
        found = read(courier, piece.value)
        if isinstance(found, Observation):
            assert piece.reference == found.reference
            assert found.shipment_id == shipment_id(courier, None, piece.reference)
            assert COURIERS[courier].split(piece.value) == [piece]
            msgspec.json.encode(found.details)


@every_courier
@example(body=b"[" * 100_000)
@example(body=b'{"method":"shipped_packages","data":' + b"[" * 300 + b"]" * 300 + b"}")
@example(body=b'{"deliveryID":"D","status":"FAILED","failedCount":' + b"9" * 5000 + b"}")
@example(body=b'{"deliveryID":"D","status":"FAILED","failedCount":NaN}')
@example(body=b'{"deliveryID":"D","status":"FAILED","x":1e999}')
@example(body=b'\xef\xbb\xbf{"deliveryID":"D","status":"FAILED"}')
@example(body='{"deliveryID":"D","status":"FAILED"}'.encode("utf-16"))
@given(body=st.binary(max_size=200))
def test_any_bytes(courier: str, body: bytes) -> None:
    check(courier, body)


@every_courier
@given(value=shaped)
def test_any_json(courier: str, value: object) -> None:
    check(courier, encoded(value))


@given(envelope=envelopes)
def test_any_kiriminaja_envelope(envelope: Mapping[str, object]) -> None:
    check("kiriminaja", encoded(envelope))


@every_courier
@given(value=shaped, at=st.integers(0, 400), byte=st.binary(min_size=0, max_size=2))
def test_damaged_json(courier: str, value: object, at: int, byte: bytes) -> None:
    body = encoded(value)
    check(courier, body[:at] + byte + body[at + 1 :])


@pytest.mark.parametrize("kind", WEBHOOKS)
@given(data=st.data())
def test_a_piece_alone_says_what_it_says_in_the_body(kind: str, data: st.DataObject) -> None:
    for webhook in data.draw(WEBHOOKS[kind]):
        pieces = pieces_of(webhook)
        for place, piece in enumerate(pieces, start=1):
            found = read(webhook.courier, piece.value, item=place, items=len(pieces))
            assert isinstance(found, Observation)
            assert found.reference == piece.reference
            assert read(webhook.courier, piece.value, item=place, items=len(pieces)) == found


@pytest.mark.parametrize("kind", WEBHOOKS)
@given(data=st.data())
def test_a_body_says_what_the_model_reads_in_it(kind: str, data: st.DataObject) -> None:
    for webhook in data.draw(WEBHOOKS[kind]):
        for piece in pieces_of(webhook):
            found = read(webhook.courier, piece.value, received_at=webhook.received_at)
            assert isinstance(found, Observation)
            body = json.loads(piece.value)
            if webhook.courier == "dash":
                expected = read_dash(body, webhook.received_at)
            elif webhook.asked:
                expected = read_entry(body, webhook.received_at, JAKARTA)
            else:
                expected = read_kiriminaja(body, webhook.received_at, JAKARTA)
            times = {name: stamp.at for name, stamp in found.times.items()}
            said = Said(
                found.reference,
                found.word,
                found.known,
                found.status,
                frozenset(found.proves),
                found.count,
                expected.read,
                times,
            )
            assert said == expected


@pytest.mark.parametrize("kind", WEBHOOKS)
@given(data=st.data())
def test_what_is_said_has_nothing_to_do_with_when_and_how_it_came(kind: str, data: st.DataObject) -> None:
    """Both digests leave out the time received and the source, that of the reading the white space too."""
    for webhook in data.draw(WEBHOOKS[kind]):
        (first, *_) = pieces_of(webhook)
        one = read(webhook.courier, first.value, received_at=webhook.received_at)
        other = read(webhook.courier, first.value, source="pull")
        spaced = read(webhook.courier, first.value + b"\n ", source="pull")
        assert isinstance(one, Observation)
        assert isinstance(other, Observation)
        assert isinstance(spaced, Observation)
        assert one.record_digest == other.record_digest
        assert one.reading_digest == other.reading_digest == spaced.reading_digest


spelled_orders = st.sampled_from(["X", " X", "X\u3000", "x", "Y", "", "  ", None, 5])
spelled_awbs = st.sampled_from(["A", "a ", "B", "", None, 5])
parts: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({}, optional={"order_id": spelled_orders, "awb": spelled_awbs, "reason": st.just("r")}),
    st.sampled_from([None, 7, "text", []]),
)
lists = st.one_of(
    st.lists(parts, max_size=3),
    parts,
    st.dictionaries(st.sampled_from(["0", "1", "9", "10", "007"]), parts, max_size=3),
)


def reference_of(item: Any, package: Any) -> str | None:
    for name in ("order_id", "awb"):
        for part in (item, package):
            value = part.get(name) if isinstance(part, dict) else None
            if isinstance(value, str) and value.strip():
                return value.strip()
            if value is not None and not isinstance(value, str):
                return None
    return None


@given(data=lists, packages=st.one_of(st.none(), lists))
def test_a_body_is_split_as_the_model_splits_it(data: Any, packages: Any) -> None:
    body = {"method": "shipped_package", "data": data, **({} if packages is None else {"packages": packages})}
    pieces = COURIERS["kiriminaja"].split(encoded(body))
    expected = pairs(body)
    if len(expected) <= 1:
        (piece,) = pieces
        assert json.loads(piece.value) == body
        assert piece.reference == (reference_of(*expected[0]) if expected else None)
        return
    made = [json.loads(piece.value) for piece in pieces]
    assert [(each.get("data", [None])[0], each.get("packages", [None])[0]) for each in made] == expected
    assert [piece.reference for piece in pieces] == [reference_of(*pair) for pair in expected]


def identities(webhook: Any, piece: Any) -> tuple[str, str, str]:
    """What the digests stand for: of the record, of the record as older editions named it, and of the reading."""
    found = read(webhook.courier, piece.value, received_at=webhook.received_at)
    assert isinstance(found, Observation)
    body = json.loads(piece.value)
    details: Any = found.details
    if webhook.courier == "dash":
        said, record = read_dash(body, webhook.received_at), body
    elif webhook.asked:
        said, (entry,) = read_entry(body, webhook.received_at, JAKARTA), body["histories"]
        record = details = [said.reference, entry, said.status if said.word == "100" else None]
    else:
        said = read_kiriminaja(body, webhook.received_at, JAKARTA)
        record = [body["method"], *pairs(body)[0]]
    reading = (said.reference, said.word, said.status, said.read, said.count, sorted(said.proves), details)
    canonical = json.dumps(record, sort_keys=True)
    return (
        canonical if webhook.asked and webhook.courier == "kiriminaja" else str(piece.value),
        canonical,
        repr(reading),
    )


@pytest.mark.parametrize("kind", [kind for kind in WEBHOOKS if kind.endswith("life")])
@given(data=st.data())
def test_what_identifies_a_record_and_a_reading(kind: str, data: st.DataObject) -> None:
    both = []
    for webhook in data.draw(WEBHOOKS[kind]):
        for piece in pieces_of(webhook):
            found = read(webhook.courier, piece.value, received_at=webhook.received_at)
            assert isinstance(found, Observation)
            former = COURIERS[webhook.courier].former_digest(piece.value)
            both.append((found, former, *identities(webhook, piece)))
    for one, former, record, canonical, reading in both:
        for other, its_former, its_record, its_canonical, its_reading in both:
            assert (one.record_digest == other.record_digest) == (record == its_record)
            if former is not None and its_former is not None:
                assert (former == its_former) == (canonical == its_canonical)
            assert (one.reading_digest == other.reading_digest) == (reading == its_reading)
