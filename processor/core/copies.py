"""What two observations have in common: the raw record, or all that it says. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from schemas.observation import Observation
from schemas.vocabulary import Source

_encode: Final = msgspec.json.Encoder().encode


def counts_before(one: Observation, other: Observation) -> bool:
    """Which of two copies counts: the one received earlier; the rest only makes the choice the same every time."""
    return copy_order(one) < copy_order(other)


def copy_order(observation: Observation) -> tuple[object, ...]:
    """Return what copies are sorted by: the first of them counts."""
    return (*which_record(observation), _encode(observation.details))


def which_record(observation: Observation) -> tuple[object, ...]:
    """Return which raw record it is, whatever was read in it."""
    pushed = observation.source is not Source.PULL
    return (observation.received_at, pushed, observation.item, observation.record_digest)


def with_former_name(
    observation: Observation, records: Mapping[bytes, Observation], former_name: Callable[[], bytes | None]
) -> Observation:
    """Return an observation that was read again, with the former name of its record, if that is or was known by one."""
    if observation.former_digest is not None:
        return observation
    known = records.get(observation.record_digest)
    former = former_name() if known is None else known.former_digest
    if former is None or (known is None and former not in records):
        return observation
    return msgspec.structs.replace(observation, former_digest=former)


def under_its_former_name(records: Mapping[bytes, Observation], observation: Observation) -> Observation | None:
    """Return what the same record gave when it was identified otherwise."""
    known = records.get(observation.former_digest) if observation.former_digest else None
    if known is None or which_record(known)[:-1] != which_record(observation)[:-1]:
        return None
    return known
