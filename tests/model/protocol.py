"""The protocol between PostgreSQL and Kafka as a model: every interleaving of two workers, and all that befalls them.

A state holds what survives (the database with its backup, the committed offset, what is published) and what each of two
workers for one partition has in memory. A worker that takes no step is frozen; one that takes it later is a zombie.
The decisions are the real ones: `claims.decide`, `claims.advanced`, `mending.mend`.

Each record gives one output. Batches have one or two records. Faults (crashes, commits with unknown outcome, operators'
moves of the offset, restores of the backup) are bounded by a budget; schedules are not.
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from processor.claims import (
    Committed,
    Cursor,
    Halt,
    Log,
    Resume,
    Sight,
    Stream,
    advanced,
    decide,
    mark,
)
from processor.mending import Mend, mend
from schemas.records import RawRecord

STREAM: Final = Stream("raw", 1, "group")

CORRECTION: Final = 100
"""Added to the cause of a correction it makes the number of its output."""

Decide = Callable[[Sight], Resume | Halt]


class Pc(StrEnum):
    """Where a worker is."""

    IDLE = "idle"
    FENCED = "fenced"
    CLAIMED = "claimed"
    WORKING = "working"


class Database(NamedTuple):
    """PostgreSQL. `applied` are the records whose effects are in, in order; outputs are stored for all of them but
    those that a recovery derived."""

    cursor: Cursor
    applied: tuple[int, ...]
    unstored: frozenset[int]
    corrected: frozenset[int] = frozenset()
    """The causes that corrections stand under."""


class Pending(NamedTuple):
    """An open Kafka transaction: what it will publish, and the offset that goes with it."""

    outputs: tuple[int, ...]
    offset: int
    recovery: int


class Worker(NamedTuple):
    """What a worker holds in memory. `batch` is stored and not yet handed to Kafka, `pending` not yet committed."""

    pc: Pc = Pc.IDLE
    held: Cursor | None = None
    emitted: int = 0
    batch: Pending | None = None
    pending: Pending | None = None
    writing: Cursor | None = None
    """An open PostgreSQL transaction: the row is locked, this is what it will become."""


class State(NamedTuple):
    """Everything."""

    database: Database
    backup: Database | None
    committed: Committed | None
    published: tuple[int, ...]
    producer: int | None
    workers: tuple[Worker, Worker]
    faults: int
    moves: int
    restores: int
    rewound: int
    """The lowest offset an operator has gone back to; above all records if none has."""


class Bounds(NamedTuple):
    """How much is explored."""

    records: int = 3
    faults: int = 2
    moves: int = 1
    restores: int = 1


class ViolationError(AssertionError):
    """An invariant does not hold. The text tells the way there."""


class Report(NamedTuple):
    """What was explored."""

    states: int
    steps: int
    depth: int


def start(bounds: Bounds) -> State:
    """Return the state in which nothing has happened."""
    cursor = Cursor(raw_topic="raw", partitions=1, consumer_group="group", next_offset=0, emitted=0, epoch=0)
    return State(
        Database(cursor, (), frozenset()),
        None,
        None,
        (),
        None,
        (Worker(), Worker()),
        bounds.faults,
        bounds.moves,
        bounds.restores,
        bounds.records,
    )


class Model:
    """The steps possible in a state."""

    def __init__(self, bounds: Bounds, decide: Decide = decide, *, guarded: bool = True, fenced: bool = True) -> None:
        """`decide` may be a wrong one; without `guarded` or `fenced` a defence is missing: the explorer must notice."""
        self._bounds = bounds
        self._decide = lru_cache(None)(decide)
        self._mend = lru_cache(None)(lambda sight: mend(sight, 1))
        self._guarded = guarded
        self._fenced = fenced

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Return every step that can be taken; those of the environment begin with `!`."""
        for me in (0, 1):
            for name, after in self._worker(state, me):
                yield f"{me} {name}", after
        yield from self._operator(state)

    def _worker(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        match worker.pc:
            case Pc.IDLE:
                yield "fence", _set(_fence(state, me, self._fenced), me, Worker(Pc.FENCED))
            case Pc.FENCED:
                yield from self._claim(state, me)
            case Pc.CLAIMED:
                yield from self._read_committed(state, me)
            case Pc.WORKING:
                yield from self._work(state, me)
        if state.faults and worker.pc is not Pc.IDLE:
            yield "! crash", _set(state, me, Worker())._replace(faults=state.faults - 1)

    def _claim(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        """The update waits for whoever holds the row, or ends his session."""
        other = state.workers[1 - me]
        if other.writing is not None:
            state = _set(state, 1 - me, other._replace(writing=None, pc=Pc.IDLE, batch=None, pending=None, held=None))
        database = state.database
        cursor = database.cursor
        if cursor.recover_until is None:
            cursor = msgspec.structs.replace(cursor, epoch=me + 1)
        state = state._replace(database=database._replace(cursor=cursor))
        yield "claim", _set(state, me, Worker(Pc.CLAIMED, cursor))

    def _read_committed(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        held = state.workers[me].held
        assert held is not None
        decision = self._decide(self._sight(held, state.committed))
        if isinstance(decision, Halt):
            if state.database.cursor.epoch != held.epoch:
                yield "lost", _set(state, me, Worker())
            elif state.restores == self._bounds.restores:
                raise ViolationError(f"halted for nothing: {decision.why}")
            return
        working = Worker(Pc.WORKING, held, held.next_offset)
        if decision.emit_from < held.next_offset or state.committed != Committed(held.next_offset, mark(held.recovery)):
            outputs = _stored(state.database, decision.emit_from, held.next_offset)
            working = working._replace(
                emitted=min(decision.emit_from, held.emitted), pending=Pending(outputs, held.next_offset, held.recovery)
            )
        yield "decide", _set(state, me, working)

    def _work(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        held = worker.held
        assert held is not None
        if worker.writing is not None:
            yield from self._commit_postgres(state, me)
            return
        if worker.pending is not None:
            yield from self._commit_kafka(state, me)
        elif worker.batch is not None:
            yield "send", _set(state, me, worker._replace(pending=worker.batch, batch=None))
        elif held.emitted < worker.emitted and self._holds(state, held):
            cursor = msgspec.structs.replace(state.database.cursor, emitted=max(held.emitted, worker.emitted))
            noted = state._replace(database=state.database._replace(cursor=cursor))
            yield "note", _set(noted, me, worker._replace(held=msgspec.structs.replace(held, emitted=worker.emitted)))
        recovering = (
            worker.pending is not None
            and worker.pending.offset == held.next_offset
            and worker.emitted < held.next_offset
        )
        if worker.batch is None and not recovering:
            yield from self._store(state, me)

    def _store(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        """Begin to write the next batch: the row is locked if it is still ours."""
        worker = state.workers[me]
        held = worker.held
        assert held is not None
        other = state.workers[1 - me]
        if other.writing is not None:
            return
        for size in (1, 2):
            if held.next_offset + size > self._bounds.records:
                return
            moved = advanced(held, _record(held.next_offset + size - 1), worker.emitted)
            if self._guarded and not self._holds(state, held):
                yield "lost", _set(state, me, Worker())
                return
            yield f"write {size}", _set(state, me, worker._replace(writing=moved))

    def _commit_postgres(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        held, moved = worker.held, worker.writing
        assert held is not None
        assert moved is not None
        records = tuple(range(held.next_offset, moved.next_offset))
        database = state.database
        after = state._replace(
            database=database._replace(
                cursor=moved, applied=(*database.applied, *records), unstored=database.unstored - set(records)
            )
        )
        batch = Pending(records, moved.next_offset, moved.recovery)
        yield "commit postgres", _set(after, me, worker._replace(held=moved, writing=None, batch=batch))
        if state.faults:
            yield "! committed, unknown", _set(after, me, Worker())._replace(faults=state.faults - 1)
            yield "! not committed, unknown", _set(state, me, Worker())._replace(faults=state.faults - 1)

    def _commit_kafka(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        pending = worker.pending
        assert pending is not None
        if self._fenced and state.producer != me:
            yield "fenced", _set(state, me, Worker())
            return
        committed = Committed(pending.offset, mark(pending.recovery))
        after = state._replace(published=(*state.published, *pending.outputs), committed=committed)
        yield (
            "commit kafka",
            _set(after, me, worker._replace(pending=None, emitted=max(worker.emitted, pending.offset))),
        )
        if state.faults:
            yield "! published, unknown", _set(after, me, Worker())._replace(faults=state.faults - 1)
            yield "! not published, unknown", _set(state, me, Worker())._replace(faults=state.faults - 1)

    def _operator(self, state: State) -> Iterator[tuple[str, State]]:
        if state.backup is None and state.restores and state.database.applied:
            yield "! back up", state._replace(backup=state.database)
        # The mark on the committed offset is all that tells of a restore: an operator must not wipe it out before.
        marked = state.committed is not None and state.committed.recovery is not None
        if state.backup is not None and state.restores and state.backup != state.database and marked:
            stopped = state._replace(workers=(Worker(), Worker()), producer=None)
            yield "! restore", stopped._replace(database=state.backup, restores=0)
        yield from self._moved(state)
        found = self._mend(self._sight(state.database.cursor, state.committed))
        if found is not None:
            yield "recover", self._recovered(state, found)

    def _moved(self, state: State) -> Iterator[tuple[str, State]]:
        """Kafka's tools refuse while the group has members, and need an offset that the log has.

        After a restore the mark is all that tells of it: an operator must not wipe it out. At any time it may be the
        only trace of an emission that the database was not told of: what that emission published comes again.
        """
        idle = all(each.pc is Pc.IDLE for each in state.workers)
        if not state.moves or state.committed is None or not idle or self._is_older(state):
            return
        known = min(state.rewound, state.database.cursor.emitted)
        for offset in range(self._bounds.records + 1):
            moved = state._replace(committed=Committed(offset, ""), moves=state.moves - 1)
            yield f"! move offset to {offset}", moved._replace(rewound=min(known, offset))
        yield "! offset expires", state._replace(committed=None, moves=state.moves - 1, rewound=known)

    def _recovered(self, state: State, found: Mend) -> State:
        """`waybill recover` as one step: that its own steps may be repeated is tried on the real stores."""
        cursor, database = found.cursor, state.database
        until = cursor.recover_until
        state = _fence(state, 2, self._fenced)
        derived: tuple[int, ...] = ()
        unstored, corrected = database.unstored, database.corrected
        if cursor.incarnation != database.cursor.incarnation:
            unstored, corrected = frozenset(range(self._bounds.records)), frozenset()
        if until is not None:
            derived = tuple(range(cursor.next_offset, until))
            if derived:
                cursor = advanced(cursor, _record(until - 1), until)
            cursor = msgspec.structs.replace(cursor, recover_until=None, emitted=until - 1)
            corrected |= {until - 1}
        cursor = msgspec.structs.replace(cursor, epoch=0)
        return state._replace(
            database=Database(cursor, (*database.applied, *derived), unstored | set(derived), corrected),
        )

    def _is_older(self, state: State) -> bool:
        return isinstance(decide(self._sight(state.database.cursor, state.committed)), Halt)

    def _holds(self, state: State, held: Cursor) -> bool:
        cursor = state.database.cursor
        return cursor.epoch == held.epoch and cursor.next_offset == held.next_offset

    def _sight(self, cursor: Cursor, committed: Committed | None) -> Sight:
        found = None if cursor.last is None else cursor.last.digest
        return Sight(cursor, committed, Log(0, self._bounds.records), STREAM, found)

    def check(self, state: State, way: Callable[[], str]) -> None:
        """Check what must hold in every state."""
        cursor = state.database.cursor
        if state.database.applied != tuple(range(cursor.next_offset)):
            raise ViolationError(f"applied {state.database.applied}, cursor at {cursor.next_offset}: {way()}")
        committed = state.committed
        marked = committed is not None and committed.recovery is not None
        if committed and marked and self._bounds.restores == state.restores and committed.offset > cursor.next_offset:
            raise ViolationError(f"PostgreSQL is behind Kafka: {way()}")
        frontier = 0
        for each in state.published:
            if each >= CORRECTION:
                if state.published.count(each) > 1 and each - CORRECTION < state.rewound:
                    raise ViolationError(f"corrected twice, {state.published}: {way()}")
            elif each == frontier:
                frontier += 1
            elif each > frontier or each < state.rewound:
                raise ViolationError(f"published {state.published}, rewound to {state.rewound}: {way()}")

    def is_done(self, state: State) -> bool:
        """Whether everything is applied and published, and the stores agree."""
        cursor = state.database.cursor
        return (
            cursor.next_offset == self._bounds.records
            and set(range(self._bounds.records)) <= set(state.published)
            and {CORRECTION + each for each in state.database.corrected} <= set(state.published)
            and state.committed == Committed(cursor.next_offset, mark(cursor.recovery))
        )


def _stored(database: Database, start: int, end: int) -> tuple[int, ...]:
    """Return the outputs stored for the causes from `start` up to `end`."""
    found: list[int] = []
    for each in range(start, end):
        if each not in database.unstored:
            found.append(each)
        if each in database.corrected:
            found.append(CORRECTION + each)
    return tuple(found)


def explore(model: Model, bounds: Bounds) -> Report:
    """Visit every state, check each, and that from each the work can be done without further faults.

    Raises:
        ViolationError: an invariant does not hold.

    """
    first = start(bounds)
    came: dict[State, tuple[State, str] | None] = {first: None}
    before: dict[State, list[State]] = {}
    queue, steps, depth = deque([(first, 0)]), 0, 0
    while queue:
        state, depth = queue.popleft()
        model.check(state, lambda state=state: _way(came, state))  # type: ignore[misc]
        for name, after in model.steps(state):
            steps += 1
            if "!" not in name:
                before.setdefault(after, []).append(state)
            if after not in came:
                came[after] = state, name
                queue.append((after, depth + 1))
    _check_progress(model, came, before)
    return Report(len(came), steps, depth)


def _check_progress(
    model: Model, came: dict[State, tuple[State, str] | None], before: dict[State, list[State]]
) -> None:
    able = {state for state in came if model.is_done(state)}
    queue = deque(able)
    while queue:
        for state in before.get(queue.popleft(), ()):
            if state not in able:
                able.add(state)
                queue.append(state)
    for state in came:
        if state not in able:
            raise ViolationError(f"no way to the end: {_way(came, state)}")


def _way(came: dict[State, tuple[State, str] | None], state: State) -> str:
    names: list[str] = []
    while (step := came[state]) is not None:
        state, name = step
        names.append(name)
    return " → ".join(reversed(names))


def _fence(state: State, me: int, fenced: bool) -> State:
    """Take the producer over. The open transaction of another is aborted: its commit will find out."""
    return state._replace(producer=me) if fenced else state


def _set(state: State, me: int, worker: Worker) -> State:
    workers = (worker, state.workers[1]) if me == 0 else (state.workers[0], worker)
    return state._replace(workers=workers)


@lru_cache(None)
def _record(offset: int) -> RawRecord:
    return RawRecord(0, offset, None, str(offset).encode(), (), 0)
