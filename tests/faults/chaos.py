"""The plan of a chaos run: which faults, how many, in which order; and what any run of faults has to tell."""

import math
import os
import random
import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

SCALE: Final = float(os.environ.get("WAYBILL_TEST_CHAOS") or 0)
"""How many times the faults of the long form a run is asked for; 0: the short form, as in `make test`."""

LONG: Final = SCALE >= 1

DOORS: Final = 2 if LONG else 1
"""A second one would cost the short form more than it shows."""

DOORS_TOLD: Final = "two doors" if LONG else "a door"


def chosen_seed() -> int:
    """Return the seed that repeats a run, or a new one."""
    return int(os.environ.get("WAYBILL_TEST_SEED") or secrets.randbelow(10**6))


class Fault(StrEnum):
    KILL_INGEST = "kill -9 of ingest"
    KILL_PROCESSOR = "kill -9 of a processor"
    KILL_KAFKA = "kill -9 of Kafka"
    KILL_POSTGRES = "kill -9 of PostgreSQL"
    FREEZE = "a processor frozen beyond its session timeout, then woken"
    FREEZE_WRITING = "a processor frozen inside a PostgreSQL transaction, then woken"
    FREEZE_EMITTING = "a processor frozen inside a Kafka transaction, then woken"
    CUT = "a spell of cutting every connection at a random byte"


FULL: Final = {
    Fault.KILL_INGEST: 25,
    Fault.KILL_PROCESSOR: 30,
    Fault.KILL_KAFKA: 5,
    Fault.KILL_POSTGRES: 5,
    Fault.FREEZE: 3,
    Fault.FREEZE_WRITING: 3,
    Fault.FREEZE_EMITTING: 2,
    Fault.CUT: 6,
}
"""How often each fault comes in the long form."""


class Plan(msgspec.Struct, frozen=True):
    """The faults of one run, in order. The same seed and scale give the same plan."""

    seed: int
    scale: float
    faults: tuple[Fault, ...]


def make_plan(seed: int, scale: float) -> Plan:
    """Shuffle the faults: `scale` of the long form's counts, each fault at least once."""
    faults = [fault for fault, count in FULL.items() for _ in range(max(1, math.floor(count * scale)))]
    random.Random(seed).shuffle(faults)
    return Plan(seed, scale, tuple(faults))


class Recovery(msgspec.Struct, frozen=True):
    """From a fault's end to a subscriber's hearing of a webhook posted after it, on every partition."""

    fault: str
    seconds: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did and found. Each run is a section of docs/reliability.md, under its `title`.

    `about` is a paragraph: what was done to which services. `faults` says how often each came, `counts` whatever else
    was counted, by heading.
    """

    title: str
    about: str
    seconds: float
    faults: Mapping[str, int]
    recoveries: Sequence[Recovery]
    counts: Mapping[str, Mapping[str, int]]

    def lines(self) -> list[str]:
        """Tell it in lines for a person."""
        return [
            f"{self.title}: {self.seconds:.0f} s",
            "faults: " + _listed(self.faults),
            *(f"{heading}: {_listed(counts)}" for heading, counts in self.counts.items()),
            *(f"recovered after {fault}: {spread}" for fault in self.faults if (spread := self.recovery(fault))),
        ]

    def recovery(self, fault: str) -> str:
        """Say how long it took after a fault: the median, the longest, of how many. Empty where nobody measured."""
        times = sorted(recovery.seconds for recovery in self.recoveries if recovery.fault == fault)
        return f"{times[len(times) // 2]:.1f} s, {times[-1]:.1f} s ({len(times)})" if times else ""


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
