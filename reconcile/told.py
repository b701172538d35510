"""What the observations recorded in a range tell about webhooks, added up one by one. Pure."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from runtime.metrics import LATENESS_QUANTILES
from schemas.events import Event
from schemas.observation import Observation
from schemas.shipment_ids import parse_shipment_id
from schemas.vocabulary import RANK, Source, Status


class StatusCount(msgspec.Struct, frozen=True):
    """Shipments seen in a status. `only_by_pull`: for so many of them no webhook told it."""

    courier: str
    status: str
    shipments: int
    only_by_pull: int


class Lateness(msgspec.Struct, frozen=True):
    """How many seconds after the event webhooks came: half, 90 and 99 of a hundred within so many."""

    courier: str
    webhooks: int
    p50: float
    p90: float
    p99: float


class Healed(msgspec.Struct, frozen=True):
    """Shipments whose status an answer has moved."""

    courier: str
    shipments: int


class Told:
    """What was told, and by whom: some 200 bytes for each shipment of the range, 8 for each webhook."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: defaultdict[str, int] = defaultdict(int)
        """The statuses that a shipment was seen in, a bit for each."""
        self._pushed: defaultdict[str, int] = defaultdict(int)
        """Those that a webhook told."""
        self._late: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self._healed: defaultdict[str, set[str]] = defaultdict(set)

    def add(self, said: Observation, *, kept: bool, event: Event | None) -> None:
        """Add an observation of the range, and the event that it gave."""
        if kept and said.status is not None and said.source in {Source.PUSH, Source.PULL}:
            self._seen[said.shipment_id] |= 1 << RANK[said.status]
            self.add_webhook(said)
        if kept and said.source is Source.PUSH and said.times:
            happened = next(iter(said.times.values())).at  # the word's own time stands first
            self._late[said.courier].append((said.received_at - happened).total_seconds())
        if event is not None and said.source is Source.PULL and event.status is not event.previous_status:
            self._healed[said.courier].add(said.shipment_id)

    def add_webhook(self, said: Observation) -> None:
        """Note what a webhook told, whenever it came."""
        if said.source is Source.PUSH and said.status is not None:
            self._pushed[said.shipment_id] |= 1 << RANK[said.status]

    def only_pulled(self) -> Iterator[str]:
        """Give the shipments of which no webhook is known that told a status they were seen in."""
        return (name for name, seen in self._seen.items() if seen & ~self._pushed.get(name, 0))

    def statuses(self) -> tuple[StatusCount, ...]:
        """Return how many shipments were seen in each status."""
        shipments, only_by_pull = Counter[tuple[str, Status]](), Counter[tuple[str, Status]]()
        for name, seen in self._seen.items():
            courier = parse_shipment_id(name).courier
            for status in Status:
                if seen >> RANK[status] & 1:
                    shipments[courier, status] += 1
                    only_by_pull[courier, status] += not self._pushed.get(name, 0) >> RANK[status] & 1
        return tuple(
            StatusCount(courier, status, count, only_by_pull[courier, status])
            for (courier, status), count in sorted(shipments.items(), key=lambda item: (item[0][0], str(item[0][1])))
        )

    def lateness(self) -> tuple[Lateness, ...]:
        """Return how late each courier's webhooks came."""
        return tuple(
            Lateness(courier, len(late), *(round(quantile(sorted_, share), 3) for share in LATENESS_QUANTILES))
            for courier, late in sorted(self._late.items())
            for sorted_ in [sorted(late)]
        )

    def healed(self) -> tuple[Healed, ...]:
        """Return how many shipments of each courier an answer has moved."""
        return tuple(Healed(courier, len(names)) for courier, names in sorted(self._healed.items()))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of sorted values lies, in between two where it falls between them."""
    place = share * (len(values) - 1)
    below, *above = islice(values, int(place), int(place) + 2)
    return below + (place - int(place)) * (above[0] - below) if above else below
