"""Beyond its limit a shipment keeps nothing more, and nothing is lost unsaid."""

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from processor.core.plan import Plan, Planner
from processor.core.roots import RootShipment
from processor.core.state import Shipment
from schemas.observation import Accept, Erase, Retire, SetStatus
from schemas.records import RawRecord, reread_headers
from schemas.topics import Topic
from schemas.vocabulary import AnomalyKind, Outcome, Status
from tests.hot_parcels import START, ends, hot_records, in_order, recoveries, unknown_words
from tests.property.driving import RAW_TOPIC, decoded, readings_of, refolded, seen
from tests.property.test_decisions import WHO, decided
from tests.property.test_timeline import copied

LIMIT = 20
NAME = "dash:HOT-1"
LATER = START + timedelta(days=2)


class World:
    def __init__(self) -> None:
        self.shipments: dict[str, Shipment] = {}
        self.plans: list[Plan] = []
        self.next = 0

    def take(self, records: list[RawRecord], limit: int = LIMIT, **roots: Any) -> Plan:
        placed = [msgspec.structs.replace(each, offset=self.next + place) for place, each in enumerate(records)]
        self.next += len(placed)
        made = Planner(self.shipments, RAW_TOPIC, START, limit=limit, **roots).add_all(readings_of(placed))
        self.shipments.update(made.shipments)
        self.plans.append(made)
        return made

    @property
    def parcel(self) -> Shipment:
        return self.shipments[NAME]

    def check(self) -> None:
        rows = [row for made in self.plans for row in made.observations if row.stored]
        assert seen(refolded(self.parcel, rows)) == seen(self.parcel)
        assert refolded(self.parcel, rows) == self.parcel


@pytest.fixture
def full() -> World:
    world = World()
    world.take(hot_records(recoveries, in_order(LIMIT)))
    assert world.parcel.held == LIMIT
    return world


def outcomes(made: Plan) -> list[tuple[str, str | None]]:
    return [(row.outcome, row.anomaly_kind) for row in made.observations]


REFUSED = (Outcome.ANOMALY, AnomalyKind.HISTORY_LIMIT)


@pytest.mark.parametrize("kind", [recoveries, unknown_words])
def test_what_comes_beyond_the_limit_is_an_anomaly_each_and_changes_nothing(full: World, kind: Any) -> None:
    before = seen(full.parcel)
    made = full.take(hot_records(kind, range(LIMIT, LIMIT + 5)))
    assert outcomes(made) == [REFUSED] * 5
    assert not [row for row in made.observations if row.kept]
    values = [decoded(output.value) for output in made.outputs]
    assert {output.topic for output in made.outputs} == {Topic.ANOMALIES}
    assert [each["kind"] for each in values] == ["history_limit"] * 5
    assert len({each["id"] for each in values}) == 5
    assert {each["status"] for each in values} == {"FAILED"}
    assert seen(full.parcel) == before
    full.check()


def test_what_is_known_is_a_duplicate_still(full: World) -> None:
    before = seen(full.parcel)
    known = hot_records(recoveries, [3])
    other_record = [msgspec.structs.replace(known[0], value=(known[0].value or b"")[:-1] + b',"nonce":1}')]
    received_earlier = [copied(known[0], -9000)]
    made = full.take([*known, *other_record, *received_earlier])
    assert outcomes(made) == [(Outcome.DUPLICATE, None)] * 3
    assert not [row for row in made.observations if row.kept]
    assert seen(full.parcel) == before
    full.check()


def test_a_copy_counts_against_the_limit_because_it_is_stored() -> None:
    world = World()
    (record,) = hot_records(recoveries, [0])
    made = world.take([copied(record, -minutes) for minutes in range(LIMIT + 10)])
    assert Counter(row.kept for row in made.observations) == {True: LIMIT, False: 10}
    world.check()


def test_operators_decide_beyond_the_limit(full: World) -> None:
    made = full.take([decided(SetStatus(shipment_id=NAME, status=Status.DELIVERED, **WHO), LATER, "c1")])
    assert outcomes(made) == [(Outcome.EVENT, None)]
    assert full.parcel.snapshot is not None
    assert full.parcel.snapshot.status is Status.DELIVERED
    full.check()
    full.take([decided(Erase(shipment_id=NAME, **WHO), LATER, "c2")])
    assert full.parcel.erased
    silent_since = LATER + timedelta(days=9)
    retire = Retire(shipment_id=NAME, silent_since=silent_since, by="sari", reason="old")
    made = full.take([decided(retire, LATER, "c3")])
    assert made.retired == {NAME}


def test_an_operator_accepts_what_is_kept() -> None:
    world = World()
    world.take(hot_records(ends, [0, 1]))
    ((record, anomaly),) = world.parcel.anomalies.items()
    world.take(hot_records(ends, range(2, 40)))
    made = world.take([decided(Accept(shipment_id=NAME, anomaly_id=anomaly, record=record.hex(), **WHO), LATER, "c1")])
    assert [output.topic for output in made.outputs] == [Topic.EVENTS]
    world.check()


def again(record: RawRecord, offset: int, command: str) -> RawRecord:
    root = msgspec.structs.replace(record, offset=offset)
    return msgspec.structs.replace(root, headers=tuple(reread_headers(root, command)))


def test_a_record_refused_for_the_limit_is_read_again_when_the_limit_is_raised(full: World) -> None:
    (refused,) = hot_records(recoveries, [LIMIT + 1])
    assert outcomes(full.take([refused])) == [REFUSED]
    roots = {(0, LIMIT): [RootShipment(NAME)]}
    made = full.take([again(refused, LIMIT, "r1")], roots=roots)
    assert outcomes(made) == [(Outcome.UNCHANGED, None)]
    assert not made.outputs
    assert not [row for row in made.observations if row.stored]
    made = full.take([again(refused, LIMIT, "r2")], limit=LIMIT + 1, roots=roots)
    assert outcomes(made) == [(Outcome.EVENT, None)]
    full.check()


def test_a_dead_letter_mended_beyond_the_limit_is_refused_once(full: World) -> None:
    """Its root gave no observation."""
    (mended,) = hot_records(recoveries, [LIMIT])
    made = full.take([again(mended, 99, "r1"), again(mended, 99, "r2")])
    assert outcomes(made) == [REFUSED, (Outcome.UNCHANGED, None)]
    assert len(made.outputs) == 1


def test_a_lower_limit_takes_nothing_away(full: World) -> None:
    before = seen(full.parcel)
    assert outcomes(full.take(hot_records(recoveries, [LIMIT]), limit=5)) == [REFUSED]
    assert seen(full.parcel) == before
