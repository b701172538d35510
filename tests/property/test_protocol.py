"""The protocol between the stores, explored exhaustively on the real decisions; wrong ones are caught."""

import msgspec
import pytest

from processor.claims import Halt, Resume, Sight, Trouble, decide
from tests.model.protocol import Bounds, Decide, Model, ViolationError, explore

BOUNDS = Bounds(records=2, faults=2, moves=1, restores=1)
WITH_MOVES = Bounds(records=2, faults=1, moves=1, restores=0)
WITH_RESTORES = Bounds(records=3, faults=1, moves=0, restores=1)


def test_every_state_keeps_the_promise_and_leads_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    report = explore(Model(BOUNDS), BOUNDS)
    with capsys.disabled():
        print(f"\nprotocol: {report.states} states, {report.steps} steps, depth {report.depth}, {BOUNDS}")
    assert report.states > 100_000


def trust_the_database(sight: Sight) -> Resume | Halt:
    found = decide(sight)
    return Resume(sight.cursor.emitted) if isinstance(found, Resume) else found


def trust_any_offset(sight: Sight) -> Resume | Halt:
    found = decide(sight)
    if isinstance(found, Resume) and sight.committed is not None:
        return Resume(min(sight.committed.offset, sight.cursor.next_offset))
    return found


def skip_when_expired(sight: Sight) -> Resume | Halt:
    return Resume(sight.cursor.next_offset) if sight.committed is None else decide(sight)


def overlook_a_restore(sight: Sight) -> Resume | Halt:
    found = decide(sight)
    if isinstance(found, Halt) and found.trouble is Trouble.RESTORED:
        return Resume(sight.cursor.next_offset)
    return found


def ignore_recoveries(sight: Sight) -> Resume | Halt:
    return decide(msgspec.structs.replace(sight, cursor=msgspec.structs.replace(sight.cursor, recovery=0)))


def never_resume(sight: Sight) -> Resume | Halt:
    return Halt(Trouble.RESTORED, "no")


@pytest.mark.parametrize(
    ("wrong", "bounds"),
    [
        (trust_the_database, WITH_MOVES),
        (trust_any_offset, WITH_MOVES),
        (skip_when_expired, WITH_MOVES),
        (overlook_a_restore, WITH_RESTORES),
        (ignore_recoveries, WITH_RESTORES),
        (never_resume, WITH_MOVES),
    ],
)
def test_a_wrong_decision_is_caught(wrong: Decide, bounds: Bounds) -> None:
    with pytest.raises(ViolationError):
        explore(Model(bounds, wrong), bounds)


@pytest.mark.parametrize(("guarded", "fenced"), [(False, True), (True, False)])
def test_a_missing_defence_is_caught(*, guarded: bool, fenced: bool) -> None:
    with pytest.raises(ViolationError):
        explore(Model(WITH_MOVES, guarded=guarded, fenced=fenced), WITH_MOVES)
