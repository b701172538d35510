"""Operators' decisions and re-readings among webhooks: the order of arrival does not matter, and nothing comes back."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from processor.core.fold import Snapshot
from processor.core.plan import Plan, Planner
from processor.core.roots import RootShipment
from processor.core.state import Shipment, forgotten
from schemas.decisions import write_decision
from schemas.observation import Accept, Decision, Dismiss, Erase, Retire, SetStatus
from schemas.records import Provenance, RawRecord, reread_headers
from schemas.topics import Topic
from schemas.vocabulary import AnomalyKind, EventType, Outcome, Source, Status
from tests.property.driving import NOW, RAW_TOPIC, decoded, planned_both_ways, readings_of, refolded, roots_of, seen
from tests.strategies import WEBHOOKS, raw_records, renumbered

any_kind = st.sampled_from(list(WEBHOOKS))
with_refusals = st.sampled_from([kind for kind in WEBHOOKS if kind.endswith(" set") and "tied" not in kind])
WHO = {"by": "sari", "reason": "seen in the warehouse"}
LONG_AFTER = NOW + timedelta(days=400)


class World:
    """One partition's shipments, and the next offset."""

    def __init__(self) -> None:
        self.shipments: dict[str, Shipment] = {}
        self.log: list[RawRecord] = []
        self.plans: list[Plan] = []

    def take(self, records: Sequence[RawRecord]) -> Plan:
        """Plan records as one batch, behind all before."""
        placed = [msgspec.structs.replace(each, offset=len(self.log) + number) for number, each in enumerate(records)]
        self.log += placed
        made = Planner(self.shipments, RAW_TOPIC, NOW).add_all(readings_of(placed))
        self.shipments.update(made.shipments)
        self.plans.append(made)
        return made

    def snapshots(self) -> dict[str, Snapshot | None]:
        return {name: each.snapshot for name, each in self.shipments.items()}

    def rows(self) -> list[Any]:
        return [row for made in self.plans for row in made.observations if row.stored]


def decided(decision: Decision, at: datetime, command: str) -> RawRecord:
    courier, _, _ = decision.shipment_id.partition(":")
    provenance = Provenance(
        courier=courier.partition(".")[0], received_at=at, source=Source.OPERATOR, command_id=command
    )
    key = decision.shipment_id.encode()
    return RawRecord(0, 0, key, write_decision(decision), tuple(provenance.headers()), 0)


def again(record: RawRecord, command: str) -> RawRecord:
    return msgspec.structs.replace(record, headers=tuple(reread_headers(record, command)))


def kind_of_life(kind: str) -> st.SearchStrategy[list[RawRecord]]:
    return WEBHOOKS[kind].map(raw_records).flatmap(st.permutations).map(renumbered)


@given(data=st.data())
def test_a_status_that_was_set_stands_whatever_the_order_of_arrival(data: st.DataObject) -> None:
    records = data.draw(any_kind.flatmap(kind_of_life), "records")
    world = World()
    world.take(records)
    assume(world.shipments)
    name = data.draw(st.sampled_from(sorted(world.shipments)), "shipment")
    status = data.draw(st.sampled_from(list(Status)), "status")
    times = [entry.observation.received_at for entry in world.shipments[name].entries]
    assume(times)
    at = data.draw(st.sampled_from([*times, NOW]), "at")
    decision = decided(SetStatus(shipment_id=name, status=status, **WHO), at, "c1")
    ways = []
    for _ in range(3):
        other = World()
        for record in data.draw(st.permutations([*records, decision]), "order"):
            other.take([record])
        ways.append(other.snapshots())
    assert ways[0] == ways[1] == ways[2]


@given(data=st.data())
def test_a_status_set_last_is_the_status(data: st.DataObject) -> None:
    world = World()
    world.take(data.draw(any_kind.flatmap(kind_of_life), "records"))
    known = sorted(name for name, each in world.shipments.items() if each.snapshot)
    assume(known)
    name = data.draw(st.sampled_from(known), "shipment")
    version = world.shipments[name].version
    status = data.draw(st.sampled_from(list(Status)), "status")
    decision = decided(SetStatus(shipment_id=name, status=status, **WHO), LONG_AFTER, "c1")
    made = world.take([decision])
    after = world.shipments[name]
    assert after.snapshot is not None
    assert after.snapshot.status is status
    (event,) = [decoded(output.value) for output in made.outputs if output.topic is Topic.EVENTS]
    assert (event["status"], event["source"], event["version"]) == (status, "operator", version + 1)
    if event["type"] == EventType.STATUS_CHANGED:
        assert event["transition"] in {"forward", "recovery", "reassignment", "return", "reopened"}
    assert refolded(after, world.rows()) == after
    repeated = world.take([decision])
    assert not repeated.outputs or all(row.outcome is Outcome.DUPLICATE for row in repeated.observations)


