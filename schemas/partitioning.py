"""Which partition a key belongs to: the Java client's default, murmur2."""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Final

_SEED: Final = 0x9747B28C
_MIX: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF
_WORDS: Final = Struct("<I")


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, as `org.apache.kafka.clients.producer` computes it."""
    return hash_of(key) % partitions


@lru_cache(maxsize=16_384)
def hash_of(key: bytes) -> int:
    """Return what of a key decides its partition, whatever the partitions' number is."""
    return _murmur2(key) & 0x7FFFFFFF


def _murmur2(data: bytes) -> int:
    length = len(data)
    whole = length & ~3
    h = _SEED ^ length
    for (word,) in _WORDS.iter_unpack(data[:whole]):
        k = (word * _MIX) & _WORD
        k = ((k ^ (k >> 24)) * _MIX) & _WORD
        h = ((h * _MIX) & _WORD) ^ k
    if whole < length:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * _MIX) & _WORD
    h = ((h ^ (h >> 13)) * _MIX) & _WORD
    return h ^ (h >> 15)


def uneven(raw: str, partitions: int, others: Mapping[str, int]) -> str | None:
    """Say which topics have fewer partitions than the raw topic, and what mends that; None if none has.

    What a partition of the raw topic gives goes to the partition of the same number. A topic with 0 is missing.
    """
    narrow = [f"{name} {count or 'is missing'}" for name, count in others.items() if count < partitions]
    if not narrow:
        return None
    how = f"`kafka-topics.sh --alter --partitions {partitions} --topic …`"
    return (
        f"{raw} has {partitions} partitions, {', '.join(narrow)}: give every topic {partitions} ({how}), set "
        f"WAYBILL_TOPIC_PARTITIONS={partitions}, then `waybill recover`"
    )
