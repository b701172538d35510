"""Reading raw records again: nothing comes of it with the same code, and exactly today's truth with another."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.replay import overlay
from operators.replay.preview import Preview
from operators.shared.rereading import reread
from processor.core.plan import Plan, Planner
from processor.core.reading import Read, Reading
from processor.core.roots import Roots, recognised
from processor.core.shipment import apply
from processor.core.state import Shipment
from schemas.couriers.dash import envelope
from schemas.couriers.kiriminaja import pull
from schemas.couriers.reading import text
from schemas.observation import KEPT_OBSERVATIONS
from schemas.records import RawRecord
from schemas.topics import Topic
from schemas.vocabulary import Outcome, Status
from tests.integration.system import lives
from tests.property.driving import (
    NOW,
    RAW_TOPIC,
    plan_in_batches,
    planned_both_ways,
    readings_of,
    refolded,
    roots_of,
    seen,
    snapshots,
    zone_of,
)
from tests.property.driving import observations_of as observed
from tests.property.test_plan import logs
from tests.strategies import WEBHOOKS, raw_records, renumbered

Known = Callable[[Sequence[Plan]], dict[str, Shipment]]
"""Gives the shipments behind plans."""


def again(log: Sequence[RawRecord], chosen: Sequence[RawRecord], job: str = "job") -> list[Reading]:
    """The records that a replay appends behind a log: those that today's code cannot read are passed over."""
    readings = [reread(root, f"{job}/{root.at}", zone_of, 1) for root in chosen]
    return [reading for reading in readings if isinstance(reading, Read)]


def after(plans: Sequence[Plan]) -> dict[str, Shipment]:
    """The shipments as they are kept in memory."""
    shipments: dict[str, Shipment] = {}
    for made in plans:
        shipments.update(made.shipments)
    return shipments


def read_back(plans: Sequence[Plan]) -> dict[str, Shipment]:
    """The shipments as they are read back from the database."""
    rows = [row for made in plans for row in made.observations if row.stored]
    return {name: refolded(shipment, rows) for name, shipment in after(plans).items()}


def planned(plans: Sequence[Plan], readings: Sequence[Reading], known: Known | None = None) -> Plan:
    return planned_both_ways((known or read_back)(plans), roots_of(plans, after(plans)), readings)


@pytest.mark.parametrize("known", [after, read_back])
@given(data=st.data())
def test_with_the_same_code_nothing_comes_of_it(known: Known, data: st.DataObject) -> None:
    log = data.draw(logs(), "log")
    plans = plan_in_batches(readings_of(log), [])
    chosen = data.draw(st.permutations(log), "order")[: data.draw(st.integers(0, len(log)), "chosen")]
    before = {name: seen(shipment) for name, shipment in known(plans).items()}
    made = planned(plans, again(log, chosen), known)
    assert (list(made.outputs), dict(made.changed)) == ([], {})
    assert {row.outcome for row in made.observations} <= {Outcome.UNCHANGED}
    assert not [row for row in made.observations if row.stored]
    for name, shipment in made.shipments.items():
        assert seen(shipment) == before[name]


@given(log=logs())
def test_with_the_same_code_what_is_kept_is_recognised(log: list[RawRecord]) -> None:
    plans = plan_in_batches(readings_of(log), [])
    marked = recognised(again(log, log), roots_of(plans, after(plans)))
    kept = {(row.record.partition, row.record.offset) for made in plans for row in made.observations if row.kept}
    assert {each.root for each in marked if isinstance(each, Read) and each.known} == kept


words = st.sampled_from([word for word, status in envelope.STATUSES.items() if status])
"""Those that have a status today. Of a word that has lost its status the old reading may stay: a re-reading that would
leave a shipment without any status is left out, since a row is never taken back."""

older_words: st.SearchStrategy[Mapping[str, Status | None]] = st.dictionaries(
    words, st.none() | st.sampled_from([Status.FAILED, Status.IN_DELIVERY, Status.CANCELLED]), max_size=4
)


@contextmanager
def older(changed: Mapping[str, Status | None], missing: set[str], reason: str) -> Iterator[None]:
    """Have Dash's words mean something else, and some nothing; take the reason of a failure from some field."""
    with patch.dict(envelope.STATUSES, changed), patch.dict(envelope.REASONS, {"FAILED": reason}):
        for word in missing:
            envelope.STATUSES.pop(word, None)
        yield


@given(data=st.data())
def test_a_creation_entry_that_an_older_edition_took_for_a_scan_is_replaced(data: st.DataObject) -> None:
    """The first edition looked only whether `shipped_at` was empty, and named the record so."""
    log = renumbered(raw_records(data.draw(WEBHOOKS["kiriminaja pulled set"], "webhooks")))
    older_rule = lambda _entry, details, _zone: text(details.get("shipped_at")) is None  # noqa: E731
    cut = data.draw(st.integers(0, len(log)), "cut")
    with patch.object(pull, "_before_the_pick_up", older_rule):
        plans = plan_in_batches(readings_of(log[:cut]), [])
    plans.append(Planner(read_back(plans), RAW_TOPIC, NOW).add_all(readings_of(log[cut:])))
    order = data.draw(st.permutations(log), "order")
    made = planned(plans, again(log, order))
    plans.append(made)
    truth = {name: each for name, each in snapshots(observed(log)).items() if each}
    assert {name: each.snapshot for name, each in after(plans).items() if each.snapshot} == truth
    assert {name: each.snapshot for name, each in read_back(plans).items() if each.snapshot} == truth
    second = planned(plans, again(log, log, "second"))
    assert not second.outputs


