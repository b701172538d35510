"""The shipments a worker keeps in memory. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from processor.core.state import Shipment

BARE_WEIGHT: Final = 2_000
"""Bytes that a shipment takes beside its observations."""


def weight(shipment: Shipment) -> int:
    """Return roughly how many bytes a shipment takes in memory."""
    return BARE_WEIGHT + shipment.weight


class Cache:
    """Shipments as they are stored, the newest of them, up to a weight in bytes.

    A shipment that is to be changed is taken out and put back when it is stored: so what fails leaves nothing behind.
    """

    def __init__(self, most: int) -> None:
        """Keep shipments of at most so many bytes. The newest is kept in any case: a hot one is not read every time."""
        self.weight = 0
        self._most = most
        self._shipments: dict[str, Shipment] = {}

    def __len__(self) -> int:
        """Return how many shipments there are."""
        return len(self._shipments)

    def take(self, names: Iterable[str]) -> dict[str, Shipment]:
        """Take out those of the shipments that are there."""
        taken = {}
        for name in names:
            shipment = self._shipments.pop(name, None)
            if shipment is not None:
                taken[name] = shipment
                self.weight -= weight(shipment)
        return taken

    def put(self, shipments: Mapping[str, Shipment]) -> dict[str, Shipment]:
        """Put shipments in, as the newest; the oldest go. Return those that went."""
        self.take(shipments)
        gone: dict[str, Shipment] = {}
        for name, shipment in shipments.items():
            self._shipments[name] = shipment
            self.weight += weight(shipment)
        while self.weight > self._most and len(self._shipments) > 1:
            gone |= self.take([next(iter(self._shipments))])
        return gone

    def clear(self) -> None:
        """Forget all."""
        self._shipments.clear()
        self.weight = 0
