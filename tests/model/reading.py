"""How two workers of one process read one partition: one position for both, reassignments, a log that loses its end.

Each fetch and each seek is a step, so is each claim. A worker that the partition was taken from may finish what it has
fetched. The decisions are the real ones: `offsets.holes`, `claims.decide`, `claims.advanced`. What is published is no
part of it: see `protocol`.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from processor.core.cursor import Cursor, Stream, advanced, digest
from processor.core.offsets import holes
from processor.protocol.claims import Halt, Log, PartitionState, decide
from schemas.records import RawRecord
from tests.model.exploring import ViolationError

STREAM: Final = Stream("raw", 1, "group")


class Pc(StrEnum):
    """Where a worker is."""

    IDLE = "idle"
    CLAIMED = "claimed"
    WORKING = "working"
    HALTED = "halted"


class Worker(NamedTuple):
    """What a worker holds. `fetched` are records not applied yet. `stale`: its connection to the log was made anew."""

    pc: Pc = Pc.IDLE
    held: Cursor | None = None
    fetched: tuple[RawRecord, ...] = ()
    stale: bool = False


class State(NamedTuple):
    """Everything. `log` are the numbers of the records that it holds, `applied` of those applied, in order."""

    log: tuple[int, ...]
    appended: int
    cursor: Cursor
    applied: tuple[int, ...]
    position: int
    assigned: int
    workers: tuple[Worker, Worker]
    reassignments: int
    losses: int


class Bounds(NamedTuple):
    """How much is explored."""

    records: int = 4
    reassignments: int = 2
    losses: int = 0


def start(bounds: Bounds) -> State:
    """Return the state in which nothing has happened."""
    cursor = Cursor(raw_topic="raw", partitions=1, consumer_group="group", next_offset=0, emitted=0, epoch=0)
    workers = Worker(), Worker()
    return State((), 0, cursor, (), 0, 0, workers, bounds.reassignments, bounds.losses)


class Model:
    """The steps possible in a state. Where a rule is false a defence is missing: the explorer must notice.

    `closed`: a worker that the partition was taken from fetches nothing. `joined`: fetched records must join up with
    the position. `looked_again`: a new connection to the log is a doubt.
    """

    def __init__(self, bounds: Bounds, *, closed: bool = True, joined: bool = True, looked_again: bool = True) -> None:
        self._bounds = bounds
        self._closed = closed
        self._joined = joined
        self._looked_again = looked_again

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Return every step that can be taken; those of a fault contain `!`."""
        if state.appended < self._bounds.records:
            yield "append", state._replace(log=(*state.log, state.appended), appended=state.appended + 1)
        for me in (0, 1):
            for name, after in self._worker(state, me):
                yield f"{me} {name}", after
        if state.reassignments:
            yield "! reassign", state._replace(assigned=1 - state.assigned, reassignments=state.reassignments - 1)
        if state.losses and state.log:
            one, other = (worker._replace(stale=True) for worker in state.workers)
            yield "! lose the end", state._replace(log=state.log[:-1], losses=state.losses - 1, workers=(one, other))

    def _worker(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker, mine = state.workers[me], state.assigned == me
        match worker.pc:
            case Pc.IDLE if mine:
                yield "claim", self._claimed(state, me)
            case Pc.CLAIMED if mine and worker.held is not None:
                there = state._replace(position=worker.held.next_offset)
                yield "seek", _set(there, me, worker._replace(pc=Pc.WORKING))
            case Pc.CLAIMED | Pc.HALTED if not mine:
                yield "leave", _set(state, me, Worker())
            case Pc.WORKING if worker.fetched:
                yield "apply", self._apply(state, me)
            case Pc.WORKING:
                if mine or not self._closed:
                    yield from self._fetch(state, me)
                if not mine:
                    yield "leave", _set(state, me, Worker())
            case _:
                pass  # the partition is another's, or stands still

    def _claimed(self, state: State, me: int) -> State:
        held = _owned(state.cursor, me + 1)
        found = None
        if held.last is not None and held.last.offset < len(state.log):
            found = digest(_record(held.last.offset, state.log[held.last.offset]))
        decision = decide(PartitionState(held, None, Log(0, len(state.log)), STREAM, found))
        if isinstance(decision, Halt):
            if self._bounds.losses == state.losses:
                raise ViolationError(f"halted for nothing: {decision.why}")
            return _set(state, me, Worker(Pc.HALTED))
        return _set(state._replace(cursor=held), me, Worker(Pc.CLAIMED, held))

    def _fetch(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        worker = state.workers[me]
        assert worker.held is not None
        if state.position > len(state.log) or (self._looked_again and worker.stale):
            yield "doubt", _set(state, me, Worker())
            return
        for size in (1, 2):
            end = state.position + size
            if end > len(state.log):
                return
            fetched = tuple(_record(offset, state.log[offset]) for offset in range(state.position, end))
            moved = state._replace(position=end)
            at, offsets = worker.held.next_offset, [record.offset for record in fetched]
            if self._joined and (offsets[0] < at or holes(at, offsets)):
                yield f"fetch {size}, doubt", _set(moved, me, Worker())
            else:
                yield f"fetch {size}", _set(moved, me, worker._replace(fetched=fetched))

    def _apply(self, state: State, me: int) -> State:
        worker = state.workers[me]
        held = worker.held
        assert held is not None
        if (state.cursor.epoch, state.cursor.next_offset) != (held.epoch, held.next_offset):
            return _set(state, me, Worker())
        moved = advanced(held, worker.fetched[-1], 0)
        numbers = tuple(int(record.value or b"") for record in worker.fetched)
        after = state._replace(cursor=moved, applied=(*state.applied, *numbers))
        return _set(after, me, worker._replace(held=moved, fetched=()))

    def check(self, state: State, way: Callable[[], str]) -> None:
        """Check that nothing is applied twice, and nothing before the log's records in front of it."""
        if len(set(state.applied)) < len(state.applied):
            raise ViolationError(f"applied twice, {state.applied}: {way()}")
        ahead = [offset for offset, number in enumerate(state.log) if number in state.applied]
        if not set(state.log[: max(ahead, default=0)]) <= set(state.applied):
            raise ViolationError(f"passed over, of {state.log} only {state.applied} is applied: {way()}")

    def is_done(self, state: State) -> bool:
        """Whether everything is applied, or the partition says that it stands still."""
        halted = state.workers[state.assigned].pc is Pc.HALTED
        return state.appended == self._bounds.records and (halted or set(state.log) <= set(state.applied))


def _set(state: State, me: int, worker: Worker) -> State:
    workers = (worker, state.workers[1]) if me == 0 else (state.workers[0], worker)
    return state._replace(workers=workers)


@lru_cache(None)
def _record(offset: int, number: int) -> RawRecord:
    return RawRecord(0, offset, None, str(number).encode(), (), 0)


@lru_cache(None)
def _owned(cursor: Cursor, epoch: int) -> Cursor:
    return Cursor(**{**{name: getattr(cursor, name) for name in cursor.__struct_fields__}, "epoch": epoch})
