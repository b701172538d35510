"""A service's lifecycle: which status may follow which. Each courier's folder has its tables."""

from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from schemas.vocabulary import Service, Status

ALWAYS_FINAL: Final = frozenset(
    {
        Status.DELIVERED,
        Status.RETURNED,
        Status.CANCELLED,
        Status.SEIZED,
        Status.CLAIM_SETTLED,
        Status.DISPOSED,
    }
)
"""Statuses that end a shipment's life whatever its service."""

NO_THROUGH_ROAD: Final = frozenset({Status.LOST, Status.DAMAGED, Status.NO_DRIVER})
"""Statuses that a jump passes through only where the courier's word says so. Through a final one it never passes."""

WAY_BACK: Final = frozenset({Status.RETURNING, Status.RETURNED, Status.DISPOSED})
"""Where alone a jump leads through a final FAILED: the parcel comes back, and the failure's webhook was lost."""

SCANS: Final = frozenset({Status.IN_TRANSIT, Status.PENDING_DELIVERY, Status.IN_DELIVERY, Status.FAILED})
"""What a parcel on its way back may be scanned as without turning round again."""


class Lifecycle:
    """The transition table of one service of one courier, and the paths through it.

    `edges` maps each status to those that may follow it at once, in the order that settles equal paths.
    """

    def __init__(
        self,
        courier: str,
        service: Service,
        edges: Mapping[Status, tuple[Status, ...]],
        *,
        also_final: frozenset[Status] = frozenset(),
        reassignments: frozenset[tuple[Status, Status]] = frozenset(),
        count_moves: bool = False,
        scans_while_returning: bool = False,
        counts_entries: bool = False,
    ) -> None:
        """Describe a service.

        `also_final`: statuses final here beside `ALWAYS_FINAL`. `reassignments`: the edges taken when another
        driver takes over. `count_moves`: a raised failure count proves a passage through FAILED.
        `scans_while_returning`: a scan leaves RETURNING as it is. `counts_entries`: failures are counted by the
        fold, not by the courier.
        """
        self.courier = courier
        self.service = service
        self.edges = edges
        self.also_final = also_final
        self.finals = ALWAYS_FINAL | also_final
        """Statuses behind which no further one is expected."""
        self.reassignments = reassignments
        self.count_moves = count_moves
        self.scans_while_returning = scans_while_returning
        self.counts_entries = counts_entries
        self._paths: dict[tuple[Status, Status, Status | None, bool], tuple[Status, ...] | None] = {}

    @cached_property
    def statuses(self) -> frozenset[Status]:
        """The statuses this service has."""
        return frozenset(self.edges) | {after for targets in self.edges.values() for after in targets}

    def is_final(self, status: Status) -> bool:
        """Whether no further status is expected."""
        return status in self.finals

    def path(
        self, start: Status, end: Status, *, last: Status | None = None, via_failed: bool = False
    ) -> tuple[Status, ...] | None:
        """Return the statuses between two, on the shortest legal way; of equal ways the table's first.

        CANCELLED is reached, and a final status left, by an edge of its own only. `last` opens one status otherwise
        closed to jumps. `via_failed`: only a way that enters FAILED counts. None: there is no way. Every way has at
        least one step.
        """
        key = (start, end, last, via_failed)
        if key not in self._paths:
            self._paths[key] = self._through_failed(start, end) if via_failed else self._shortest(start, end, last)
        return self._paths[key]

    def _through_failed(self, start: Status, end: Status) -> tuple[Status, ...] | None:
        to_failed = self._shortest(start, Status.FAILED, None)
        if to_failed is None or end is Status.FAILED:
            return to_failed
        onward = self._shortest(Status.FAILED, end, None)
        return None if onward is None else (*to_failed, Status.FAILED, *onward)

    def _shortest(self, start: Status, end: Status, last: Status | None) -> tuple[Status, ...] | None:
        if end in self.edges.get(start, ()):
            return ()
        if end is Status.CANCELLED or self.is_final(start):
            return None
        closed = self._closed_on_the_way_to(end) - {last}
        ways: deque[tuple[Status, ...]] = deque([(start,)])
        seen = {start} - {end}
        while ways:
            way = ways.popleft()
            for after in self.edges.get(way[-1], ()):
                if after is end:
                    return way[1:]
                if after not in seen and after not in closed:
                    seen.add(after)
                    ways.append((*way, after))
        return None

    def _closed_on_the_way_to(self, end: Status) -> frozenset[Status]:
        """Return the statuses that no jump to this one passes through."""
        final = ALWAYS_FINAL if end in WAY_BACK else ALWAYS_FINAL | self.also_final
        return NO_THROUGH_ROAD | final
