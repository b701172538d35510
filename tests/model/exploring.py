"""Visits every state of a model, checks each, and that from each the work can be done."""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import msgspec

State = TypeVar("State")


class Fact(msgspec.Struct, frozen=True, cache_hash=True):
    """A part of a state. Copies are made a million times, and hashed as often."""

    def but(self, **changes: Any) -> Self:
        """Return a copy with changes."""
        return msgspec.structs.replace(self, **changes)


class ViolationError(AssertionError):
    """An invariant does not hold. The text tells the way there."""


class Report(NamedTuple):
    """What was explored."""

    states: int
    steps: int
    depth: int


class Model(Protocol[State]):
    """What can happen, and what must hold."""

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Return every step that can be taken; those of a fault contain `!`."""

    def check(self, state: State, way: Callable[[], str]) -> None:
        """Check what must hold in every state. `way` tells how it came about."""

    def is_done(self, state: State) -> bool:
        """Whether the work is done."""


def explore(model: Model[State], first: State) -> Report:
    """Visit every state, check each, and that from each the work can be done without further faults.

    Raises:
        ViolationError: an invariant does not hold.

    """
    gc.disable()  # a state refers to no other: collecting among so many takes most of the time
    try:
        return _explore(model, first)
    finally:
        gc.enable()


def _explore(model: Model[State], first: State) -> Report:
    """Each state is known by its number, in the order found: to hash a state takes most of the time."""
    numbers, states = {first: 0}, [first]
    came: list[tuple[int, str] | None] = [None]
    before: list[list[int]] = [[]]
    depths, steps = [0], 0
    for at, state in enumerate(states):  # which grows meanwhile
        model.check(state, lambda at=at: _way(came, at))  # type: ignore[misc]
        for name, after in model.steps(state):
            steps += 1
            to = numbers.setdefault(after, len(states))
            if to == len(states):
                states.append(after)
                came.append((at, name))
                before.append([])
                depths.append(depths[at] + 1)
            if "!" not in name:
                before[to].append(at)
    _check_progress(model, states, came, before)
    return Report(len(states), steps, depths[-1])


def _check_progress(
    model: Model[State], states: list[State], came: list[tuple[int, str] | None], before: list[list[int]]
) -> None:
    able = [model.is_done(state) for state in states]
    queue = deque(at for at, is_able in enumerate(able) if is_able)
    while queue:
        for at in before[queue.popleft()]:
            if not able[at]:
                able[at] = True
                queue.append(at)
    if not all(able):
        raise ViolationError(f"no way to the end: {_way(came, able.index(False))}")


def _way(came: list[tuple[int, str] | None], at: int) -> str:
    names: list[str] = []
    while (step := came[at]) is not None:
        at, name = step
        names.append(name)
    return " → ".join(reversed(names))
