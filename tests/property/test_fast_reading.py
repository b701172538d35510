"""Both ways of reading a Dash delivery give the same for every body, odd ones too."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.couriers.dash import envelope
from schemas.observation import Observation
from schemas.records import UnreadableError
from schemas.vocabulary import DeadLetterReason
from tests.unit.schemas.reading import read

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, 1e300, 1.0, 2.5, -0.0]),
    st.sampled_from(["", " ", "1", "\x00", "\ud800", "café", "2024-12-27T14:07:49.300Z", "2024-12-27 14:07", "none"]),
    st.text(max_size=4),
    st.sampled_from(["x" * 2_000, "x" * 2_001, "x" * 2_048, "x" * 2_049, "x" * 129, "é" * 64, "é" * 65]),
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner)
)
WORDS = st.sampled_from([*envelope.STATUSES, "TELEPORTED"])
TIMES = st.sampled_from(["2025-05-31T14:07:49.300Z", "2025-05-31T14:07:49Z", "2999-01-01T00:00:00Z"])


def members_of(**usual: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object whose members are mostly usual, and sometimes anything."""
    members = {name: st.one_of(value, value, value, ANYTHING) for name, value in usual.items()}
    return st.fixed_dictionaries({}, optional=members | {"more": ANYTHING})


PICTURES = members_of(
    type=st.sampled_from(["PICKUP_PROOF", "DELIVERY_PROOF"]), url=st.just("https://x/y"), createdAt=TIMES
)
DELIVERIES = members_of(
    deliveryID=st.sampled_from(["DE-1", " DE-1"]),
    status=WORDS,
    providerOrderID=st.just("ORDER-1"),
    failedCount=st.integers(0, 3),
    courier=members_of(name=st.just("Ani"), phone=st.just("08")),
    recipient=members_of(actualRecipientName=st.just("Budi")),
    quote=members_of(amount=st.integers(0, 30_000)),
    media=st.lists(PICTURES, max_size=22),
    trackingURL=st.just("https://x/t"),
    failedReason=st.just("closed"),
    cancelledReason=st.just("late"),
    updatedAt=TIMES,
    pickupAt=TIMES,
    completedAt=TIMES,
    failedAt=TIMES,
    cancelledAt=TIMES,
)
BROKEN = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from([b"", b"\xff", b'"', b"}", b"[", b"\\", b"0", b"\xef\xbb\xbf"]))
)


def outcome(value: bytes) -> Observation | DeadLetterReason:
    try:
        return read("dash", value)
    except UnreadableError as error:
        return error.reason


def tolerantly(value: bytes) -> Observation | DeadLetterReason:
    with patch.object(envelope, "as_documented", lambda _: None):
        return outcome(value)


@given(DELIVERIES, st.booleans())
def test_a_delivery_reads_the_same_both_ways(body: dict[str, Any], escaped: bool) -> None:
    value = json.dumps(body, ensure_ascii=escaped).encode(errors="surrogatepass")
    assert outcome(value) == tolerantly(value)


@given(DELIVERIES, BROKEN)
def test_a_broken_body_reads_the_same_both_ways(body: dict[str, Any], breaks: list[tuple[int, bytes]]) -> None:
    value = json.dumps(body).encode()
    for place, put in breaks:
        value = value[: place % (len(value) + 1)] + put + value[place % (len(value) + 1) + 1 :]
    assert outcome(value) == tolerantly(value)


@pytest.mark.parametrize("kind", ["sample", "deep", "wide", "twice", "huge"])
def test_whatever_is_passed_over_reads_the_same_both_ways(kind: str) -> None:
    more = {
        "sample": b'{"a":[1,2,{"b":null}]}',
        "deep": b"[" * 300 + b"]" * 300,
        "wide": b"[" + b"[]," * 300 + b"[]]",
        "twice": b'1,"status":"FAILED"',
        "huge": b"1" * 5_000,
    }[kind]
    value = b'{"deliveryID":"DE-1","status":"COMPLETED","more":' + more + b"}"
    assert outcome(value) == tolerantly(value)


def test_the_fast_way_is_taken_for_what_is_documented() -> None:
    body = {"deliveryID": "DE-1", "status": "FAILED", "failedCount": 1, "media": [], "courier": None, "weight": 80}
    assert envelope.as_documented(json.dumps(body).encode()) is not None
