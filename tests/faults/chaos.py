"""The plan of a chaos run: which faults, how many, in which order; and what a run has to tell."""

import math
import random
from collections import Counter
from enum import StrEnum
from typing import Final

import msgspec


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

    fault: Fault
    seconds: float


class Outcome(msgspec.Struct, kw_only=True):
    """What a run did and found."""

    plan: Plan
    faults: Counter[str]
    connections: Counter[str]
    courier: Counter[str]
    found: Counter[str]
    recoveries: list[Recovery]
    log_lines: Counter[str]
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """Tell it in lines for a person."""
        return [
            f"seed {self.plan.seed}, scale {self.plan.scale:g}, {self.seconds:.0f} s",
            "faults: " + _listed(self.faults),
            "connections: " + _listed(self.connections),
            "courier: " + _listed(self.courier),
            "found: " + _listed(self.found),
            "log lines: " + _listed(self.log_lines),
            *(f"recovered after {fault}: {_spread(times)}" for fault in Fault if (times := self.recovery_times(fault))),
        ]

    def recovery_times(self, fault: Fault) -> list[float]:
        return sorted(recovery.seconds for recovery in self.recoveries if recovery.fault is fault)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _spread(times: list[float]) -> str:
    return f"median {times[len(times) // 2]:.1f} s, longest {times[-1]:.1f} s of {len(times)}"
