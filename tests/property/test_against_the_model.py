"""The real code says at every arrival what the naive model says."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.effects import Changed, Duplicate, Rejected, Unchanged
from processor.core.fold import Snapshot
from schemas.observation import Observation
from tests.model.reference import Arrival, ReferenceShipment
from tests.property.driving import Arrived, apply_all, observations_of
from tests.strategies import WEBHOOKS, raw_records


def real_arrival(applied: Arrived) -> Arrival:
    match applied.effect:
        case Changed() as change:
            return Arrival(
                "event",
                change.type,
                change.transition,
                tuple(map(str, change.skipped)),
                change.previous,
                frozenset(change.resolves),
                conflict=applied.conflict,
            )
        case Duplicate():
            return Arrival("duplicate", conflict=applied.conflict)
        case Rejected(kind):
            return Arrival("anomaly", anomaly=kind, conflict=applied.conflict)
        case Unchanged():
            return Arrival("unchanged", conflict=applied.conflict)


def plain(snapshot: Snapshot | None) -> dict[str, Any] | None:
    return None if snapshot is None else msgspec.structs.asdict(snapshot)


def agree(observations: Sequence[Observation]) -> None:
    models: dict[str, ReferenceShipment] = {}
    for number, (one, applied) in enumerate(zip(observations, apply_all(observations)[1], strict=True)):
        model = models.setdefault(one.shipment_id, ReferenceShipment(one.courier))
        expected = model.arrive(one, f"a{number}")
        assert real_arrival(applied) == expected, f"arrival {number}"
        assert plain(applied.snapshot) == model.fold().snapshot, f"arrival {number}"
        assert applied.version == model.version


@pytest.mark.parametrize("kind", WEBHOOKS)
@given(data=st.data())
def test_webhooks(kind: str, data: st.DataObject) -> None:
    records = raw_records(data.draw(WEBHOOKS[kind], "webhooks"))
    agree(observations_of(data.draw(st.one_of(st.just(records), st.permutations(records)), "order")))


@pytest.mark.parametrize("service", ["express", "instant"])
@given(data=st.data())
def test_pulled_histories_among_webhooks(service: str, data: st.DataObject) -> None:
    pulled = data.draw(WEBHOOKS["kiriminaja pulled set"], "pulled")
    pushed = data.draw(WEBHOOKS[f"kiriminaja {service} life"], "pushed")
    agree(data.draw(st.permutations(observations_of(raw_records([*pushed, *pulled]))), "order"))
