"""The fold: a shipment's distinct observations, in position order, become its snapshot. Pure.

The first observation is accepted whatever it says. Each later one is judged from the status before it, by the
transition table of the shipment's service. A refused one is kept, gives no details and may be accepted later, when an
earlier observation arrives. `processor/core/timeline.py` keeps the fold of a growing shipment up to date.
"""

from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final

import msgspec

from schemas.couriers import Courier
from schemas.couriers.base import Position
from schemas.lifecycle import ALWAYS_FINAL, SCANS, Lifecycle
from schemas.observation import NO_DETAILS, Details, Observation, Stamp
from schemas.vocabulary import Service, Source, Status, TimeSource, Transition

_OLDEST: Final = datetime.min.replace(tzinfo=UTC)
_NO_TIME: Final = Stamp(_OLDEST, TimeSource.RECEIVED)
_PULL: Final = Source.PULL
_UNDER_WAY: Final = frozenset({Status.PENDING_PICKUP, Status.PENDING_DELIVERY, Status.IN_DELIVERY, Status.IN_TRANSIT})
_SETBACKS: Final = frozenset({Status.FAILED, Status.LOST})


MOVES: Final = 4_096
"""Moves whose names are kept: more than all lifecycles have between their statuses."""


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """What a shipment's observations add up to."""

    service: Service
    status: Status
    courier_status: str
    failed_count: int
    occurred: Stamp
    details: Details


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """How the fold judged one observation.

    `before` is the status it was judged from, `passed` what a move jumped over. `moved` is false for a repeat.
    `forced`: only an operator's word makes it count.
    """

    accepted: bool
    before: Status | None
    moved: bool = False
    passed: tuple[Status, ...] = ()
    forced: bool = False


_FIRST: Final = Verdict(accepted=True, before=None, moved=True)

Basis = tuple[Status, int]
"""All of a snapshot that the judgement of what follows it depends on: its status and its count of failures."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An observation in its place. One without a status has no verdict.

    `anomaly` is the id of the anomaly that refused it when it arrived, if one did. `forced`: an operator wants it to
    count whatever the table says.
    """

    key: Position
    observation: Observation
    verdict: Verdict | None = None
    anomaly: str | None = None
    forced: bool = False

    @property
    def accepted(self) -> bool:
        """Whether it counts for the status."""
        return self.verdict is not None and self.verdict.accepted


def sort_key(courier: Courier, service: Service, observation: Observation, occurred_at: datetime) -> Position:
    """Place an observation, which `occurred_at`, among its shipment's; words without a status stand before all others.

    Equal positions break on the body's `updatedAt`, then pulled before pushed, the time received, the place in the
    body, the digest: the most recent block comes last and so wins.
    """
    if observation.status is None:
        position: Position = (0, occurred_at)
    else:
        position = (1, *courier.position(observation, service, occurred_at))
    return (
        position,
        observation.updated_at or _OLDEST,
        observation.source is not _PULL,
        observation.received_at,
        observation.item,
        observation.reading_digest,
    )


def place_of(courier: Courier, service: Service, observation: Observation) -> Position:
    """Return the place of an observation among its shipment's."""
    return sort_key(courier, service, observation, courier.occurred(observation, service).at)


def advance(
    lifecycle: Lifecycle,
    snapshot: Snapshot | None,
    observation: Observation,
    occurred: Stamp,
    background: Details = NO_DETAILS,
    *,
    forced: bool = False,
) -> tuple[Snapshot | None, Verdict]:
    """Take one more observation, behind all others. `background` holds details known before any status was."""
    verdict = judge(lifecycle, snapshot, observation)
    if forced and snapshot is not None:
        verdict = _forced(verdict, snapshot, observation)
    if not verdict.accepted:
        return snapshot, verdict
    status, moved = observation.status, verdict.moved
    assert status is not None
    return Snapshot(
        lifecycle.service,
        status if moved or snapshot is None else snapshot.status,
        observation.word,
        _failed_count(lifecycle, snapshot, observation, verdict),
        occurred,
        merge(snapshot.details if snapshot else background, observation.details, moved=moved),
    ), verdict


def basis_of(lifecycle: Lifecycle, snapshot: Snapshot) -> Basis:
    """Return what judging depends on. Failures that the fold counts itself play no part in it."""
    return snapshot.status, 0 if lifecycle.counts_entries else snapshot.failed_count


