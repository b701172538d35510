"""The protocol between PostgreSQL and Kafka as a model: every interleaving of two workers, and all that befalls them.

A state holds what survives (the database with its backup, the committed offset, what is published) and what each of two
workers for one partition has in memory. A worker that takes no step is frozen; one that takes it later is a zombie.
The decisions are the real ones: `claims.decide`, `claims.advanced`, `mending.repair`.

Each record gives one output. The last record may be a decision that retires the shipment: what was stored for it goes.
Batches have one or two records. Faults (crashes, commits with unknown outcome, operators' moves of the offset, restores
of the backup, jumps of the clock) are bounded by a budget; schedules are not.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from processor.core.cursor import Committed, Cursor, Resume, Stream, advanced, mark
from processor.protocol.claims import Halt, Log, PartitionState, decide
from processor.protocol.repair import Repair, repair
from schemas.records import RawRecord
from tests.model.exploring import Fact, ViolationError

STREAM: Final = Stream("raw", 1, "group")

CORRECTION: Final = 100
"""Added to the cause of a correction it makes the number of its output."""

Decide = Callable[[PartitionState], Resume | Halt]


class Pc(StrEnum):
    """Where a worker is."""

    IDLE = "idle"
    FENCED = "fenced"
    CLAIMED = "claimed"
    PUBLISHING = "publishing"
    """Publishes again what is stored; only then it works."""
    WORKING = "working"


class Database(Fact, frozen=True, cache_hash=True):
    """PostgreSQL. `applied` are the records whose effects are in, in order; outputs are stored for all of them but
    those that a recovery derived."""

    cursor: Cursor
    applied: tuple[int, ...]
    unstored: frozenset[int]
    corrected: frozenset[int] = frozenset()
    """The causes that corrections stand under."""
    ahead: frozenset[int] = frozenset()
    """Those recorded while the clock was far ahead of the brokers'."""


class Pending(Fact, frozen=True, cache_hash=True):
    """An open Kafka transaction: what it will publish, and the offset that goes with it."""

    outputs: tuple[int, ...]
    offset: int
    recovery: int


class Worker(Fact, frozen=True, cache_hash=True):
    """What a worker holds in memory. `batch` is stored and not yet handed to Kafka, `pending` not yet committed."""

    pc: Pc = Pc.IDLE
    held: Cursor | None = None
    emitted: int = 0
    batch: Pending | None = None
    pending: Pending | None = None
    writing: Cursor | None = None
    """An open PostgreSQL transaction: the row is locked, this is what it will become."""
    timeless: bool = False
    """The brokers have refused the time: outputs are published without one."""


class State(Fact, frozen=True, cache_hash=True):
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
    jumps: int = 0
    is_ahead: bool = False
    """The clock by which outputs are recorded is far ahead of the brokers'."""


class Bounds(NamedTuple):
    """How much is explored."""

    records: int = 3
    faults: int = 2
    moves: int = 1
    restores: int = 1
    jumps: int = 0
    retires: bool = False
    """The last record retires the shipment."""


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
        bounds.jumps,
    )


