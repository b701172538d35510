"""Running a replay: records are appended chunk by chunk, and the job's rows say how far it is.

A chunk that was appended and not noted, because the process was killed between, is appended again; its command ids
keep it from being applied again.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Final

import msgspec

from operators.replay.jobs import Job, Runner, Status, outcomes
from operators.replay.progress import Progress, Tell
from operators.replay.range import Stretch
from operators.replay.reader import RecordChunk, ReplayLog, ahead, open_replay_log
from operators.shared.appending import rereading
from operators.shared.errors import OperatorError
from operators.shared.outcomes import APPLY_SECONDS
from operators.shared.rereading import reread
from processor.core.reading import Read
from runtime.appending import Appender, open_appender
from runtime.errors import SetupError
from runtime.kafka import KAFKA_ERRORS
from runtime.postgres import DATABASE_ERRORS, Pool
from runtime.settings import Settings

CHUNK: Final = 2_000
"""Records appended before the position is noted: as many as are looked at for a chunk."""

CHUNKS_A_SECOND: Final = 5
"""How finely a rate is dealt out."""

AHEAD: Final = 10_000
"""Records appended and not applied yet, at most: live webhooks stand behind them for a second or two, not longer."""

LOOK_SECONDS: Final = 0.5
"""How often a waiting job looks whether it was paused or cancelled."""

POLL_SECONDS: Final = 0.1
"""How often it is asked how far the processor is."""


class Ended(msgspec.Struct, frozen=True):
    """How a job ended, or was interrupted.

    `pending` records are appended and not applied yet. `gone` offsets were removed by retention during a pause.
    """

    job: str
    status: Status
    appended: int
    passed_over: int
    pending: int
    outcomes: Mapping[str, int]
    gone: int = 0


class RateLimiter:
    """Keeps a rate, in records a second; None: as fast as it goes."""

    def __init__(self, rate: int | None, most: int = CHUNK) -> None:
        """Start now. At most `most` records go at once."""
        self._rate = rate
        self._most = most
        self._due = monotonic()

    @property
    def chunk(self) -> int:
        """How many records go at once."""
        return self._most if self._rate is None else max(1, min(self._most, self._rate // CHUNKS_A_SECOND))

    def wait(self, records: int) -> float:
        """Say how long to wait after so many records, in seconds. Lost time is made up for a second, not longer."""
        if self._rate is None:
            return 0.0
        now = monotonic()
        self._due = max(self._due, now - 1.0) + records / self._rate
        return max(0.0, self._due - now)


class Control:
    """Whether a job is to go on: until a signal, or until another process pauses or cancels it."""

    def __init__(self, runner: Runner, stop: asyncio.Event) -> None:
        """Watch the job's row, and `stop`."""
        self.stop = stop
        self._runner = runner

    async def goes_on(self, seconds: float = 0.0) -> bool:
        """Wait, and return whether the job goes on. It returns early if not."""
        until = monotonic() + seconds
        while not self.stop.is_set():
            if await self._runner.status() is not Status.RUNNING:
                return False
            left = until - monotonic()
            if left <= 0:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), min(left, LOOK_SECONDS))
        return False


async def reprocess(settings: Settings, pool: Pool, job: Job, runner: Runner, stop: asyncio.Event, tell: Tell) -> Ended:
    """Append what is left of a job, wait until it is applied, and say what came of it.

    Raises:
        OperatorError: the log gives nothing; the job is marked as failed.
        UnreachableError: the brokers take nothing; likewise.

    """
    async with marked(runner), open_replay_log(settings, pool) as log, open_appender(settings) as appender:
        replay = _Reprocess(settings, log, appender, job, Control(runner, stop), runner, tell)
        whole = await replay.append()
        pending = await replay.applied() if whole else 0
        status = await settled(runner, done=whole and pending is not None)
    came = await outcomes(pool, job.job)
    return Ended(job.job, status, replay.appended, replay.passed_over, pending or 0, came, replay.gone)


