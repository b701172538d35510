"""A run seen from outside: the offsets that its consumer group has committed, and the processor time of all servers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

import psutil
from aiokafka.errors import GroupCoordinatorNotAvailableError

from bench.steady import Sample
from devstack import Stack
from devstack.kafka import EmbeddedKafka
from devstack.postgres import EmbeddedPostgres
from runtime.kafka_asking import Admin

LOOK_SECONDS: Final = 0.2
"""Between two looks. Each costs the machine a few milliseconds, which no engine should miss."""

FIRST_COMMIT_SECONDS: Final = 90.0
"""How long an engine may take from its start to its first commit, on a busy machine."""

COMMITS: Final = 5
"""What a run needs at least: the first and the last lie outside its middle, which has two ends."""

MOST_SECONDS: Final = 90.0
"""How long a run goes on for want of commits."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and of all its children, those that have ended too."""
    process = psutil.Process(pid)
    # The parent first: a child that ends in between is counted once it is waited for, never twice.
    seconds = sum(process.cpu_times()[:4])
    for child in process.children(recursive=True):
        try:
            seconds += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return seconds


def resident_mb(pids: Sequence[int]) -> float:
    """Return the memory of an engine's processes."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6


def server_pids(stack: Stack) -> dict[str, int]:
    """Return the processes of the servers that are our own: a named one, or one in Docker, is not seen."""
    servers: dict[str, Any] = {"Kafka": stack.kafka, "PostgreSQL": stack.postgres}
    return {who: it.pid for who, it in servers.items() if isinstance(it, EmbeddedKafka | EmbeddedPostgres)}


def is_enough(samples: Sequence[Sample], seconds: float) -> bool:
    """Tell whether a run was watched for so many seconds and some commits, or for too long."""
    watched = samples[-1].at - samples[0].at
    commits = len({sample.committed for sample in samples})
    return watched >= MOST_SECONDS or (watched >= seconds and commits >= COMMITS)


class Watcher:
    """Looks at the offsets that groups commit."""

    def __init__(self, admin: Admin, servers: Mapping[str, int], topic: str) -> None:
        """Of `topic`. `servers` are the processes whose time is counted beside the engine's."""
        self._admin = admin
        self._servers = servers
        self._topic = topic

    async def committed(self, group: str) -> int:
        """Return the records below the offsets that a group has committed."""
        try:
            offsets = await self._admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:  # the broker makes the offsets' topic for its first group
            return 0
        return sum(max(0, held.offset) for part, held in offsets.items() if part.topic == self._topic)

    async def run(
        self, group: str, pids: Sequence[int], seconds: float, end: int, check: Callable[[], None]
    ) -> list[Sample]:
        """Return what was seen from an engine's first commit on, until all is committed or enough was seen.

        Enough are so many seconds, and some commits. `check` is called at each look; it raises when the engine has
        ended.

        Raises:
            TimeoutError: nothing was committed in time.

        """
        samples: list[Sample] = []
        deadline = monotonic() + FIRST_COMMIT_SECONDS
        while not samples or (samples[-1].committed < end and not is_enough(samples, seconds)):
            check()
            sample = await self._look(group, pids)
            if sample.committed or samples:
                samples.append(sample)
            elif sample.at > deadline:
                raise TimeoutError(f"{group} has committed nothing within {FIRST_COMMIT_SECONDS:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
        return samples

    async def _look(self, group: str, pids: Sequence[int]) -> Sample:
        committed = await self.committed(group)
        cpu = {who: cpu_seconds(pid) for who, pid in self._servers.items()}
        return Sample(monotonic(), committed, {"engine": sum(map(cpu_seconds, pids)), **cpu})
