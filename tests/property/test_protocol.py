"""The protocol between the stores, explored exhaustively on the real decisions; wrong ones are caught."""

import msgspec
import pytest

from processor.core.cursor import Resume
from processor.protocol.claims import Halt, HaltReason, PartitionState, decide
from tests.model import pool, reading
from tests.model.exploring import ViolationError, explore
from tests.model.protocol import Bounds, Decide, Model, start

BOUNDS = Bounds(records=2, faults=2, moves=1, restores=1)
WITH_MOVES = Bounds(records=2, faults=1, moves=1, restores=0)
WITH_RESTORES = Bounds(records=3, faults=1, moves=0, restores=1)
WITH_JUMPS = Bounds(records=2, faults=0, moves=0, restores=0, jumps=2)
RETIRING = Bounds(records=3, faults=1, moves=0, restores=0, retires=True)
REASSIGNED = reading.Bounds(records=4, reassignments=2)
CUT_SHORT = reading.Bounds(records=4, reassignments=1, losses=1)


def test_every_state_keeps_the_promise_and_leads_to_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    report = explore(Model(BOUNDS), start(BOUNDS))
    with capsys.disabled():
        print(f"\nprotocol: {report.states} states, {report.steps} steps, depth {report.depth}, {BOUNDS}")
    assert report.states > 100_000


def trust_the_database(sight: PartitionState) -> Resume | Halt:
    found = decide(sight)
    return Resume(sight.cursor.emitted) if isinstance(found, Resume) else found


def trust_any_offset(sight: PartitionState) -> Resume | Halt:
    found = decide(sight)
    if isinstance(found, Resume) and sight.committed is not None:
        return Resume(min(sight.committed.offset, sight.cursor.next_offset))
    return found


def skip_when_expired(sight: PartitionState) -> Resume | Halt:
    return Resume(sight.cursor.next_offset) if sight.committed is None else decide(sight)


def overlook_a_restore(sight: PartitionState) -> Resume | Halt:
    found = decide(sight)
    if isinstance(found, Halt) and found.reason is HaltReason.RESTORED:
        return Resume(sight.cursor.next_offset)
    return found


def ignore_recoveries(sight: PartitionState) -> Resume | Halt:
    return decide(msgspec.structs.replace(sight, cursor=msgspec.structs.replace(sight.cursor, recovery=0)))


def never_resume(sight: PartitionState) -> Resume | Halt:
    return Halt(HaltReason.RESTORED, "no")


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
        explore(Model(bounds, wrong), start(bounds))


@pytest.mark.parametrize(("guarded", "fenced"), [(False, True), (True, False)])
def test_a_missing_defence_is_caught(*, guarded: bool, fenced: bool) -> None:
    with pytest.raises(ViolationError):
        explore(Model(WITH_MOVES, guarded=guarded, fenced=fenced), start(WITH_MOVES))


def test_a_jump_of_the_clock_keeps_nothing_from_being_published() -> None:
    with pytest.raises(ViolationError, match=r"no way to the end.*clock jumps"):
        explore(Model(WITH_JUMPS, stamps_anew=False), start(WITH_JUMPS))
    assert explore(Model(WITH_JUMPS), start(WITH_JUMPS)).states > 1_000


def test_a_retired_shipments_outputs_stay_until_they_are_published() -> None:
    with pytest.raises(ViolationError):
        explore(Model(RETIRING, spares_unpublished=False), start(RETIRING))
    assert explore(Model(RETIRING), start(RETIRING)).states > 1_000


def test_two_workers_that_share_a_position_pass_nothing_over() -> None:
    """Records that join up are not passed over; only where the leaving worker fetches none do they all come."""

    def explored(*, closed: bool, joined: bool) -> int:
        return explore(reading.Model(REASSIGNED, closed=closed, joined=joined), reading.start(REASSIGNED)).states

    with pytest.raises(ViolationError, match="passed over"):
        explored(closed=False, joined=False)
    with pytest.raises(ViolationError, match="no way to the end"):
        explored(closed=False, joined=True)
    assert explored(closed=True, joined=False) > 1_000
    assert explored(closed=True, joined=True) > 1_000


def test_a_living_worker_notices_that_the_log_has_lost_its_end() -> None:
    with pytest.raises(ViolationError, match="passed over"):
        explore(reading.Model(CUT_SHORT, looked_again=False), reading.start(CUT_SHORT))
    assert explore(reading.Model(CUT_SHORT), reading.start(CUT_SHORT)).states > 1_000


@pytest.mark.parametrize(("claims", "connections"), [(1, 1), (3, 2), (4, 2), (5, 5)])
def test_claims_end_stalled_sessions_over_no_connection_of_the_pool(claims: int, connections: int) -> None:
    first = pool.start(claims, connections)
    with pytest.raises(ViolationError, match="no way to the end"):
        explore(pool.Model(nested=True), first)
    explore(pool.Model(nested=False), first)