class Model:
    """The steps possible in a state."""

    def __init__(
        self,
        bounds: Bounds,
        decide: Decide = decide,
        *,
        guarded: bool = True,
        fenced: bool = True,
        spares_unpublished: bool = True,
        stamps_anew: bool = True,
    ) -> None:
        """`decide` may be a wrong one; where one of the others is false a defence is missing: the explorer must notice.

        `spares_unpublished`: retiring deletes only outputs that are known to be published. `stamps_anew`: outputs are
        stamped when they are published, and not at all once that was refused; else with when they were recorded.
        """
        self._bounds = bounds
        self._decide = lru_cache(None)(decide)
        self._mend = lru_cache(None)(lambda sight: repair(sight, 1))
        self._guarded = guarded
        self._fenced = fenced
        self._spares_unpublished = spares_unpublished
        self._stamps_anew = stamps_anew

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Return every step that can be taken; those of the environment begin with `!`."""
        for me in (0, 1):
            for name, after in self._worker(state, me):
                yield f"{me} {name}", after
        yield from self._operator(state)
        if state.jumps:
            yield "! clock jumps", state.but(is_ahead=not state.is_ahead, jumps=state.jumps - 1)

    def _worker(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        match worker.pc:
            case Pc.IDLE:
                yield "fence", _set(_fence(state, me, self._fenced), me, worker.but(pc=Pc.FENCED))
            case Pc.FENCED:
                yield from self._claim(state, me)
            case Pc.CLAIMED:
                yield from self._read_committed(state, me)
            case Pc.PUBLISHING:
                yield from self._commit_kafka(state, me)
            case Pc.WORKING:
                yield from self._work(state, me)
        if state.faults and worker.pc is not Pc.IDLE:
            yield "! crash", _set(state, me, Worker()).but(faults=state.faults - 1)

    def _claim(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        """The update waits for whoever holds the row, or ends his session."""
        other = state.workers[1 - me]
        if other.writing is not None:
            state = _set(state, 1 - me, other.but(writing=None, pc=Pc.IDLE, batch=None, pending=None, held=None))
        database = state.database
        cursor = database.cursor
        if cursor.recover_until is None:
            cursor = msgspec.structs.replace(cursor, epoch=me + 1)
        state = state.but(database=database.but(cursor=cursor))
        yield "claim", _set(state, me, state.workers[me].but(pc=Pc.CLAIMED, held=cursor))

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
        working = state.workers[me].but(pc=Pc.WORKING, emitted=held.next_offset)
        if decision.emit_from < held.next_offset or state.committed != Committed(held.next_offset, mark(held.recovery)):
            outputs = _stored(state.database, decision.emit_from, held.next_offset)
            working = working.but(
                pc=Pc.PUBLISHING,
                emitted=min(decision.emit_from, held.emitted),
                pending=Pending(outputs, held.next_offset, held.recovery),
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
            yield "send", _set(state, me, worker.but(pending=worker.batch, batch=None))
        elif held.emitted < worker.emitted and self._holds(state, held):
            cursor = msgspec.structs.replace(state.database.cursor, emitted=max(held.emitted, worker.emitted))
            noted = state.but(database=state.database.but(cursor=cursor))
            yield "note", _set(noted, me, worker.but(held=msgspec.structs.replace(held, emitted=worker.emitted)))
        if worker.batch is None:
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
            yield f"write {size}", _set(state, me, worker.but(writing=moved))

    def _commit_postgres(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        held, moved = worker.held, worker.writing
        assert held is not None
        assert moved is not None
        records = tuple(range(held.next_offset, moved.next_offset))
        database = state.database
        after = state.but(
            database=database.but(
                cursor=moved,
                applied=(*database.applied, *records),
                unstored=(database.unstored - set(records)) | self._retired(held, moved),
                ahead=database.ahead | set(records) if state.is_ahead else database.ahead,
            )
        )
        batch = Pending(records, moved.next_offset, moved.recovery)
        yield "commit postgres", _set(after, me, worker.but(held=moved, writing=None, batch=batch))
        if state.faults:
            yield "! committed, unknown", _set(after, me, Worker()).but(faults=state.faults - 1)
            yield "! not committed, unknown", _set(state, me, Worker()).but(faults=state.faults - 1)

    def _retired(self, held: Cursor, moved: Cursor) -> frozenset[int]:
        """Return the causes whose outputs go with a batch: those before it, if it retires the shipment."""
        if not self._bounds.retires or moved.next_offset < self._bounds.records:
            return frozenset()
        return frozenset(range(min(held.next_offset, moved.emitted) if self._spares_unpublished else held.next_offset))

    def _commit_kafka(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        pending = worker.pending
        assert pending is not None
        if self._fenced and state.producer != me:
            yield "fenced", _set(state, me, Worker())
            return
        if self._is_refused(state, worker, pending):
            yield "refused", _set(state, me, Worker(timeless=self._stamps_anew))
            return
        committed = Committed(pending.offset, mark(pending.recovery))
        after = state.but(published=(*state.published, *pending.outputs), committed=committed)
        yield (
            "commit kafka",
            _set(after, me, worker.but(pc=Pc.WORKING, pending=None, emitted=max(worker.emitted, pending.offset))),
        )
        if state.faults:
            yield "! published, unknown", _set(after, me, Worker()).but(faults=state.faults - 1)
            yield "! not published, unknown", _set(state, me, Worker()).but(faults=state.faults - 1)

    def _is_refused(self, state: State, worker: Worker, pending: Pending) -> bool:
        """Whether brokers refuse the outputs for their timestamps."""
        if self._stamps_anew:
            return state.is_ahead and bool(pending.outputs) and not worker.timeless
        return not state.database.ahead.isdisjoint(each % CORRECTION for each in pending.outputs)

    def _operator(self, state: State) -> Iterator[tuple[str, State]]:
        if state.backup is None and state.restores and state.database.applied:
            yield "! back up", state.but(backup=state.database)
        # The mark on the committed offset is all that tells of a restore: an operator must not wipe it out before.
        marked = state.committed is not None and state.committed.recovery is not None
        if state.backup is not None and state.restores and state.backup != state.database and marked:
            stopped = state.but(workers=(Worker(), Worker()), producer=None)
            yield "! restore", stopped.but(database=state.backup, restores=0)
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
            moved = state.but(committed=Committed(offset, ""), moves=state.moves - 1)
            yield f"! move offset to {offset}", moved.but(rewound=min(known, offset))
        yield "! offset expires", state.but(committed=None, moves=state.moves - 1, rewound=known)

    def _recovered(self, state: State, found: Repair) -> State:
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
        return state.but(
            database=Database(cursor, (*database.applied, *derived), unstored | set(derived), corrected),
        )

    def _is_older(self, state: State) -> bool:
        return isinstance(decide(self._sight(state.database.cursor, state.committed)), Halt)

    def _holds(self, state: State, held: Cursor) -> bool:
        cursor = state.database.cursor
        return cursor.epoch == held.epoch and cursor.next_offset == held.next_offset

    def _sight(self, cursor: Cursor, committed: Committed | None) -> PartitionState:
        found = None if cursor.last is None else cursor.last.digest
        return PartitionState(cursor, committed, Log(0, self._bounds.records), STREAM, found)

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


def _fence(state: State, me: int, fenced: bool) -> State:
    """Take the producer over. The open transaction of another is aborted: its commit will find out."""
    return state.but(producer=me) if fenced else state


def _set(state: State, me: int, worker: Worker) -> State:
    workers = (worker, state.workers[1]) if me == 0 else (state.workers[0], worker)
    return state.but(workers=workers)


@lru_cache(None)
def _record(offset: int) -> RawRecord:
    return RawRecord(0, offset, None, str(offset).encode(), (), 0)
