"""The raw record's headers, written and read again."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.records import Headers, Provenance, UnreadableError, read_provenance
from schemas.vocabulary import Source

RECEIVED = datetime(2025, 6, 1, 12, 0, 0, 120331, UTC)
STAMP_MS = 1_748_779_200_120
FULL = Provenance(
    courier="dash",
    received_at=RECEIVED,
    source=Source.REPLAY,
    account="toko",
    webhook_id="w1",
    item=2,
    items=3,
    replay_of="4:17",
    command_id="c1",
    content_type="application/json",
)


def test_headers_are_the_contracts() -> None:
    assert FULL.headers() == [
        ("courier", b"dash"),
        ("account", b"toko"),
        ("webhook-id", b"w1"),
        ("item", b"2/3"),
        ("received-at", b"2025-06-01T12:00:00.120331Z"),
        ("source", b"replay"),
        ("replay-of", b"4:17"),
        ("command-id", b"c1"),
        ("content-type", b"application/json"),
    ]


@pytest.mark.parametrize("provenance", [FULL, Provenance(courier="dash", received_at=RECEIVED)])
def test_read_again(provenance: Provenance) -> None:
    assert read_provenance(provenance.headers(), 0) == provenance


def test_empty_ones_are_left_out() -> None:
    headers = Provenance(courier="dash", received_at=RECEIVED, account="").headers()
    assert [name for name, _ in headers] == ["courier", "item", "received-at", "source"]


@pytest.mark.parametrize("received_at", [None, b"", b"garbage"])
def test_without_a_readable_time_the_records_own_counts(received_at: bytes | None) -> None:
    headers: Headers = [("courier", b"dash"), *([("received-at", received_at)] if received_at is not None else [])]
    found = read_provenance(headers, STAMP_MS)
    assert found.received_at == datetime(2025, 6, 1, 12, 0, 0, 120000, UTC)
    assert (found.source, found.item, found.items) == (Source.PUSH, 1, 1)


def test_a_record_without_a_timestamp_is_from_the_epoch() -> None:
    assert read_provenance([("courier", b"dash")], -1).received_at == datetime.fromtimestamp(0, UTC) - timedelta(
        milliseconds=1
    )


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("account", b"x")],
        [("courier", b"dash"), ("source", b"carrier_pigeon")],
        [("courier", b"dash"), ("item", b"first")],
        [("courier", b"dash"), ("item", b"1")],
    ],
)
def test_unreadable_headers(headers: Headers) -> None:
    with pytest.raises(UnreadableError) as caught:
        read_provenance(headers, STAMP_MS)
    assert caught.value.reason == "unknown_shape"


@pytest.mark.parametrize("timestamp_ms", [2**63 - 1, -(2**63)])
def test_an_impossible_timestamp_is_no_crash(timestamp_ms: int) -> None:
    with pytest.raises(UnreadableError):
        read_provenance([("courier", b"dash")], timestamp_ms)