def _open_refusals(world: World) -> list[tuple[str, str, str]]:
    return [
        (name, entry.anomaly, entry.observation.record_digest.hex())
        for name, each in sorted(world.shipments.items())
        for entry in each.entries
        if entry.anomaly and not entry.accepted
    ]


@given(data=st.data())
def test_accept_then_replay_is_the_same_snapshot(data: st.DataObject) -> None:
    records = data.draw(with_refusals.flatmap(kind_of_life), "records")
    world = World()
    world.take(records)
    refusals = _open_refusals(world)
    assume(refusals)
    name, anomaly, digest = data.draw(st.sampled_from(refusals), "refusal")
    made = world.take([decided(Accept(shipment_id=name, anomaly_id=anomaly, record=digest, **WHO), NOW, "c1")])
    accepted = world.shipments[name]
    assert anomaly not in [refusal for _, refusal, _ in _open_refusals(world)]
    (event,) = [decoded(output.value) for output in made.outputs if output.topic is Topic.EVENTS]
    assert anomaly in event["resolves"]
    assert refolded(accepted, world.rows()) == accepted
    before = seen(accepted)
    some = data.draw(st.lists(st.sampled_from(world.log[: len(records)]), max_size=5), "replayed")
    replayed = world.take([again(each, f"r{number}") for number, each in enumerate(some)])
    assert not [output for output in replayed.outputs if output.topic is not Topic.DEAD_LETTERS]
    assert seen(accepted) == before


@given(data=st.data())
def test_dismissing_changes_nothing(data: st.DataObject) -> None:
    world = World()
    world.take(data.draw(with_refusals.flatmap(kind_of_life), "records"))
    refusals = _open_refusals(world)
    assume(refusals)
    name, anomaly, _ = data.draw(st.sampled_from(refusals), "refusal")
    before = world.shipments[name].snapshot
    made = world.take([decided(Dismiss(shipment_id=name, anomaly_id=anomaly, **WHO), NOW, "c1")])
    assert not made.outputs
    assert world.shipments[name].snapshot == before
    assert anomaly in world.shipments[name].dismissed
    assert refolded(world.shipments[name], world.rows()) == world.shipments[name]


@given(data=st.data())
def test_a_replay_of_any_range_changes_nothing(data: st.DataObject) -> None:
    records = data.draw(any_kind.flatmap(kind_of_life), "records")
    world = World()
    for record in records:
        world.take([record])
    before = {name: seen(shipment) for name, shipment in world.shipments.items()}
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(records))] * 2), "range"))
    made = world.take([again(each, f"r{each.offset}") for each in world.log[first:last]])
    assert not [output for output in made.outputs if output.topic is not Topic.DEAD_LETTERS]
    assert {name: seen(shipment) for name, shipment in world.shipments.items()} == before
    assert not [row for row in made.observations if row.stored]


@given(data=st.data())
def test_what_is_read_again_among_decisions_and_webhooks_is_recognised_rightly(data: st.DataObject) -> None:
    records = data.draw(any_kind.flatmap(kind_of_life), "records")
    world, cut = World(), data.draw(st.integers(1, max(1, len(records))), "cut")
    world.take(records[:cut])
    assume(world.shipments)
    name = data.draw(st.sampled_from(sorted(world.shipments)), "shipment")
    refused = [
        Accept(shipment_id=each, anomaly_id=anomaly, record=digest, **WHO)
        for each, anomaly, digest in _open_refusals(world)
    ]
    decisions: list[Decision] = [
        *refused[:2],
        SetStatus(shipment_id=name, status=data.draw(st.sampled_from(list(Status)), "status"), **WHO),
        Erase(shipment_id=name, **WHO),
        Retire(shipment_id=name, silent_since=LONG_AFTER, unfinished=True, **WHO),
    ]
    made = data.draw(st.lists(st.sampled_from(decisions), max_size=3, unique=True), "decisions")
    batch = [
        *(again(each, f"r{each.offset}") for each in world.log),
        *(decided(each, NOW, f"c{number}") for number, each in enumerate(made)),
        *records[cut:],
    ]
    placed = enumerate(data.draw(st.permutations(batch), "batch"), start=len(world.log))
    readings = readings_of(msgspec.structs.replace(each, offset=offset) for offset, each in placed)
    planned_both_ways(world.shipments, roots_of(world.plans, world.shipments), readings)


