"""What comes in and what is published, as it happens: one reader for everybody who looks, only while somebody does."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, MutableMapping
from contextlib import aclosing, contextmanager
from time import monotonic
from typing import Any, Final

import msgspec
import structlog
from aiokafka import TopicPartition

from operators.doctor.finding import FAILURES
from operators.views.tail import Tell, marks
from operators.views.told_records import told
from operators.views.watching import Glimpse, Watched, hidden, watch
from runtime.settings import Settings
from schemas.topics import Topic

KEPT: Final = 200
"""Rows that are kept: ten seconds of as many as are shown. A tab that falls behind further misses some."""

MOST_TABS: Final = 50
"""Tabs that follow at once, all together: more than a team has, and each costs a connection."""

LINGER_SECONDS: Final = 10.0
"""How long is read on after the last look: a page that was loaded begins to follow within it."""

FIRST_SECONDS: Final = 4.0
"""How long a page waits for the first records. Then it says that they are still being read."""

AGAIN_SECONDS: Final = 2.0
"""How long after a failure it is tried again, while somebody looks."""

KINDS: Final = {Topic.RAW: "in", Topic.DEAD_LETTERS: "dead letter", Topic.EVENTS: "event", Topic.ANOMALIES: "anomaly"}

log = structlog.get_logger(__name__)

Watch = Callable[[Settings, MutableMapping[TopicPartition, int], Tell], AsyncGenerator[Glimpse, None]]


class FullError(Exception):
    """As many tabs follow as may."""


class TailRow(msgspec.Struct, frozen=True):
    """A record. `number` counts all that passed since the console started, also those that are left out.

    `kind` is `in` (a raw record), `dead letter`, `event` or `anomaly`. `at` is the record's time: when it was received,
    or written. `place` is its partition and offset. `personal` is what may be shown to those with that role, when they
    ask for it: a body, or an event's personal data.
    """

    number: int
    kind: str
    at: str
    courier: str | None
    shipment_id: str | None
    says: str
    place: str
    personal: Any = None


class News(msgspec.Struct, frozen=True):
    """What a tab has not seen yet: rows, and how many it misses. `trouble` says why nothing may come just now."""

    number: int
    rows: tuple[TailRow, ...]
    left_out: int
    trouble: str | None


class Tail:
    """Reads while somebody looks, and keeps the newest rows."""

    def __init__(self, settings: Settings, watch: Watch = watch) -> None:
        """Read as the settings say. `watch` gives what passes."""
        self.tabs = 0
        self.closed = False
        self._settings = settings
        self._watch = watch
        self._rows: deque[TailRow] = deque(maxlen=KEPT)
        self._number = 0
        self._trouble: str | None = None
        self._read = False
        self._positions: dict[TopicPartition, int] = {}
        self._looked_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def reads(self) -> bool:
        """Whether a reader is there."""
        return self._task is not None

    @property
    def number(self) -> int:
        """How many records have passed."""
        return self._number

    async def newest(self, most: int) -> News:
        """Return the newest rows, newest last. The first look waits for them."""
        self._look()
        until = monotonic() + FIRST_SECONDS
        while not self._read and self._trouble is None and (left := until - monotonic()) > 0:
            await self._wait(left)
        return News(self._number, tuple(self._rows)[-most:], 0, self._trouble)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Count as a tab that follows, within the block.

        Raises:
            FullError: there are as many as may be.

        """
        if self.tabs >= MOST_TABS or self.closed:
            raise FullError(f"{self.tabs} tabs follow already")
        self.tabs += 1
        try:
            self._look()
            yield
        finally:
            self.tabs -= 1
            self._looked_at = monotonic()

    async def after(self, number: int, trouble: str | None, within: float) -> News | None:
        """Return what is new behind a row, as soon as there is something. None: nothing within so many seconds."""
        self._look()
        if number >= self._number and trouble == self._trouble and not self.closed:
            await self._wait(within)
        if number >= self._number and trouble == self._trouble:
            return None
        rows = tuple(row for row in self._rows if row.number > number)
        return News(self._number, rows, max(0, self._number - number - len(rows)), self._trouble)

    async def close(self) -> None:
        """Stop reading, and let go whoever follows."""
        self.closed = True
        self._tell()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _look(self) -> None:
        self._looked_at = monotonic()
        if self._task is None and not self.closed:
            self._task = asyncio.create_task(self._follow())

    def _is_looked_at(self) -> bool:
        return self.tabs > 0 or monotonic() - self._looked_at < LINGER_SECONDS

    async def _wait(self, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self._news.wait()
        except TimeoutError:
            pass  # nothing is new

    async def _follow(self) -> None:
        try:
            while self._is_looked_at():
                try:
                    await self._read_on()
                except FAILURES as error:
                    await self._rest((str(error) or repr(error)).splitlines()[0])
                except Exception:
                    log.exception("tail failed")
                    await self._rest("it failed: the console's log says why")
        finally:
            self._task = None
            self._read = False

    async def _rest(self, trouble: str) -> None:
        self._read = False
        self._say(trouble)
        await asyncio.sleep(AGAIN_SECONDS)

    async def _read_on(self) -> None:
        """Take what passes until nobody looks."""
        async with aclosing(self._watch(self._settings, self._positions, self._hear)) as glimpses:
            async for glimpse in glimpses:
                self._take(glimpse)
                if not self._is_looked_at():
                    return

    def _take(self, glimpse: Glimpse) -> None:
        self._number += glimpse.left_out
        for watched in glimpse.records:
            self._number += 1
            self._rows.append(row_of(self._number, watched))
        if not self._read or glimpse.records or glimpse.left_out:
            self._read, self._trouble = True, None
            self._tell()

    def _hear(self, line: str) -> None:
        self._say(line if line.startswith("waiting") else None)

    def _say(self, trouble: str | None) -> None:
        self._trouble = trouble
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def row_of(number: int, watched: Watched) -> TailRow:
    """Return a record as a row, with what is personal beside what it says."""
    masked, full = hidden(watched), watched.record
    courier, _ = marks(masked, watched.topic)
    value = full.value
    bodies = masked.reading is not None
    return TailRow(
        number,
        KINDS[watched.topic],
        full.timestamp,
        courier if isinstance(courier, str) else None,
        masked.reading.shipment_id if masked.reading is not None else full.key,
        " · ".join(map(str, told(watched.topic, masked))),
        f"{full.partition}:{full.offset}",
        value if bodies else value.get("personal") if isinstance(value, dict) else None,
    )


def without_personal(row: TailRow) -> TailRow:
    """Return a row as those see it who do not see personal data."""
    return msgspec.structs.replace(row, personal=None)
