"""Visits every state of a model, checks each, and that from each the work can be done."""

import gc
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

State = TypeVar("State")


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
    model: Model[State], came: dict[State, tuple[State, str] | None], before: dict[State, list[State]]
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