PERSONAL = ("Agus", "0811", "tracking.dummy", "https://s/", "Sari", "Budi")


@given(data=st.data())
def test_what_was_erased_never_comes_back(data: st.DataObject) -> None:
    records = data.draw(any_kind.flatmap(kind_of_life), "records")
    world = World()
    cut = data.draw(st.integers(0, len(records)), "cut")
    world.take(records[:cut])
    assume(world.shipments)
    name = data.draw(st.sampled_from(sorted(world.shipments)), "shipment")
    world.take([decided(Erase(shipment_id=name, **WHO), NOW, "c1")])
    erased = world.shipments[name].snapshot
    late = world.take(records[cut:])
    replayed = world.take([again(each, f"r{each.offset}") for each in world.log[:cut]])
    for made in (late, replayed):
        for output in made.outputs:
            if output.topic is Topic.EVENTS and output.shipment_id == name:
                assert set(map(str, decoded(output.value)["personal"].values())) <= {"None", "[]"}
        for row in made.observations:
            if row.observation.shipment_id == name:
                details = row.observation.details
                assert forgotten(row.observation).details == details
    if cut == len(records):
        assert world.shipments[name].snapshot == erased
    shown = msgspec.json.encode(world.shipments[name].snapshot).decode()
    assert not [each for each in PERSONAL if each in shown]


@given(data=st.data())
def test_a_retired_shipment_keeps_its_row_and_tells_of_latecomers(data: st.DataObject) -> None:
    records = data.draw(any_kind.flatmap(kind_of_life), "records")
    world = World()
    world.take(records)
    assume(world.shipments)
    name = data.draw(st.sampled_from(sorted(world.shipments)), "shipment")
    before = msgspec.structs.replace(world.shipments[name])
    unfinished = data.draw(st.booleans(), "unfinished ones too")
    young = Retire(shipment_id=name, silent_since=datetime.min.replace(tzinfo=NOW.tzinfo), unfinished=unfinished, **WHO)
    assert not world.take([decided(young, NOW, "c0")]).retired
    retire = Retire(shipment_id=name, silent_since=LONG_AFTER, unfinished=unfinished, **WHO)
    made = world.take([decided(retire, NOW, "c1")])
    after = world.shipments[name]
    if not after.retired:
        assert made.outputs == []
        assert not unfinished or before.snapshot is None
        return
    assert before.snapshot is not None
    assert after.snapshot is not None
    assert (after.version, after.snapshot.status) == (before.version, before.snapshot.status)
    assert [(output.topic, output.value) for output in made.outputs] == [(Topic.STATE, None)]
    assert made.retired == {name}
    of_it = [each for each in world.log[: len(records)] if _names(each, name)]
    late = world.take(of_it[:2])
    events = [decoded(output.value) for output in late.outputs if output.topic is Topic.EVENTS]
    assert [(each["type"], each["version"]) for each in events] == [
        (EventType.HISTORY_ADDED, before.version + number) for number in range(1, len(events) + 1)
    ]
    assert len(events) == len(of_it[:2])
    assert all(output.value is None for output in late.outputs if output.topic is Topic.STATE)


def _names(record: RawRecord, name: str) -> bool:
    (reading,) = readings_of([record])
    observation = getattr(reading, "observation", None)
    return observation is not None and observation.shipment_id == name


def test_a_reading_that_names_another_shipment_is_refused_once() -> None:
    """The root at 0:7 was about another shipment, as the database remembers."""
    body = b'{"deliveryID":"DE-1","status":"VERIFIED","updatedAt":"2025-03-01T08:00:00Z"}'
    headers = tuple(Provenance(courier="dash", received_at=NOW).headers())
    root = RawRecord(0, 7, b"dash:DE-1", body, headers, 0)
    first = Planner({}, RAW_TOPIC, NOW, roots={(0, 7): [_other()]}).add_all(
        readings_of([again(root, "a"), again(root, "b")])
    )
    kinds = [decoded(output.value)["kind"] for output in first.outputs]
    assert kinds == [AnomalyKind.SHIPMENT_CHANGED]
    assert [row.outcome for row in first.observations] == [Outcome.ANOMALY, Outcome.UNCHANGED]
    assert decoded(first.outputs[0].value)["raw"]["offset"] == 7


def _other() -> RootShipment:
    return RootShipment("dash:DE-2")
