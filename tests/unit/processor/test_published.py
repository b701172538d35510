"""What a recovery remembers of published states, on disk."""

import tracemalloc

import msgspec
import pytest

from processor.kafka.published import PublishedStates, published
from schemas.events import State
from schemas.partitioning import partition_of
from tests.unit.schemas.examples import EXAMPLES

PARTITIONS = 3
EXAMPLE = msgspec.json.decode((EXAMPLES / "shipment.state.v1.001.json").read_bytes(), type=State)


def state(name: str, version: int) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(EXAMPLE, shipment_id=name, version=version))


def of(partition: int, number: int) -> list[str]:
    """Return so many shipments that belong to a partition."""
    names = (f"dash:{each}" for each in range(6 * number + 60))
    return [name for name in names if partition_of(name.encode(), PARTITIONS) == partition][:number]


def taken(states: PublishedStates, partition: int, *records: tuple[str, bytes | None]) -> None:
    states.take(partition, ((name.encode(), value) for name, value in records))


def test_the_newest_of_each_counts_and_a_tombstone_is_one() -> None:
    one, two, three = of(1, 3)
    with published(PARTITIONS) as states:
        taken(states, 1, (one, state(one, 1)), (two, state(two, 1)), (one, state(one, 2)), (two, None))
        found = states.states([one, two, three])
        assert found.keys() == {one, two}
        assert found[two] is None
        newest = found[one]
        assert newest is not None
        assert newest.version == 2
        assert (states.count(0), states.count(1)) == (0, 2)


@pytest.mark.parametrize("old_first", [True, False])
def test_what_stands_where_it_belongs_counts_before_what_was_left_elsewhere(old_first: bool) -> None:
    """A topic that has grown keeps older states in the partitions they had."""
    (name,) = of(2, 1)
    with published(PARTITIONS) as states:
        for partition in (0, 2) if old_first else (2, 0):
            taken(states, partition, (name, state(name, 7 if partition == 2 else 3)))
        (found,) = states.states([name]).values()
        assert found is not None
        assert found.version == 7
        assert states.count(2) == 1


def test_what_is_left_comes_in_pages_until_it_is_dropped() -> None:
    names = sorted(of(0, 1_200))
    with published(PARTITIONS) as states:
        taken(states, 0, *((name, b"{}") for name in names))
        states.drop(names[:700])
        pages = []
        while page := states.left(0, 200):
            pages.append(page)
            states.drop(page)
        assert pages == [names[700:900], names[900:1100], names[1100:]]


def test_memory_does_not_grow_with_what_is_published() -> None:
    value = b"x" * 1_000
    tracemalloc.start()
    try:
        with published(PARTITIONS) as states:
            for start in range(0, 12_000, 2_000):
                states.take(0, ((f"dash:{each}".encode(), value) for each in range(start, start + 2_000)))
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000, "12 MB were taken in"
