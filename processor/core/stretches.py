"""A stretch of a timeline: entries in a row, judged from what stands before them and added up. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from processor.core.fold import Basis, Entry, Snapshot, Verdict, advance, bare, basis_of, joined, merge
from schemas.couriers import Courier
from schemas.observation import NO_DETAILS, Details
from schemas.vocabulary import Service

RUNS: Final = 4
"""From how many bases a stretch remembers its judgement: late entries may make it go to and fro between some."""


class Sum(msgspec.Struct, frozen=True, gc=False):
    """What the entries up to some place come to. `background`: the details known before any status was."""

    snapshot: Snapshot | None = None
    background: Details = NO_DETAILS


NOTHING: Final = Sum()


class Run(msgspec.Struct, gc=False):
    """A stretch as judged from one basis: the verdicts, and what its entries add.

    `last` is the place of the last entry that counts, -1 if none does. `moved`: the status moved, if only to come back.
    """

    basis: Basis | None
    now: Snapshot | None
    background: Details = NO_DETAILS
    verdicts: list[Verdict | None] = []
    last: int = -1
    moved: bool = False


class Stretch:
    """Entries in a row, what stands before them, and how they are judged from there; None: yet to be judged.

    `runs` are how they were judged from other bases, `refused` counts those that an anomaly refused at first.
    """

    __slots__ = ("before", "entries", "refused", "run", "runs")

    def __init__(self, entries: list[Entry]) -> None:
        """Begin with entries that are not judged yet."""
        self.entries = entries
        self.before = NOTHING
        self.run: Run | None = None
        self.runs: dict[Basis | None, Run] = {}
        self.refused = sum([entry.anomaly is not None for entry in entries])

    def turn_to(self, run: Run) -> None:
        """Be judged this way from now on, and remember the way before."""
        if self.run is not None:
            if len(self.runs) >= RUNS:
                del self.runs[next(iter(self.runs))]
            self.runs[self.run.basis] = self.run
        self.run = run

    @property
    def judged(self) -> Iterator[tuple[Entry, Verdict | None]]:
        """The entries with their verdicts."""
        assert self.run is not None
        return zip(self.entries, self.run.verdicts, strict=True)


class Rules:
    """How the entries of one shipment are judged and added up: by its courier's table for its service."""

    __slots__ = ("_courier", "_lifecycle", "_service")

    def __init__(self, courier: Courier, service: Service) -> None:
        """Keep the table."""
        self._courier = courier
        self._service = service
        self._lifecycle = courier.lifecycles[service]

    def basis(self, before: Sum) -> Basis | None:
        """Return what the judgement of the entries behind a sum depends on; None where nothing has a status."""
        return None if before.snapshot is None else basis_of(self._lifecycle, before.snapshot)

    def begun(self, basis: Basis | None) -> Run:
        """Return a run without entries."""
        return Run(basis=basis, now=None if basis is None else bare(self._service, basis))

    def judged(self, entries: Iterable[Entry], basis: Basis | None) -> Run:
        """Return entries in a row as judged from a basis."""
        run = self.begun(basis)
        for entry in entries:
            self.judge(run, entry)
        return run

    def judge(self, run: Run, entry: Entry) -> bool:
        """Judge one entry more, behind those of a run; return whether it counts."""
        observation = entry.observation
        if observation.status is None:
            run.background = merge(run.background, observation.details, moved=False)
            run.verdicts.append(None)
            return False
        occurred = self._courier.occurred(observation, self._service)
        run.now, verdict = advance(self._lifecycle, run.now, observation, occurred, run.background, forced=entry.forced)
        if verdict.accepted:
            run.last = len(run.verdicts)
            run.moved = run.moved or verdict.moved
        run.verdicts.append(verdict)
        return verdict.accepted

    def added(self, stretch: Stretch) -> Sum:
        """Return what all entries up to a stretch's end come to."""
        before, run = stretch.before, stretch.run
        assert run is not None
        if run.now is None:
            return Sum(background=merge(before.background, run.background, moved=False))
        if run.last < 0:
            return before
        if before.snapshot is not None:
            return Sum(joined(self._lifecycle, before.snapshot, run.now, moved=run.moved))
        if before.background is NO_DETAILS or before.background == NO_DETAILS:
            return Sum(run.now)
        return Sum(msgspec.structs.replace(run.now, details=merge(before.background, run.now.details, moved=True)))
