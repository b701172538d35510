"""Redriving dead letters: their raw records are read again with today's code.

A job in `replay_jobs`. What it appends has the command id `<job>/<P>:<O>` of the root. A letter that was redriven and
not applied yet keeps its command id, so that a second run, after the first was killed, applies nothing twice.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

import msgspec

from operators.dead_letters.letters import DEAD, Body, Letter, LetterSelection, LetterState, chunks
from operators.dead_letters.stored_letters import bodies, decide, letters
from operators.shared.appending import rereading
from operators.shared.operator_log import note
from operators.shared.outcomes import outcomes
from operators.shared.rereading import reread
from processor.core.reading import Unreadable, ZoneOf
from runtime.appending import Appender
from runtime.locks import LockNumber
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.records import NewRecord
from schemas.vocabulary import Source

LOCK: Final = LockNumber.REDRIVE
"""One redrive at a time."""

_Q: Final = load_queries("operators.dead_letters")

Say = Callable[[str], None]
GoesOn = Callable[[], Awaitable[bool]]


class Passed(msgspec.Struct, frozen=True):
    """A letter that is not redriven, and why."""

    at: str
    why: str


class Chosen(msgspec.Struct, frozen=True):
    """What is to be redriven, in the roots' order, and what of the selection is not."""

    letters: tuple[Letter, ...]
    passed: tuple[Passed, ...]


class Prediction(msgspec.Struct, frozen=True):
    """What today's code makes of the chosen letters. `unreadable` counts by reason."""

    letters: int
    readable: int
    unreadable: Mapping[str, int]


class Redriven(msgspec.Struct, frozen=True):
    """What a redrive came to. `stopped` says why it did not go to its end."""

    job: str
    letters: int
    appended: int = 0
    outcomes: Mapping[str, int] = {}
    stopped: str | None = None

    @property
    def applied(self) -> int:
        """How many have been applied."""
        return sum(self.outcomes.values())

    @property
    def came_back(self) -> int:
        """How many are dead letters again."""
        return self.outcomes.get(DEAD, 0)

    def exceeds(self, ratio: float) -> bool:
        """Whether more than this share came back."""
        return self.applied > 0 and self.came_back / self.applied > ratio


def refusal(letter: Letter) -> str | None:
    """Say why a letter cannot be redriven, if it cannot."""
    if letter.state is LetterState.MENDED:
        return "it was read again with success"
    if letter.size is None:
        return "it has no body: it came without one, or it was erased"
    if not letter.of_this_log:
        return (
            "the raw topic was made anew since, so nothing can refer to its record: ask the courier again, or drop it"
        )
    if letter.source == Source.OPERATOR:
        return "it is an operator's decision: decide again, or drop it"
    return None


async def choose(pool: Pool, selection: LetterSelection, limit: int | None) -> Chosen:
    """Return what is to be redriven: the oldest letters of the selection that are open, or not applied yet.

    A letter that is named is redriven though it was dropped.
    """
    states = {LetterState.OPEN, LetterState.WAITING} | ({LetterState.DROPPED} if selection.names else set())
    found: list[Letter] = []
    passed: list[Passed] = []
    async with aclosing(letters(pool, selection)) as selected:
        async for letter in selected:
            why = refusal(letter)
            if why is None and letter.state in states:
                found.append(letter)
            elif why is not None and (selection.names or letter.state in states):
                passed.append(Passed(letter.at, why))
    found.sort(key=lambda each: (each.recorded_at, each.root))
    return Chosen(tuple(sorted(found[:limit], key=lambda each: each.root)), tuple(passed))


async def predict(pool: Pool, chosen: Chosen, zone_of: ZoneOf) -> Prediction:
    """Read the chosen letters with today's code."""
    unreadable: Counter[str] = Counter()
    readable = 0
    for chunk in chunks(chosen.letters):
        for body in await bodies(pool, chunk):
            reading = reread(body.record, "", zone_of, partitions=1)
            if isinstance(reading, Unreadable):
                unreadable[reading.error.reason] += 1
            else:
                readable += 1
    return Prediction(len(chosen.letters), readable, dict(unreadable))


