"""Every move of every service, exhaustively: legality, way, and which end is final."""

import pytest

from schemas.couriers import COURIERS
from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Service, Status
from tests.model.reference import TABLES, is_final, shortest


def lifecycle_of(key: tuple[str, str]) -> Lifecycle:
    courier, service = key
    return COURIERS[courier].lifecycles[Service(service)]


@pytest.mark.parametrize("key", TABLES, ids=" ".join)
@pytest.mark.parametrize("gate", [None, Status.LOST, Status.DAMAGED])
def test_shortest_ways(key: tuple[str, str], gate: Status | None) -> None:
    lifecycle = lifecycle_of(key)
    for start in Status:
        for end in Status:
            if gate and end is not Status.CLAIM_SETTLED:
                continue
            way = shortest(*key, start, end, gate)
            assert lifecycle.path(start, end, last=gate) == (tuple(way[1:-1]) if way else None), f"{start} to {end}"


@pytest.mark.parametrize("key", TABLES, ids=" ".join)
def test_edges_and_ends(key: tuple[str, str]) -> None:
    lifecycle = lifecycle_of(key)
    edges = {(str(before), str(after)) for before, afters in lifecycle.edges.items() for after in afters}
    assert edges == set(TABLES[key])
    for status in Status:
        assert lifecycle.is_final(status) == is_final(*key, status)


@pytest.mark.parametrize("key", TABLES, ids=" ".join)
def test_a_final_status_is_left_by_an_edge_of_its_own_only(key: tuple[str, str]) -> None:
    lifecycle = lifecycle_of(key)
    for start in filter(lifecycle.is_final, Status):
        for end in Status:
            way = lifecycle.path(start, end)
            assert way == (() if (str(start), str(end)) in TABLES[key] else None)
