"""The spool: keeps records on disk until Kafka has them. One commit serves all webhooks that wait for one."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from ingest.errors import SpoolError, UnavailableError
from ingest.records import Records
from ingest.spool_file import Spooled, SpoolFile
from ingest.turns import by_partition

DOUBT_SECONDS: Final = 5.0
"""How long a spool whose disk failed counts as one that takes nothing: as long as a 503 asks couriers to wait."""

COMMIT_SECONDS: Final = 5.0
"""How long a webhook waits for the disk; a few milliseconds when all is well. Then the courier gets its 503."""

COMMIT_RECORDS: Final = 2_000
"""How many records one commit is for, but for a webhook that has more: about 50 ms, so that nobody waits for long."""

LOOK_SECONDS: Final = 2.0
"""How often the file is looked at for what an operator's command has changed in it."""

log = structlog.get_logger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Spool:
    """A directory's spool while `keep_committing` runs."""

    def __init__(
        self,
        file: SpoolFile,
        thread: ThreadPoolExecutor,
        *,
        max_bytes: int,
        max_age: timedelta,
        now_ms: Callable[[], int],
    ) -> None:
        """Work on the file in its one thread."""
        self._file = file
        self._thread = thread
        self.max_bytes = max_bytes
        self.max_age = max_age
        self._now_ms = now_ms
        self.partitions = file.partitions
        """By how many partitions it is kept apart what waits for which."""
        self._waiting: dict[asyncio.Future[None], Records] = {}
        """What no commit has begun for."""
        self._undecided: dict[asyncio.Future[None], Counter[int]] = {}
        """What is on its way into the file: how many records, by partition."""
        self._on_their_way: Counter[int] = Counter()
        """The same, summed."""
        self._changed = asyncio.Condition()
        self._complained = False
        self._failed_at: float | None = None

    @property
    def records(self) -> int:
        """How many records are in it or on their way into it."""
        return self._file.records + (self._on_their_way.total() if self._undecided else 0)

    @property
    def refused(self) -> int:
        """How many were set aside because Kafka refuses them for good."""
        return self._file.refused

    @property
    def bytes(self) -> int:
        """How much it holds, with what was refused, of what counts against its limit."""
        return self._file.bytes

    @property
    def oldest_age_seconds(self) -> float:
        """How long ago the oldest was received; 0 for none."""
        return self._age(self._file.oldest_ms)

    @property
    def takes(self) -> bool:
        """Whether the next record will be kept, as far as can be told."""
        if self._full(self._file.lines) is not None:
            return False
        return self._failed_at is None or asyncio.get_running_loop().time() - self._failed_at > DOUBT_SECONDS

    def waiting(self, partition: int) -> int:
        """Return how many records for a partition are in it or on their way into it."""
        line = self._file.lines.get(partition)
        return (line.records if line else 0) + self._on_their_way[partition]

    def lines(self) -> set[int]:
        """Return the partitions for which the file holds records."""
        return set(self._file.lines)

    async def append(self, records: Records) -> None:
        """Keep records, behind all others of their partitions. Return once they are synced to disk.

        Raises:
            UnavailableError: the spool is full or its disk failed: none of them is kept. Or the disk does not answer:
                then they may be kept later.

        """
        counts = await self._count(records)
        if full := self._full(counts):
            self._complain(full)
            raise UnavailableError(full)
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[decided] = records
        self._undecided[decided] = counts
        self._on_their_way.update(counts)
        await self.stir()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await decided
        except TimeoutError as error:
            self._fail("its disk does not answer")
            raise UnavailableError("the spool's disk does not answer") from error
        finally:
            if self._waiting.pop(decided, None) is not None:
                self._decide(decided)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds. It is looked at when records came in, and when it is stirred."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def settled(self, partition: int) -> None:
        """Wait until nothing for a partition is on its way into it."""
        await self.until(lambda: not self._on_their_way[partition])

    async def stir(self) -> None:
        """Have those look that wait for a condition."""
        async with self._changed:
            self._changed.notify_all()

    async def place(self, partitions: int) -> None:
        """Keep it by so many partitions, as the topic has them. Raises SpoolError."""
        await self._run(self._file.place, partitions)
        self.partitions = partitions
        # Of what is on its way nobody knows the keys any more: it holds up every partition until it is decided.
        for decided in self._undecided:
            self._undecided[decided] = Counter(range(partitions))
        self._on_their_way = sum(self._undecided.values(), Counter())

    async def first(self, partition: int, records: int, size: int) -> list[Spooled]:
        """Return a partition's next batch to be drained. Raises SpoolError."""
        return await self._run(self._file.first, partition, records, size)

    async def discard(self, partition: int, batch: Sequence[Spooled]) -> None:
        """Forget a partition's first ones: Kafka has them. Raises SpoolError, and has forgotten them all the same."""
        await self._run(self._file.discard, partition, batch)

    async def set_aside(self, partition: int, spooled: Spooled, reason: str) -> None:
        """Put a partition's first one, which Kafka refuses, out of the way. Raises SpoolError."""
        await self._run(self._file.set_aside, partition, spooled, reason)

    async def tidy(self) -> None:
        """Leave nothing of what is gone on the disk. Raises SpoolError."""
        while await self._run(self._file.tidy):
            pass

    async def keep_looking(self) -> None:
        """Learn what operators' commands change in the file, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(SpoolError):  # the next append tells
                await self._run(self._file.look)

    async def keep_committing(self) -> None:
        """Write what waits, one commit for all of it, again and again until cancelled."""
        while True:
            await self.until(lambda: bool(self._waiting))
            await self._commit()

    async def _commit(self) -> None:
        group = self._next_group()
        outcomes: list[UnavailableError | None]
        try:
            kept = await self._run(self._file.append, group.values(), self.max_bytes)
        except SpoolError as error:
            self._fail(str(error))
            outcomes = [UnavailableError("the spool's disk does not take it")] * len(group)
        else:
            if all(kept):
                self._complained = False
                self._failed_at = None
            else:
                self._fail(f"it holds {self._file.bytes} bytes, its limit is {self.max_bytes}")
            outcomes = [None if each else UnavailableError("the spool is full") for each in kept]
        for decided, outcome in zip(group, outcomes, strict=True):
            self._decide(decided)
            if decided.cancelled():  # nobody waits for it any more
                continue
            if outcome is None:
                decided.set_result(None)
            else:
                decided.set_exception(outcome)
        await self.stir()

    def _next_group(self) -> dict[asyncio.Future[None], Records]:
        group: dict[asyncio.Future[None], Records] = {}
        room = COMMIT_RECORDS
        while self._waiting and room > 0:
            decided = next(iter(self._waiting))
            group[decided] = self._waiting.pop(decided)
            room -= len(group[decided])
        return group

    async def _run(self, job: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do a job in the file's thread. A job once begun is done, whoever waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(job, *args, **kwargs))

    async def _count(self, records: Records) -> Counter[int]:
        """Count records by partition. Their number may change meanwhile."""
        while True:
            partitions = self.partitions
            groups = await by_partition(records, partitions)
            if partitions == self.partitions:
                return Counter({partition: len(group) for partition, group in groups.items()})

    def _decide(self, decided: asyncio.Future[None]) -> None:
        self._on_their_way -= self._undecided.pop(decided)

    def _full(self, partitions: Iterable[int]) -> str | None:
        """Say why nothing is taken for these partitions, if it is so."""
        if self._file.bytes >= self.max_bytes:
            return f"it holds {self._file.bytes} bytes, its limit is {self.max_bytes}"
        for partition in list(partitions):
            line = self._file.lines.get(partition)
            if line is not None and self._age(line.oldest_ms) > self.max_age.total_seconds():
                return f"its oldest record for partition {partition} waits longer than the limit, {self.max_age}"
        return None

    def _age(self, received_ms: int | None) -> float:
        return 0.0 if received_ms is None else max(0.0, (self._now_ms() - received_ms) / 1000)

    def _fail(self, reason: str) -> None:
        self._complain(reason)
        self._failed_at = asyncio.get_running_loop().time()

    def _complain(self, reason: str) -> None:
        """Say once what is wrong, until the spool takes a record again."""
        if not self._complained:
            log.error("spool takes nothing", directory=str(self._file.directory), reason=reason)
        self._complained = True


@asynccontextmanager
async def open_spool(
    directory: Path, *, max_bytes: int, max_age: timedelta, now_ms: Callable[[], int]
) -> AsyncIterator[Spool]:
    """Open the spool of a directory, which is this process's alone, and write what is appended.

    Raises:
        SetupError: the directory is in use by another process, or cannot be used.

    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool") as thread:
        loop = asyncio.get_running_loop()
        file = await loop.run_in_executor(thread, SpoolFile, directory)
        try:
            if file.records or file.refused:
                log.warning("spool found", directory=str(directory), waiting=file.records, refused=file.refused)
            spool = Spool(file, thread, max_bytes=max_bytes, max_age=max_age, now_ms=now_ms)
            async with asyncio.TaskGroup() as group:
                committing = group.create_task(spool.keep_committing(), name="commit to the spool")
                looking = group.create_task(spool.keep_looking(), name="look at the spool")
                try:
                    yield spool
                finally:
                    committing.cancel()
                    looking.cancel()
        finally:
            await loop.run_in_executor(thread, file.close)
