"""How much CPU a record costs from its bytes to its messages for Kafka, step by step, with neither broker nor database.

One process, so it shows what a change of the code gains, not what a machine does. A busy machine, and an interpreter
that was built without profile-guided optimisation, make it slower; the count of bytecodes stays.

    python -m bench.pure_path [records]
"""

import gc
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import process_time
from types import FrameType
from typing import Any, Final

from bench.backlog import backlog
from processor.core.cache import Cache
from processor.core.messages import batch_messages
from processor.core.plan import MAX_BATCH, Plan, Planner
from processor.core.reading import Read, Reading, read
from processor.partition.batches import CACHED_BYTES
from processor.storage.batch import BatchRows
from schemas.partitioning import partition_of
from schemas.records import RawRecord
from tests.integration.system import Raw

STEPS: Final = ("read", "plan", "rows", "messages")
ROUNDS: Final = 5
NOW: Final = datetime(2026, 11, 27, tzinfo=UTC)


def fetched(records: Sequence[Raw], partitions: int = 1) -> list[RawRecord]:
    """Return records as a consumer gives them, in one partition's order."""
    return [
        RawRecord(partition_of(raw.key, partitions), offset, raw.key, raw.value, tuple(raw.headers), raw.timestamp_ms)
        for offset, raw in enumerate(records)
    ]


def work_off(records: Sequence[RawRecord]) -> list[float]:
    """Return the CPU seconds of each step for records worked off batch by batch."""
    spent = [0.0] * len(STEPS)
    cache = Cache(CACHED_BYTES)
    for first in range(0, len(records), MAX_BATCH):
        marks = [process_time()]
        readings: list[Reading] = [read(record, lambda *_: UTC, 1) for record in records[first : first + MAX_BATCH]]
        marks.append(process_time())
        names = dict.fromkeys(each.observation.shipment_id for each in readings if isinstance(each, Read))
        shipments = cache.take(names)
        plan: Plan = Planner(shipments, "bench.raw", NOW).add_all(readings)
        cache.put({**shipments, **plan.shipments})
        marks.append(process_time())
        BatchRows.of(plan, 0, NOW)
        marks.append(process_time())
        list(batch_messages(plan.outputs))
        marks.append(process_time())
        for step, began in enumerate(marks[:-1]):
            spent[step] += marks[step + 1] - began
    return spent


def bytecodes(records: Sequence[RawRecord]) -> int:
    """Return how many of Python's bytecodes working records off takes: unlike time, the same on every machine."""
    done = 0

    def look(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal done
        frame.f_trace_opcodes = True
        done += event == "opcode"
        return look

    sys.settrace(look)
    try:
        work_off(records)
    finally:
        sys.settrace(None)
    return done


def main(count: int) -> None:
    records = fetched(backlog(count))
    gc.freeze()
    rounds = [work_off(records) for _ in range(ROUNDS)]
    best = min(rounds, key=sum)
    for step, seconds in zip(STEPS, best, strict=True):
        print(f"{step:10} {seconds / len(records) * 1e6:6.1f} µs a record")
    few = records[:MAX_BATCH]
    print(f"{'together':10} {sum(best) / len(records) * 1e6:6.1f} µs a record (the least of {ROUNDS} rounds)")
    print(f"{'bytecodes':10} {bytecodes(few) / len(few):6,.0f} a record")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24_000)