@pytest.mark.parametrize("kind", [name for name in WEBHOOKS if name.startswith("dash")])
@given(data=st.data())
def test_with_another_decoder_todays_truth_comes_of_it(kind: str, data: st.DataObject) -> None:
    log = raw_records(data.draw(WEBHOOKS[kind], "webhooks"))
    reason = data.draw(st.sampled_from(["failedReason", "deliveryID", "note"]), "reason")
    with older(data.draw(older_words, "changed"), data.draw(st.sets(words, max_size=3), "missing"), reason):
        plans = plan_in_batches(readings_of(log), [])
    order = data.draw(st.permutations(log), "order")
    truth = snapshots(observed(log))
    made = planned(plans, again(log, order))
    plans.append(made)
    assert {name: each.snapshot for name, each in after(plans).items() if each.snapshot} == {
        name: each for name, each in truth.items() if each
    }
    versions = [output.version for output in made.outputs if output.topic is Topic.EVENTS]
    assert len(versions) == len(set(versions))
    second = planned(plans, again(log, log, "second"))
    assert not second.outputs
    assert not [row for row in second.observations if row.stored]


@given(data=st.data())
def test_what_a_replay_by_other_code_has_changed_is_taken_back_by_todays(data: st.DataObject) -> None:
    """The root's own row says what today's code reads, and counts no more."""
    log = raw_records(data.draw(st.sampled_from(list(WEBHOOKS.values())).flatmap(lambda kind: kind), "webhooks"))
    plans = plan_in_batches(readings_of(log), [])
    with older(data.draw(older_words, "changed"), data.draw(st.sets(words, max_size=3), "missing"), "note"):
        plans.append(planned(plans, again(log, data.draw(st.permutations(log), "order"))))
    plans.append(planned(plans, again(log, data.draw(st.permutations(log), "order"), "second")))
    truth = {name: each for name, each in snapshots(observed(log)).items() if each}
    assert {name: each.snapshot for name, each in read_back(plans).items() if each.snapshot} == truth


class Database:
    """What plans have stored, as the store gives it."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans

    async def load_some(self, names: Sequence[str], _most: int) -> tuple[dict[str, Shipment], int]:
        stored = read_back(self._plans)
        return {name: stored[name] for name in names if name in stored}, len(names)

    async def recall(self, _readings: Sequence[Reading]) -> tuple[frozenset[str], Roots]:
        return frozenset(), roots_of(self._plans, after(self._plans))


def foreseen(plans: Sequence[Plan], chunks: Sequence[Sequence[Reading]]) -> tuple[object, ...]:
    """Return what the plan of a replay tells."""
    preview = Preview(Database(plans), RAW_TOPIC, {}, NOW, KEPT_OBSERVATIONS)  # type: ignore[arg-type]
    for chunk in chunks:
        asyncio.run(preview.apply(chunk))
    return preview.outcomes, preview.events, preview.anomalies, preview.shipments, preview.changes()


@given(data=st.data())
def test_a_plan_is_the_same_however_little_is_held_and_however_it_is_cut(data: st.DataObject) -> None:
    log = data.draw(logs(), "log")
    with older(data.draw(older_words, "changed"), data.draw(st.sets(words, max_size=3), "missing"), "note"):
        plans = plan_in_batches(readings_of(log), [])
    readings = again(log, data.draw(st.permutations(log), "order"))
    whole = foreseen(plans, [readings])
    with patch.object(overlay, "HELD_BYTES", 0):
        assert foreseen(plans, [readings]) == whole
        assert foreseen(plans, [[each] for each in readings]) == whole


def test_shipments_that_were_let_go_are_changed_further() -> None:
    log = [
        RawRecord(0, offset, raw.key, raw.value, tuple(raw.headers), raw.timestamp_ms)
        for offset, raw in enumerate(lives(3))
    ]
    with older({"VERIFIED": Status.FAILED, "IN_DELIVERY": Status.CANCELLED}, {"FAILED"}, "note"):
        plans = plan_in_batches(readings_of(log), [])
    readings = again(log, log)
    whole = foreseen(plans, [readings])
    with patch.object(overlay, "HELD_BYTES", 0), patch.object(overlay, "apply", wraps=apply) as applied:
        assert foreseen(plans, [[each] for each in readings]) == whole
    assert applied.call_count >= 6
    *_, changes = whole
    assert isinstance(changes, list)
    assert len(changes) == 3
