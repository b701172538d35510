"""The worker's memory is bounded by what shipments weigh."""

from processor.core.cache import Cache, weight
from processor.core.state import Shipment, new_shipment
from schemas.couriers import COURIERS


def shipment(name: str, bytes_: int) -> Shipment:
    made = new_shipment(COURIERS["dash"], name)
    made.weight = bytes_
    return made


def test_the_oldest_go_first_by_weight() -> None:
    cache = Cache(100_000)
    cache.put({name: shipment(name, 30_000) for name in ("a", "b", "c")})
    assert len(cache) == 3
    cache.put({"d": shipment("d", 30_000)})
    assert sorted(cache.take("abcd")) == ["b", "c", "d"]
    assert cache.weight == 0


def test_what_is_used_is_the_newest() -> None:
    cache = Cache(100_000)
    cache.put({name: shipment(name, 30_000) for name in ("a", "b", "c")})
    cache.put(cache.take("a"))
    cache.put({"d": shipment("d", 30_000)})
    assert sorted(cache.take("abcd")) == ["a", "c", "d"]


def test_a_shipment_that_alone_is_too_heavy_stays_alone() -> None:
    cache = Cache(100_000)
    cache.put({"a": shipment("a", 10), "hot": shipment("hot", 10_000_000)})
    assert list(cache.take(["a", "hot"])) == ["hot"]


def test_what_grew_while_it_was_out_weighs_more() -> None:
    cache = Cache(100_000)
    cache.put({"a": shipment("a", 10)})
    taken = cache.take(["a"])
    taken["a"].weight = 5_000
    cache.put(taken)
    assert cache.weight == weight(taken["a"])
    cache.clear()
    assert (cache.weight, len(cache)) == (0, 0)