def bare(service: Service, basis: Basis) -> Snapshot:
    """Return a snapshot that has this basis and nothing else: what follows it in the fold is what follows adds."""
    status, count = basis
    return Snapshot(
        service=service,
        status=status,
        courier_status="",
        failed_count=count,
        occurred=_NO_TIME,
        details=NO_DETAILS,
    )


def joined(lifecycle: Lifecycle, before: Snapshot, added: Snapshot, *, moved: bool) -> Snapshot:
    """Return a snapshot with what entries behind it added, folded from its bare basis.

    `moved`: the status moved on the way, if only to come back.
    """
    return Snapshot(
        service=added.service,
        status=added.status,
        courier_status=added.courier_status,
        failed_count=added.failed_count + (before.failed_count if lifecycle.counts_entries else 0),
        occurred=added.occurred,
        details=merge(before.details, added.details, moved=moved),
    )


def judge(lifecycle: Lifecycle, snapshot: Snapshot | None, observation: Observation) -> Verdict:
    """Decide whether an observation may follow, and by which way."""
    status = observation.status
    assert status is not None
    if snapshot is None:
        return _FIRST
    before = snapshot.status
    if lifecycle.count_moves and observation.count > snapshot.failed_count and before in lifecycle.statuses:
        passed = lifecycle.path(before, status, via_failed=True)
        if passed is not None:
            return Verdict(accepted=True, before=before, moved=True, passed=passed)
        return Verdict(accepted=status is before, before=before)
    if status is before or (lifecycle.scans_while_returning and before is Status.RETURNING and status in SCANS):
        return Verdict(accepted=True, before=before)
    if before not in lifecycle.statuses:
        legal = status in lifecycle.statuses and before not in ALWAYS_FINAL
        return Verdict(accepted=legal, before=before, moved=legal)
    passed = lifecycle.path(before, status, last=observation.jumps_through)
    return Verdict(False, before) if passed is None else Verdict(True, before, True, passed)


def _forced(verdict: Verdict, snapshot: Snapshot, observation: Observation) -> Verdict:
    """Let an observation count that the table refuses, and a decision move what a scan would not."""
    moves = observation.status is not snapshot.status
    if verdict.accepted and (verdict.moved or not moves or observation.decision is None):
        return verdict
    return Verdict(accepted=True, before=snapshot.status, moved=moves, forced=True)


@lru_cache(maxsize=MOVES)
def transition_of(lifecycle: Lifecycle, verdict: Verdict, status: Status, *, from_final: bool) -> Transition:
    """Name the move that led to a status. `from_final`: the status before was shown as final."""
    if verdict.before is None:
        return Transition.INITIAL
    if from_final:
        return Transition.REOPENED
    way = (verdict.before, *verdict.passed)
    if status in _UNDER_WAY and not _SETBACKS.isdisjoint(way):
        return Transition.RECOVERY
    if not lifecycle.reassignments.isdisjoint(pairwise((*way, status))):
        return Transition.REASSIGNMENT
    return Transition.RETURN if status is Status.RETURNING else Transition.FORWARD


def _failed_count(lifecycle: Lifecycle, snapshot: Snapshot | None, observation: Observation, verdict: Verdict) -> int:
    if observation.decision is not None and snapshot is not None:
        return snapshot.failed_count + (verdict.moved and observation.status is Status.FAILED)
    if not lifecycle.counts_entries:
        return observation.count
    entered = (observation.status, *verdict.passed).count(Status.FAILED) if verdict.moved else 0
    return entered + (snapshot.failed_count if snapshot else 0)


def merge(old: Details, new: Details, *, moved: bool) -> Details:
    """Take the newer value of each field that is given. A move, the first status too, empties what belongs to one."""
    if new is NO_DETAILS and not moved:
        return old
    return Details(  # by position, several times faster
        new.order_id or old.order_id,
        new.awb or old.awb,
        new.carrier or old.carrier,
        new.charges or old.charges,
        new.driver or old.driver,
        new.signed_by or old.signed_by,
        new.tracking_url or old.tracking_url,
        new.reason or (None if moved else old.reason),
        new.description or (None if moved else old.description),
        new.proofs or (() if moved else old.proofs),
    )
