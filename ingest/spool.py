"""The spool: keeps records on disk until Kafka has them. One commit serves all webhooks that wait for one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import structlog

from ingest.errors import SpoolError, UnavailableError
from ingest.records import Records
from ingest.spool_file import Spooled, SpoolFile

DOUBT_SECONDS: Final = 5.0
"""How long a spool whose disk failed counts as one that takes nothing: as long as a 503 asks couriers to wait."""

COMMIT_SECONDS: Final = 5.0
"""How long a webhook waits for the disk; a few milliseconds when all is well. Then the courier gets its 503."""

COMMIT_RECORDS: Final = 2_000
"""How many records one commit is for, but for a webhook that has more: about 50 ms, so that nobody waits for long."""

BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
"""How much is drained at once: it must reach a broker within seconds over a slow line, and fits into memory."""

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
        """Work on the file in its one thread. The limits hold before an append, not within it."""
        self._file = file
        self._thread = thread
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._now_ms = now_ms
        self._waiting: dict[asyncio.Future[None], Records] = {}
        self._undecided = 0
        self._changed = asyncio.Condition()
        self._complained = False
        self._failed_at: float | None = None

    @property
    def records(self) -> int:
        """How many records are in it or on their way into it."""
        return self._file.records + self._undecided

    @property
    def oldest_age_seconds(self) -> float:
        """How long ago the oldest was received; 0 for none."""
        oldest = self._file.oldest_ms
        return 0.0 if oldest is None else max(0.0, (self._now_ms() - oldest) / 1000)

    @property
    def takes(self) -> bool:
        """Whether the next record will be kept, as far as can be told."""
        if self._full() is not None:
            return False
        return self._failed_at is None or asyncio.get_running_loop().time() - self._failed_at > DOUBT_SECONDS

    async def append(self, records: Records) -> None:
        """Keep records, behind all others. Return once they are synced to disk.

        Raises:
            UnavailableError: the spool is full or its disk failed: none of them is kept. Or the disk does not answer:
                then they may be kept later.

        """
        if full := self._full():
            self._complain(full)
            raise UnavailableError(full)
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[decided] = records
        self._undecided += len(records)
        await self._tell()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await decided
        except TimeoutError as error:
            self._fail("its disk does not answer")
            raise UnavailableError("the spool's disk does not answer") from error
        finally:
            if self._waiting.pop(decided, None) is not None:
                self._undecided -= len(records)

    async def settled(self) -> None:
        """Wait until nothing is on its way into it."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._undecided)

    async def until_any(self) -> None:
        """Wait until it holds a record."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._file.records > 0)

    async def first(self) -> list[Spooled]:
        """Return the next batch to be drained. Raises SpoolError."""
        return await self._run(self._file.first, BATCH_RECORDS, BATCH_BYTES)

    async def discard(self, batch: Sequence[Spooled]) -> None:
        """Forget the first ones: Kafka has them. Raises SpoolError, and has forgotten them all the same."""
        await self._run(self._file.discard, batch)

    async def set_aside(self, spooled: Spooled, reason: str) -> None:
        """Put the first one, which Kafka refuses, out of the way. Raises SpoolError."""
        await self._run(self._file.set_aside, spooled, reason)

    async def tidy(self) -> None:
        """Leave nothing of what is gone on the disk. Raises SpoolError."""
        while await self._run(self._file.tidy):
            pass

    async def keep_committing(self) -> None:
        """Write what waits, one commit for all of it, again and again until cancelled."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting)
            await self._commit()

    async def _commit(self) -> None:
        group = self._next_group()
        failure: UnavailableError | None = None
        try:
            await self._run(self._file.append, group.values())
        except SpoolError as error:
            self._fail(str(error))
            failure = UnavailableError("the spool's disk does not take it")
        else:
            self._complained = False
            self._failed_at = None
        for decided, records in group.items():
            self._undecided -= len(records)
            if decided.cancelled():  # nobody waits for it any more
                continue
            if failure is None:
                decided.set_result(None)
            else:
                decided.set_exception(failure)
        await self._tell()

    def _next_group(self) -> dict[asyncio.Future[None], Records]:
        group: dict[asyncio.Future[None], Records] = {}
        room = COMMIT_RECORDS
        while self._waiting and room > 0:
            decided = next(iter(self._waiting))
            group[decided] = self._waiting.pop(decided)
            room -= len(group[decided])
        return group

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _run(self, job: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do a job in the file's thread. A job once begun is done, whoever waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(job, *args, **kwargs))

    def _full(self) -> str | None:
        if self._file.bytes >= self._max_bytes:
            return f"it holds {self._file.bytes} bytes, its limit is {self._max_bytes}"
        if self.oldest_age_seconds > self._max_age.total_seconds():
            return f"its oldest record waits longer than the limit, {self._max_age}"
        return None

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
                try:
                    yield spool
                finally:
                    committing.cancel()
        finally:
            await loop.run_in_executor(thread, file.close)
