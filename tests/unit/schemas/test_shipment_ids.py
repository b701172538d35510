"""A shipment's id is made and parsed in one place, and comes back whole."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.couriers import COURIERS
from schemas.records import ACCOUNT
from schemas.shipment_ids import ShipmentName, parse_shipment_id, shipment_id

couriers = st.sampled_from(sorted(COURIERS))
accounts = st.none() | st.from_regex(ACCOUNT, fullmatch=True)
references = st.text(min_size=1) | st.text(alphabet=":./-A1 ", min_size=1)


@given(courier=couriers, account=accounts, reference=references)
@example(courier="dash", account=None, reference="a.b:c")
@example(courier="dash", account="shop", reference=":a:/anomaly/")
def test_an_id_has_the_parts_that_it_was_made_of(courier: str, account: str | None, reference: str) -> None:
    made = shipment_id(courier, account, reference)
    assert parse_shipment_id(made) == ShipmentName(courier, account, reference)


@given(one=st.tuples(couriers, accounts, references), other=st.tuples(couriers, accounts, references))
def test_no_two_shipments_have_one_id(one: tuple[str, str | None, str], other: tuple[str, str | None, str]) -> None:
    assert (shipment_id(*one) == shipment_id(*other)) == (one == other)


@given(text=st.text() | st.text(alphabet=":.dash"))
def test_every_text_can_be_parsed(text: str) -> None:
    found = parse_shipment_id(text)
    if ":" not in text:
        assert found.reference == ""
    elif found.account is not None or "." not in text.partition(":")[0]:
        assert shipment_id(found.courier, found.account, found.reference) == text


@pytest.mark.parametrize("name", sorted(COURIERS))
def test_no_couriers_name_can_be_taken_for_a_longer_one(name: str) -> None:
    assert not set(name) & set(".:")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dash:X", ("dash", None, "X")),
        ("dash.shop:X", ("dash", "shop", "X")),
        ("kiriminaja:a.b:c", ("kiriminaja", None, "a.b:c")),
        ("", ("", None, "")),
        ("X-1", ("X-1", None, "")),
    ],
)
def test_examples(text: str, parts: tuple[str, str | None, str]) -> None:
    assert parse_shipment_id(text) == ShipmentName(*parts)
