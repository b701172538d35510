"""What is stored comes back as it was: every observation, and every event to its very bytes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event, Observed, Personal, RawCoordinates, ShownProof
from schemas.observation import (
    Accept,
    Carrier,
    Charges,
    Decision,
    Details,
    Dismiss,
    Driver,
    Erase,
    Observation,
    Proof,
    Retire,
    SetStatus,
    Stamp,
)
from schemas.stored_event import EventRow, event_bytes, pack_event, read_event, traceparent_of, with_traceparent
from schemas.stored_observation import pack_observation, read_observation
from schemas.times import format_time
from schemas.vocabulary import EventType, Phase, Service, Source, Status, TimeSource, Transition

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
maybe = st.none() | texts
numbers = st.integers(0, 2**63 - 1)
amounts = st.none() | numbers
moments = st.integers(-(2**51), 2**52).map(lambda micros: EPOCH + timedelta(microseconds=micros))
times = moments.map(format_time) | texts
statuses, services = st.sampled_from(Status), st.lists(st.sampled_from(Service), max_size=2).map(tuple)
ids = st.sampled_from(["dash:DE-1", "dash.toko:DE:1", "kiriminaja:", "x"]) | texts
owners = st.sampled_from([("dash", None, "DE-1"), ("dash", "toko", "DE:1"), ("kiriminaja", None, ""), ("", "", "x")])

carriers = st.none() | st.builds(Carrier, maybe, maybe)
charges = st.none() | st.builds(Charges, texts, amounts, amounts, amounts)
drivers = st.none() | st.builds(Driver, maybe, maybe)


def whole(struct: type[Any], **fields: Any) -> st.SearchStrategy[Any]:
    """Build a struct from all of its fields: a new one needs a place in the form."""
    assert set(fields) == set(struct.__struct_fields__), "a new field needs a place in the form"
    return st.builds(struct, **fields)


said_by = {"shipment_id": ids, "by": texts, "reason": texts}
decisions: st.SearchStrategy[Decision] = st.one_of(
    whole(SetStatus, status=statuses, **said_by),
    whole(Accept, anomaly_id=texts, record=texts, **said_by),
    whole(Dismiss, anomaly_id=texts, **said_by),
    whole(Erase, **said_by),
    whole(Retire, silent_since=moments, unfinished=st.booleans(), **said_by),
)
details = whole(
    Details,
    order_id=maybe,
    awb=maybe,
    carrier=carriers,
    charges=charges,
    driver=drivers,
    signed_by=maybe,
    tracking_url=maybe,
    reason=maybe,
    description=maybe,
    proofs=st.lists(whole(Proof, type=maybe, url=texts, occurred_at=st.none() | moments), max_size=2).map(tuple),
)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    courier, account, reference = draw(owners)
    drawn: Observation = draw(
        whole(
            Observation,
            shipment_id=ids,
            courier=st.just(courier),
            account=st.just(account),
            reference=st.just(reference),
            word=texts,
            status=st.none() | statuses,
            known=st.booleans(),
            received_at=moments,
            source=st.sampled_from(Source),
            record_digest=st.binary(max_size=16),
            reading_digest=st.binary(max_size=16),
            item=numbers,
            count=numbers,
            times=st.dictionaries(texts, st.builds(Stamp, moments, st.sampled_from(TimeSource)), max_size=3),
            updated_at=st.none() | moments,
            proves=services,
            hints=services,
            jumps_through=st.none() | statuses,
            details=details,
            former_digest=st.none() | st.binary(max_size=16),
            decision=st.none() | decisions,
            edition=st.integers(1, 3),
        )
    )
    return drawn


@st.composite
def events(draw: st.DrawFn) -> Event:
    courier, account, reference = draw(owners)
    proofs = st.lists(whole(ShownProof, type=maybe, url=texts, occurred_at=st.none() | times), max_size=2).map(tuple)
    drawn: Event = draw(
        whole(
            Event,
            id=st.just("dash:DE-1/1") | texts,
            type=st.sampled_from(EventType),
            shipment_id=ids,
            version=st.integers(1, 3),
            courier=st.just(courier),
            account=st.just(account),
            service=st.sampled_from(Service),
            carrier=carriers,
            courier_ref=st.just(reference),
            order_id=maybe,
            awb=maybe,
            status=statuses,
            previous_status=st.none() | statuses,
            phase=st.sampled_from(Phase),
            final=st.booleans(),
            transition=st.none() | st.sampled_from(Transition),
            skipped=st.lists(statuses, max_size=3).map(tuple),
            courier_status=texts,
            failed_count=numbers,
            attempt=numbers,
            occurred_at=times,
            occurred_at_source=st.sampled_from(TimeSource),
            received_at=times,
            recorded_at=st.just("2026-11-27T12:00:00.161007Z") | times,
            reason=maybe,
            description=maybe,
            charges=charges,
            personal=whole(Personal, driver=drivers, signed_by=maybe, tracking_url=maybe, proofs=proofs),
            observed=st.none() | whole(Observed, status=st.none() | statuses, courier_status=texts, occurred_at=times),
            resolves=st.lists(texts, max_size=3).map(tuple),
            source=st.sampled_from(Source),
            raw=whole(RawCoordinates, topic=texts, partition=st.integers(0, 2), offset=st.integers(0, 2)),
        )
    )
    return drawn


@given(observations())
def test_an_observation_comes_back(said: Observation) -> None:
    assert read_observation(said.shipment_id, None, pack_observation(said)) == said


@given(observations())
def test_what_older_versions_stored_is_read(said: Observation) -> None:
    assert read_observation("another", msgspec.json.encode(said).decode(), None) == said


@given(
    events(),
    st.just(datetime(2026, 11, 27, 12, 0, 0, 161007, tzinfo=UTC)) | moments,
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_an_event_comes_back_to_its_bytes(event: Event, recorded_at: datetime, partition: int, offset: int) -> None:
    row = EventRow(event.shipment_id, event.version, partition, offset)
    again = read_event(pack_event(event, row, recorded_at), row)
    assert again == event
    assert event_bytes(again) == msgspec.json.encode(event)
    assert traceparent_of(pack_event(event, row, recorded_at)) is None


@given(events(), moments)
def test_an_event_comes_back_with_the_header_of_its_trace(event: Event, recorded_at: datetime) -> None:
    row = EventRow(event.shipment_id, event.version, 0, 0)
    packed = with_traceparent(pack_event(event, row, recorded_at), TRACE)
    assert (read_event(packed, row), traceparent_of(packed)) == (event, TRACE)
