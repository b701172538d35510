"""What webhooks missed, asking mends; and it does no more than that."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.effects import Changed, Duplicate
from schemas.couriers import COURIERS
from schemas.couriers.pulling import news
from schemas.observation import Observation
from schemas.records import Provenance
from schemas.vocabulary import EventType, Source
from tests.property.driving import apply_all, observations_of, zone_of
from tests.strategies import (
    MINUTE,
    START,
    Parcel,
    Webhook,
    deliveries,
    encoded,
    history_entry,
    kiriminaja_item,
    naive,
    parcels,
    pieces_of,
    raw_records,
    tracking_answer,
)

PARCELS = {
    "dash express": deliveries("express"),
    "dash logistic": deliveries("logistic"),
    "kiriminaja": parcels(),
}
TOLD = {**PARCELS, "kiriminaja": parcels(told=True).filter(lambda parcel: bool(parcel.webhooks))}
"""Only what webhooks have words for."""


def learned(known: Sequence[Observation], answer: Webhook) -> list[Observation]:
    """What an answer tells beyond what is known."""
    courier = COURIERS[answer.courier]
    asked = Provenance(courier=answer.courier, received_at=answer.received_at, source=Source.PULL)
    zone = zone_of(answer.courier, Source.PULL)
    fresh = news(courier, pieces_of(answer), known, asked, zone)
    return [courier.read(piece.value, provenance, zone) for piece, provenance in fresh]


def arrived(data: st.DataObject, webhooks: Sequence[Webhook]) -> list[Observation]:
    """These, some of them sent again later, in any order."""
    again = [
        replace(webhook, received_at=webhook.received_at + data.draw(st.sampled_from([0, 1, 60 * 48])) * MINUTE)
        for webhook in (data.draw(st.lists(st.sampled_from(webhooks), max_size=3), "again") if webhooks else [])
    ]
    return data.draw(st.permutations(observations_of(raw_records([*webhooks, *again]))), "order")


def status_after(observations: Sequence[Observation]) -> str:
    (shipment,) = apply_all(observations)[0].values()
    assert shipment.snapshot is not None
    return shipment.snapshot.status


def check_healed(before: Sequence[Observation], parcel: Parcel) -> None:
    healed = [*before, *learned(before, parcel.answers[-1])]
    assert status_after(healed) == parcel.truth
    assert learned(healed, parcel.answers[-1]) == []
    again = observations_of(raw_records(parcel.answers[-1:]))
    _, applied = apply_all([*healed, *again])
    assert [each.effect for each in applied[len(healed) :]] == [Duplicate()] * len(again)


@pytest.mark.parametrize("kind", PARCELS)
@given(data=st.data())
def test_one_answer_heals_whatever_was_lost(kind: str, data: st.DataObject) -> None:
    parcel = data.draw(PARCELS[kind], "parcel")
    check_healed(arrived(data, [webhook for webhook in parcel.webhooks if data.draw(st.booleans())]), parcel)


@pytest.mark.parametrize("kind", PARCELS)
@given(data=st.data())
def test_earlier_answers_do_not_stand_in_the_way(kind: str, data: st.DataObject) -> None:
    parcel = data.draw(PARCELS[kind], "parcel")
    all_before = [*parcel.webhooks, *parcel.answers[:-1]]
    check_healed(arrived(data, [webhook for webhook in all_before if data.draw(st.booleans())]), parcel)


@pytest.mark.parametrize("kind", TOLD)
@given(data=st.data())
def test_where_nothing_was_lost_the_status_does_not_move(kind: str, data: st.DataObject) -> None:
    parcel = data.draw(TOLD[kind], "parcel")
    before = arrived(data, parcel.webhooks)
    expected = status_after(before)
    _, applied = apply_all([*before, *learned(before, parcel.answers[-1])])
    for each in applied[len(before) :]:
        assert each.snapshot is not None
        assert each.snapshot.status == expected
        if isinstance(each.effect, Changed):
            assert each.effect.type is not EventType.STATUS_CHANGED


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("finished_packages", 200),
        ("return_finished_packages", 402),
        ("return_finished_packages", 400),
        ("canceled_packages", 300),
        ("rejected_packages", 300),
    ],
)
@given(minutes=st.one_of(st.none(), st.integers(-5000, 1000)), shipped=st.booleans())
def test_a_pulled_final_status_confirms_the_same_whatever_its_time(
    method: str, code: int, minutes: int | None, *, shipped: bool
) -> None:
    at = START + 60 * MINUTE
    items = [("shipped_packages", START), (method, at)][0 if shipped else 1 :]
    pushed = [
        Webhook(
            "kiriminaja",
            encoded({"method": word, "data": [kiriminaja_item(word, when, "X", complete=False, going_back=False)]}),
            when + MINUTE,
        )
        for word, when in items
    ]
    created_at = "" if minutes is None else naive(at + minutes * MINUTE)
    answer = tracking_answer([history_entry(code, created_at)], at + 1000 * MINUTE)
    before = observations_of(raw_records(pushed))
    _, (*_, last, confirmed) = apply_all([*before, *learned(before, answer)])
    assert last.snapshot is not None
    assert confirmed.snapshot is not None
    assert confirmed.snapshot.status == last.snapshot.status
    assert isinstance(confirmed.effect, Changed | Duplicate)
    assert not (isinstance(confirmed.effect, Changed) and confirmed.effect.type is EventType.STATUS_CHANGED)
