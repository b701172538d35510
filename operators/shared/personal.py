"""What of a value is personal data, and how it is hidden. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from runtime.values import MASK

_PERSONAL: Final = frozenset({"personal", "description"})
"""The fields of events and states that may tell of persons: couriers write names into the scan text."""


def masked(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event, a state or a shipment's row with personal data hidden, but not that there is some."""
    return {name: _hidden(each) if name in _PERSONAL else each for name, each in value.items()}


def _hidden(value: Any) -> Any:
    match value:
        case None:
            return None
        case dict():
            return {name: _hidden(each) for name, each in value.items()}
        case list():
            return [_hidden(each) for each in value]
        case _:
            return MASK
