"""Keys go where the Java client's default would put them."""

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner, murmur2

from schemas.partitioning import partition_of

KEYS = [
    b"", b"a", b"ab", b"abc", b"abcd", b"abcde", b"\x00", b"\xff" * 7, b"dash:DE-1735308506306",
    b"kiriminaja:OID-8793949106", "dash:Ünïcødé-📦".encode(),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("partitions", [1, 2, 4, 12, 50])
def test_equal_to_the_clients(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions
    everything = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everything, everything)


def test_equal_to_the_clients_on_many_keys() -> None:
    chance = random.Random(1)
    for length in range(200):
        key = chance.randbytes(length)
        assert partition_of(key, 2**31) == murmur2(key) & 0x7FFFFFFF


@pytest.mark.parametrize(
    ("key", "hashed"),
    # from Kafka's own UtilsTest.testMurmur2
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_equal_to_the_java_client(key: bytes, hashed: int) -> None:
    assert partition_of(key, 2**31) == hashed & 0x7FFFFFFF
