"""The fold kept up to date entry by entry is the fold of all entries at once, whatever comes in whatever order."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core import timeline
from processor.core.plan import ObservationRow
from processor.core.state import forgotten
from schemas.observation import Accept, Dismiss, Erase, SetStatus
from schemas.records import RawRecord
from schemas.times import format_time, read_time
from schemas.vocabulary import Status
from tests.property.driving import refolded, seen
from tests.property.test_decisions import WHO, World, again, any_kind, decided, kind_of_life
from tests.property.test_replay import older, older_words, words
from tests.strategies import WEBHOOKS, raw_records

AT_ONCE = 1_000
"""A stretch longer than any life here."""


def check(world: World) -> None:
    """Every shipment is what a restarted processor reads back, and folds in one stretch."""
    with patch.object(timeline, "FULL", AT_ONCE):
        for shipment in world.shipments.values():
            back = refolded(shipment, [stored(row, erased=shipment.erased) for row in world.rows()])
            assert seen(back) == seen(shipment)
            assert back == shipment


def stored(row: ObservationRow, *, erased: bool) -> ObservationRow:
    """A row as it is stored: an erasure rewrites those before it."""
    return msgspec.structs.replace(row, observation=forgotten(row.observation)) if erased else row


def received(record: RawRecord) -> datetime:
    written = dict(record.headers)["received-at"]
    assert written is not None
    found = read_time(written.decode(), UTC)
    assert found is not None
    return found[0]


def copied(record: RawRecord, minutes: int) -> RawRecord:
    """The same body, received at another time."""
    at = format_time(received(record) + timedelta(minutes=minutes)).encode()
    headers = tuple((name, at if name == "received-at" else value) for name, value in record.headers)
    return msgspec.structs.replace(record, headers=headers)


@given(data=st.data(), full=st.integers(2, 5))
def test_copies_and_decisions_among_webhooks(data: st.DataObject, full: int) -> None:
    records = data.draw(any_kind.flatmap(kind_of_life), "records")
    copies = data.draw(
        st.lists(st.builds(copied, st.sampled_from(records), st.sampled_from([-90, -1, 1])), max_size=4)
        if records
        else st.just([]),
        "copies",
    )
    world = World()
    with patch.object(timeline, "FULL", full):
        for number, record in enumerate(data.draw(st.permutations([*records, *copies]), "order")):
            world.take([record])
            check(world)
            if data.draw(st.integers(0, 5), "operator") == 0 and world.shipments:
                decide(data, world, received(record), f"c{number}")
                check(world)


def decide(data: st.DataObject, world: World, at: datetime, command: str) -> None:
    """Have an operator decide something."""
    name = data.draw(st.sampled_from(sorted(world.shipments)), "shipment")
    shipment = world.shipments[name]
    refusals = sorted((anomaly, record.hex()) for record, anomaly in shipment.anomalies.items())
    kind = data.draw(st.sampled_from(["set", "set", "accept", "dismiss", "erase"]), "decision")
    if kind == "set":
        status = data.draw(st.sampled_from(list(Status)), "status")
        world.take([decided(SetStatus(shipment_id=name, status=status, **WHO), at, command)])
    elif kind == "erase":
        world.take([decided(Erase(shipment_id=name, **WHO), at, command)])
    elif refusals:
        anomaly, record = data.draw(st.sampled_from(refusals), "refusal")
        about = {"shipment_id": name, "anomaly_id": anomaly}
        made = Accept(record=record, **about, **WHO) if kind == "accept" else Dismiss(**about, **WHO)
        world.take([decided(made, at, command)])


@pytest.mark.parametrize("kind", [name for name in WEBHOOKS if name.startswith("dash")])
@given(data=st.data(), full=st.integers(2, 5))
def test_newer_readings_among_webhooks(kind: str, data: st.DataObject, full: int) -> None:
    records = raw_records(data.draw(WEBHOOKS[kind], "webhooks"))
    cut = data.draw(st.integers(0, len(records)), "cut")
    world = World()
    with patch.object(timeline, "FULL", full):
        with older(data.draw(older_words, "changed"), data.draw(st.sets(words, max_size=3), "missing"), "note"):
            for record in records[:cut]:
                world.take([record])
                check(world)
        for number, root in enumerate(data.draw(st.permutations(world.log), "replayed")):
            world.take([again(root, f"r{number}")])
            check(world)
            if cut + number < len(records):
                world.take([records[cut + number]])
                check(world)
