"""How claims share a pool of connections while sessions of others, stalled in a commit, hold the rows they wait for.

A claim waits for its row over a connection of the pool. When that takes too long it ends the session that holds it.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple


class Pc(StrEnum):
    """Where a claim is."""

    BEGUN = "begun"
    WAITING = "waiting"
    """It has a connection, and waits for its row."""
    IMPATIENT = "impatient"
    """It has a connection, and wants to end the session that holds its row."""
    ENDING = "ending"
    """It has a second connection of the pool."""
    DONE = "done"


class State(NamedTuple):
    """Everything: connections that are free, partitions whose row is held, and where each partition's claim is."""

    free: int
    held: frozenset[int]
    claims: tuple[Pc, ...]


class Model:
    """The steps possible in a state. `nested`: what ends a session is a second connection of the pool."""

    def __init__(self, *, nested: bool) -> None:
        self._nested = nested

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Return every step that can be taken. The stalled sessions take none."""
        for me, pc in enumerate(state.claims):
            match pc:
                case Pc.BEGUN if state.free:
                    yield f"{me} takes a connection", _set(state, me, Pc.WAITING)._replace(free=state.free - 1)
                case Pc.WAITING if me in state.held:
                    yield f"{me} loses patience", _set(state, me, Pc.IMPATIENT)
                case Pc.WAITING:
                    yield f"{me} is done", _set(state, me, Pc.DONE)._replace(free=state.free + 1)
                case Pc.IMPATIENT if not self._nested:
                    yield f"{me} ends the holder", _set(state, me, Pc.WAITING)._replace(held=state.held - {me})
                case Pc.IMPATIENT if state.free:
                    yield f"{me} takes another", _set(state, me, Pc.ENDING)._replace(free=state.free - 1)
                case Pc.ENDING:
                    after = state._replace(held=state.held - {me}, free=state.free + 1)
                    yield f"{me} ends the holder", _set(after, me, Pc.WAITING)
                case _:
                    pass  # it waits for a connection, or is done

    def check(self, state: State, way: Callable[[], str]) -> None:
        """Nothing but that the work can be done, which the explorer checks."""

    def is_done(self, state: State) -> bool:
        """Whether every partition is claimed."""
        return set(state.claims) == {Pc.DONE}


def start(claims: int, connections: int) -> State:
    """Return the state in which no claim has begun, and every row is held."""
    return State(connections, frozenset(range(claims)), (Pc.BEGUN,) * claims)


def _set(state: State, me: int, pc: Pc) -> State:
    return state._replace(claims=(*state.claims[:me], pc, *state.claims[me + 1 :]))
