"""Both ways of splitting a body, reading what is needed alone and reading all of it, give the same for every body."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.couriers import COURIERS, dash
from schemas.couriers.base import WebhookItem
from schemas.couriers.kiriminaja import push
from tests.property.test_reading import envelopes, shaped
from tests.strategies import encoded, odd_json
from tests.unit.schemas.examples import SAMPLES

every_courier = pytest.mark.parametrize("courier", COURIERS)

references = st.one_of(st.sampled_from(["X", " X", "X ", "Y", "", " ", None, "x" * 128, "x" * 129, "\x00"]), odd_json)
orders = st.one_of(st.fixed_dictionaries({}, optional={"order_id": references, "awb": references}), odd_json)
of_one = st.fixed_dictionaries(
    {"method": st.sampled_from(["shipped_packages", "update_instant_packages", "shipped_package", "shTracking"])},
    optional={
        "data": st.one_of(st.lists(orders, max_size=2), orders),
        "packages": st.one_of(st.lists(orders, max_size=2), orders),
        "payment": odd_json,
    },
)
deliveries = st.fixed_dictionaries({}, optional={"deliveryID": references, "status": odd_json, "media": odd_json})
BREAKS = st.lists(
    st.tuples(st.integers(0, 2_000), st.sampled_from([b"", b"\xff", b'"', b"}", b"[", b"\\", b"0", b"\xef\xbb\xbf"])),
    min_size=1,
    max_size=3,
)


def whole(courier: str, body: bytes) -> list[WebhookItem]:
    """Split a body by reading all of it."""
    with patch.object(dash, "is_skippable", lambda _: False), patch.object(push, "is_skippable", lambda _: False):
        return COURIERS[courier].split(body)


def check(courier: str, body: bytes) -> None:
    assert COURIERS[courier].split(body) == whole(courier, body)


@every_courier
@example(b'{"deliveryID":"D","more":' + b"[" * 300 + b"]" * 300 + b"}")
@example(b'{"deliveryID":"D","more":' + b"[" + b"[]," * 300 + b"[]]}")
@example(b'{"deliveryID":"D","more":' + b"9" * 5000 + b"}")
@example(b'{"deliveryID":"D","more":1e999}')
@example(b'{"deliveryID":"D","more":"\\ud800"}')
@example(b'{"deliveryID":"D","more":"\xff"}')
@example(b'{"deliveryID":"D","deliveryID":7}')
@example(b'{"deliveryID":7,"deliveryID":"D"}')
@example(b'{"delivery\\u0049D":"D"}')
@example(b'\xef\xbb\xbf{"deliveryID":"D"}')
@example(b'{"method":"shipped_packages","data":{"0":{"order_id":"X"}}}')
@example(b'{"method":"shipped_packages","data":{"0":{"order_id":"X"},"order_id":"Y"}}')
@example(b'{"method":"shipped_packages","data":[{"order_id":"X"}],"data":[{"order_id":"Y"},{"order_id":"Z"}]}')
@example(b'{"method":"shTracking","method":"shipped_packages","data":[{"order_id":"X"}]}')
@example(b'{"method":"shipped_packages","data":[{"order_id":"X","a":"\xff"}]}')
@example(b'{"method":"shipped_packages","data":[{"order_id":"X","a":' + b"[" * 250 + b"]" * 250 + b"}]}")
@given(body=st.binary(max_size=200))
def test_any_bytes(courier: str, body: bytes) -> None:
    check(courier, body)


@every_courier
@given(value=st.one_of(shaped, envelopes, of_one, deliveries))
def test_any_json(courier: str, value: object) -> None:
    check(courier, encoded(value))


@given(value=of_one)
def test_a_webhook_of_one(value: Any) -> None:
    check("kiriminaja", encoded(value))


@given(name=st.sampled_from(sorted(SAMPLES)), breaks=BREAKS)
def test_a_broken_sample(name: str, breaks: list[tuple[int, bytes]]) -> None:
    body = SAMPLES[name].read_bytes()
    for place, put in breaks:
        at = place % (len(body) + 1)
        body = body[:at] + put + body[at + 1 :]
    check(name.partition("/")[0], body)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_is_usual_is_not_read_as_a_whole(name: str) -> None:
    courier, body = name.partition("/")[0], SAMPLES[name].read_bytes()
    expected = whole(courier, body)
    read_all = AssertionError("all of it is read")
    if "tracking" in name or len(expected) > 1:
        return
    with patch.object(dash, "load", side_effect=read_all), patch.object(push, "split", side_effect=read_all):
        assert COURIERS[courier].split(body) == expected
