"""The couriers Waybill knows. A new one is a folder here and a line in the registry: docs/adding-a-courier.md."""

from schemas.couriers.base import Courier
from schemas.couriers.dash import Dash
from schemas.couriers.kiriminaja import KiriminAja

COURIERS: dict[str, Courier] = {
    courier.name: courier
    for courier in (
        KiriminAja(),
        Dash(),
    )
}
"""The registry, by the name that stands in `/webhooks/<name>` and in the raw records' `courier` header."""

__all__ = ["COURIERS", "Courier"]
