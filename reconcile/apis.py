"""Which couriers can be asked, and what each needs for it."""

from collections.abc import Callable
from typing import Final, Protocol

from reconcile.dash import DashApi
from reconcile.kiriminaja import KiriminAjaApi
from reconcile.line import Line
from reconcile.outcomes import Failed, Outcome, Refused, Throttled
from runtime.settings import PREFIX, Settings


class Api(Protocol):
    """How one courier is asked."""

    async def prepare(self) -> Throttled | Failed | Refused | None:
        """Do what must be done before an ask. Returns what stands in the way. Raises `NotNowError`."""
        ...

    async def ask(self, reference: str) -> Outcome:
        """Ask about the shipment of this reference, once its turn has come. Raises `NotNowError`."""
        ...


APIS: Final[dict[str, tuple[Callable[[Settings, Line], Api], tuple[str, ...]]]] = {
    "kiriminaja": (KiriminAjaApi, ("kiriminaja_api_url", "kiriminaja_api_key")),
    "dash": (DashApi, ("dash_api_url", "dash_client_key", "dash_client_secret")),
}
"""By courier: how it is asked, and the settings that takes."""


def lacking(settings: Settings, courier: str) -> tuple[str, ...]:
    """Name the settings without which a courier is not asked."""
    return tuple(f"{PREFIX}{name.upper()}" for name in APIS[courier][1] if getattr(settings, name) is None)


def couriers_asked(settings: Settings) -> tuple[str, ...]:
    """Name the couriers that can be asked."""
    return tuple(courier for courier in APIS if not lacking(settings, courier))
