"""The planner over whole logs: batches never show, nothing is lost, and everything written can be published."""

from collections import Counter
from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processor.core import plan as planning
from processor.core.messages import messages
from processor.core.reading import Reading
from schemas.records import RawRecord
from schemas.topics import Topic
from schemas.vocabulary import AnomalyKind, EventType, Outcome
from tests.property.driving import decoded, plan_in_batches, plans_in_turn, readings_of
from tests.strategies import START, WEBHOOKS, Webhook, dash_body, encoded, odd_json, raw_records, renumbered

MAX_MESSAGE_BYTES = 1_048_576
"""What a broker takes by default."""

broken_bodies = st.sampled_from(
    [b"", b"{", b"[]", b"\xff", b'{"deliveryID":5,"status":"FAILED"}', b'{"status":"FAILED"}']
)
broken = st.builds(
    lambda courier, body: Webhook(courier, body, START), st.sampled_from(["dash", "kiriminaja"]), broken_bodies
)
any_kind = st.sampled_from(list(WEBHOOKS.values())).flatmap(lambda kind: kind)


@st.composite
def logs(draw: st.DrawFn) -> list[RawRecord]:
    """One partition's log: several shipments of both couriers interleaved, and bodies nobody can read."""
    webhooks = [*draw(any_kind), *draw(any_kind), *draw(st.lists(broken, max_size=3))]
    return renumbered(draw(st.permutations(raw_records(webhooks))))


def cuts_of(readings: Sequence[Reading]) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(0, len(readings)))


@given(data=st.data())
def test_batches_never_show(data: st.DataObject) -> None:
    readings = readings_of(data.draw(logs(), "log"))
    singly = plan_in_batches(readings, range(1, len(readings)))
    batched = plan_in_batches(readings, data.draw(cuts_of(readings), "cuts"))
    for field in ("observations", "outputs", "dead_letters"):
        assert [each for plan in batched for each in getattr(plan, field)] == [
            each for plan in singly for each in getattr(plan, field)
        ]
    states: list[dict[str, object]] = [{}, {}]
    for state, plans in zip(states, (singly, batched), strict=True):
        for plan in plans:
            state.update(plan.shipments)
    assert states[0] == states[1]


@given(log=logs(), in_order=st.booleans())
def test_what_comes_in_its_turn_comes_to_the_same_as_when_it_is_compared(log: list[RawRecord], in_order: bool) -> None:
    if in_order:
        log = renumbered(sorted(log, key=lambda record: record.headers))  # by the time received, above all
    readings = readings_of(log)
    (quick,) = plan_in_batches(readings, [])
    with patch.object(planning, "follow", return_value=None):
        (compared,) = plan_in_batches(readings, [])
    assert quick == compared


@given(data=st.data())
def test_a_batch_names_what_it_changed(data: st.DataObject) -> None:
    readings = readings_of(data.draw(logs(), "log"))
    versions: dict[str, int] = {}
    for plan in plans_in_turn(readings, data.draw(cuts_of(readings), "cuts")):
        newer = {name for name, each in plan.shipments.items() if each.version > versions.get(name, 0)}
        assert newer == set(plan.changed)
        versions.update((name, each.version) for name, each in plan.shipments.items())


@given(log=logs())
def test_nothing_is_lost(log: list[RawRecord]) -> None:
    """Records = events + duplicates + anomalies (without `service_conflict`) + unchanged + dead letters."""
    (plan,) = plan_in_batches(readings_of(log), [])
    topics = Counter(output.topic for output in plan.outputs)
    anomalies = [decoded(output.value) for output in plan.outputs if output.topic is Topic.ANOMALIES]
    conflicts = Counter(each["shipment_id"] for each in anomalies if each["kind"] == AnomalyKind.SERVICE_CONFLICT)
    outcomes = Counter(row.outcome for row in plan.observations)
    assert topics[Topic.EVENTS] == outcomes[Outcome.EVENT]
    assert len(anomalies) - conflicts.total() == outcomes[Outcome.ANOMALY]
    assert topics[Topic.DEAD_LETTERS] == len(plan.dead_letters)
    assert len(log) == outcomes.total() + len(plan.dead_letters)
    assert all(times == 1 for times in conflicts.values())


@given(log=logs())
def test_ids_are_unique_and_causes_in_order(log: list[RawRecord]) -> None:
    (plan,) = plan_in_batches(readings_of(log), [])
    ids = [decoded(output.value)["id"] for output in plan.outputs if output.topic in {Topic.EVENTS, Topic.ANOMALIES}]
    assert len(ids) == len(set(ids))
    places = [(output.cause, output.ordinal) for output in plan.outputs]
    assert places == sorted(set(places))


@given(log=logs())
def test_everything_written_can_be_published_and_read(log: list[RawRecord]) -> None:
    (plan,) = plan_in_batches(readings_of(log), [])
    _check_messages(plan.outputs)
    for output in plan.outputs:
        if output.topic is Topic.EVENTS:
            event = decoded(output.value)
            assert event["type"] in set(EventType)
            assert event["id"] == f"{event['shipment_id']}/{event['version']}"


@example(more=dict.fromkeys(("trackingURL", "failedReason", "providerOrderID"), "�\x00" * 5000))
@example(more={"courier": {"name": "é" * 100_000, "phone": "\x00" * 100_000}})
@example(more={"media": [{"url": "\x01" * 2048, "type": "\x02" * 9999}] * 400})
@example(more={"failedReason": "\x01" * 100_000, "recipient": {"actualRecipientName": "\x1f" * 100_000}})
@given(
    more=st.dictionaries(
        st.sampled_from(
            ["trackingURL", "failedReason", "providerOrderID", "courier", "media", "quote", "recipient", "failedCount"]
        ),
        odd_json,
    )
)
def test_odd_details_never_hinder_a_known_status(more: dict[str, object]) -> None:
    body = encoded({**dash_body("FAILED", 1, START), **more})
    (plan,) = plan_in_batches(readings_of(raw_records([Webhook("dash", body, START)])), [])
    (output,) = plan.outputs
    assert decoded(output.value)["status"] == "FAILED"
    _check_messages(plan.outputs)


def _check_messages(outputs: Sequence[object]) -> None:
    for output in outputs:
        for message in messages(output):  # type: ignore[arg-type]
            assert message.value is not None
            size = (
                len(message.value) + len(message.key or b"") + sum(len(k) + len(v or b"") for k, v in message.headers)
            )
            if message.topic is not Topic.DEAD_LETTERS:
                message.value.decode()
                decoded(message.value)
                assert size < MAX_MESSAGE_BYTES
                assert b"\\u0000" not in message.value


@pytest.mark.parametrize("kind", [name for name in WEBHOOKS if name.endswith("life")])
@given(data=st.data())
def test_lives_have_no_dead_letters(kind: str, data: st.DataObject) -> None:
    (plan,) = plan_in_batches(readings_of(raw_records(data.draw(WEBHOOKS[kind]))), [])
    assert not plan.dead_letters