class _Reprocess:
    """One run of a job."""

    def __init__(
        self,
        settings: Settings,
        log: ReplayLog,
        appender: Appender,
        job: Job,
        control: Control,
        runner: Runner,
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._log = log
        self._appender = appender
        self._job = job
        self._control = control
        self._runner = runner
        self._tell = tell
        self._left = job.left
        self._positions = {position.partition: position.next_offset for position in job.positions}
        self._ends: dict[int, int] = {}
        self._in_flight = 0
        self.appended = job.appended
        self.passed_over = job.passed_over
        self.gone = 0

    async def append(self) -> bool:
        """Append what is left. False: it was interrupted."""
        selection = self._job.asked.range
        belongs = await self._log.belonging(selection)
        parts = [Stretch(each.partition, each.next_offset, each.until_offset) for each in self._job.positions]
        starts = await self._log.starts()
        self.gone = sum(max(0, min(starts[each.partition], each.end) - each.start) for each in parts)
        pace = RateLimiter(self._job.rate)
        async for chunk in self._log.chunks(selection, parts, belongs, pace.chunk):
            sent = await self._append_chunk(chunk)
            if not await self._control.goes_on(pace.wait(sent)) or not await self._kept_up():
                return False
        return True

    async def applied(self) -> int | None:
        """Wait until everything is applied. Return what is not, where no processor runs; None: interrupted."""
        targets = await self._log.ends() if self.appended else {}
        least, since = ahead(await self._log.applied(), targets), monotonic()
        while least:
            self._say("applying", least)
            if monotonic() - since > APPLY_SECONDS:
                return least
            if not await self._control.goes_on(POLL_SECONDS):
                return None
            left = ahead(await self._log.applied(), targets)
            if left < least:
                least, since = left, monotonic()
        return 0

    async def _append_chunk(self, chunk: RecordChunk) -> int:
        """Append a chunk's records, but for those that today's code cannot read. Return how many."""
        again = [
            reread(root, f"{self._job.job}/{root.at}", self._settings.assumed_zone, self._log.partitions)
            for root in chunk.records
        ]
        records = [reading.record for reading in again if isinstance(reading, Read)]
        for partition, offset in await self._appender.append(map(rereading, records)):
            self._ends[partition] = max(offset + 1, self._ends.get(partition, 0))
        passed_over = chunk.rereadings + chunk.decisions + len(again) - len(records)
        await self._runner.advance(chunk.partition, chunk.next_offset, len(records), passed_over)
        self._left -= chunk.next_offset - self._positions[chunk.partition]
        self._positions[chunk.partition] = chunk.next_offset
        self.appended += len(records)
        self.passed_over += passed_over
        self._in_flight += len(records)
        self._say("appending")
        return len(records)

    async def _kept_up(self) -> bool:
        """Wait until the processor is not too far behind. False: interrupted."""
        since = monotonic()
        while self._in_flight > AHEAD:
            left = ahead(await self._log.applied(), self._ends)
            if left < self._in_flight:
                self._in_flight, since = left, monotonic()
            elif monotonic() - since > APPLY_SECONDS:
                raise OperatorError(
                    f"nothing was applied for {APPLY_SECONDS:.0f} s: start a processor, then "
                    f"`waybill replay resume {self._job.job}`"
                )
            if self._in_flight > AHEAD and not await self._control.goes_on(POLL_SECONDS):
                return False
        return True

    def _say(self, doing: str, pending: int = 0) -> None:
        offsets = self._job.asked.offsets
        done = Progress(self._job.job, doing, offsets - self._left, offsets, self.appended, self.passed_over, pending)
        self._tell(done)


@asynccontextmanager
async def marked(runner: Runner) -> AsyncIterator[None]:
    """Mark a job as failed by what is raised here."""
    try:
        yield
    except (OperatorError, SetupError, *KAFKA_ERRORS, *DATABASE_ERRORS) as error:
        why = (str(error) or repr(error)).splitlines()[0]
        with suppress(*DATABASE_ERRORS):  # then it is interrupted, which is as good
            await runner.move(Status.FAILED, why)
        raise


async def settled(runner: Runner, *, done: bool) -> Status:
    """Write how a job ended, unless another process did so first; return it."""
    await runner.move(Status.DONE if done else Status.PAUSED)
    return await runner.status()
