"""Pieces of a body as records."""

import hashlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingest.records import RawRecords
from schemas.couriers.base import WebhookItem
from schemas.records import Provenance, read_provenance

RECEIVED = datetime(2024, 12, 27, 15, 0, 1, 120331, tzinfo=UTC)


def webhook(account: str | None = None, received_at: datetime = RECEIVED) -> Provenance:
    return Provenance(
        courier="kiriminaja",
        received_at=received_at,
        account=account,
        webhook_id="w-1",
        content_type="application/json",
    )


def test_each_piece_becomes_one_record_in_order() -> None:
    pieces = [WebhookItem(b"one", "A"), WebhookItem(b"two", "B"), WebhookItem(b"three", None)]
    first, second, third = RawRecords(pieces, webhook())
    assert [record.value for record in (first, second, third)] == [b"one", b"two", b"three"]
    assert (first.key, second.key) == (b"kiriminaja:A", b"kiriminaja:B")
    assert first.headers == [
        ("courier", b"kiriminaja"),
        ("webhook-id", b"w-1"),
        ("item", b"1/3"),
        ("received-at", b"2024-12-27T15:00:01.120331Z"),
        ("source", b"push"),
        ("content-type", b"application/json"),
    ]
    assert ("item", b"3/3") in third.headers


def test_the_account_is_part_of_key_and_headers() -> None:
    (record,) = RawRecords([WebhookItem(b"one", "A")], webhook(account="shop-1"))
    assert record.key == b"kiriminaja.shop-1:A"
    assert ("account", b"shop-1") in record.headers


def test_bytes_that_name_no_shipment_are_keyed_by_their_digest() -> None:
    (record,) = RawRecords([WebhookItem(b"not json", None)], webhook())
    assert record.key == hashlib.blake2b(b"not json", digest_size=16).hexdigest().encode()


@given(microseconds=st.integers(0, 4_000_000_000_000_000))
def test_the_timestamp_is_the_time_received_cut_to_milliseconds(microseconds: int) -> None:
    received = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    (record,) = RawRecords([WebhookItem(b"one", "A")], webhook(received_at=received))
    assert record.timestamp_ms == microseconds // 1000
    assert read_provenance(record.headers, record.timestamp_ms).received_at == received