class Redrive:
    """One run over chosen letters, by one operator."""

    def __init__(
        self,
        pool: Pool,
        appender: Appender,
        zone_of: ZoneOf,
        operator: str,
        job: str | None = None,
        before: Collection[tuple[int, int]] = (),
    ) -> None:
        """Keep the clients; `run` does the work, or `go_on` that of a `job` that is there already.

        `before` are the roots of it that were applied before, by partition and offset.
        """
        self._pool = pool
        self._appender = appender
        self._zone_of = zone_of
        self._operator = operator
        self._job = job or new_name()
        self._before = before

    async def run(self, chosen: Chosen, selection: LetterSelection, max_failure_ratio: float, say: Say) -> Redriven:
        """Redrive letters chunk by chunk. Stop when too many come back, or when nobody applies them."""
        done = Redriven(self._job, len(chosen.letters))
        await self._begin(selection, done)
        return await self.go_on(chosen, done, max_failure_ratio, say)

    async def go_on(
        self, chosen: Chosen, done: Redriven, max_failure_ratio: float, say: Say, goes_on: GoesOn | None = None
    ) -> Redriven:
        """Redrive what is chosen, `done` being what was done before. It ends early when `goes_on` says so."""
        if self._before:
            await self._progress(chosen, done)
        for chunk in chunks(chosen.letters):
            if goes_on is not None and not await goes_on():
                return done
            done, unapplied = await self._chunk(chunk, done)
            await self._progress(chosen, done)
            say(f"{done.appended} of {done.letters} redriven: {done.applied} applied, {done.came_back} came back")
            stopped = None
            if unapplied:
                stopped = f"{unapplied} are appended and not applied yet: they are as soon as a processor runs"
            elif done.exceeds(max_failure_ratio) and done.appended < done.letters:
                stopped = f"{done.came_back} of {done.applied} came back, more than --max-failure-ratio allows"
            if stopped is not None:
                done = msgspec.structs.replace(done, stopped=stopped)
                break
        await self._end(done)
        return done

    async def _chunk(self, chunk: Sequence[Letter], done: Redriven) -> tuple[Redriven, int]:
        """Redrive some letters; return what it all came to, and how many were not applied in time."""
        found = await bodies(self._pool, chunk)
        ids = {each.letter.at: _command_id(self._job, each.letter) for each in found}
        async with self._pool.acquire() as connection:
            # Remembered before it is appended: killed in between, the next run appends under the same id.
            roots = [each.letter.root for each in found]
            await decide(connection, roots, "redriven", list(ids.values()), self._operator, None)
        await self._appender.append([self._record(each, ids[each.letter.at]) for each in found])
        came = await outcomes(self._pool, list(ids.values()))
        counted = Counter(done.outcomes) + Counter(each.outcome for each in came.values())
        gone = len(chunk) - len(found)
        return (
            msgspec.structs.replace(
                done, letters=done.letters - gone, appended=done.appended + len(found), outcomes=dict(counted)
            ),
            len(found) - len(came),
        )

    def _record(self, body: Body, command_id: str) -> NewRecord:
        return rereading(reread(body.record, command_id, self._zone_of, self._appender.partitions).record)

    async def _begin(self, selection: LetterSelection, done: Redriven) -> None:
        shown = msgspec.to_builtins(selection)
        async with self._pool.acquire() as connection, connection.transaction():
            text = msgspec.json.encode(shown).decode()
            await connection.execute(_Q["begin_redrive"], self._job, text, self._operator, _now())
            await note(connection, self._operator, "dlq redrive", {"job": self._job, "letters": done.letters, **shown})

    async def _progress(self, chosen: Chosen, done: Redriven) -> None:
        """Write how far it is, for whoever looks at the jobs."""
        tried = chosen.letters[: done.appended - len(self._before)]
        rows: dict[int, tuple[int, int]] = {}
        for partition, offset in (*self._before, *(each.root[1:] for each in tried)):
            reached, appended = rows.get(partition, (0, 0))
            rows[partition] = (max(reached, offset + 1), appended + 1)
        ends = {partition: reached for partition, (reached, _) in rows.items()}
        for _, partition, offset in (each.root for each in chosen.letters):
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        parts = sorted(rows)
        async with self._pool.acquire() as connection:
            await connection.execute(
                _Q["redrive_positions"],
                self._job,
                parts,
                [rows[each][0] for each in parts],
                [ends[each] for each in parts],
                [rows[each][1] for each in parts],
            )

    async def _end(self, done: Redriven) -> None:
        status = "failed" if done.stopped else "done"
        async with self._pool.acquire() as connection:
            await connection.execute(_Q["end_redrive"], self._job, status, done.stopped, _now())


def new_name() -> str:
    """Name a job."""
    return f"redrive-{token_hex(6)}"


def _command_id(job: str, letter: Letter) -> str:
    """Return the id it was redriven under, if that is not applied yet, else one of this job."""
    if letter.state is LetterState.WAITING and letter.command_id is not None:
        return letter.command_id
    _, partition, offset = letter.root
    return f"{job}/{partition}:{offset}"


def _now() -> datetime:
    return datetime.now(UTC)
