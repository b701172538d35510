"""What of a value is personal data, and how it is hidden. Pure."""

from collections.abc import Mapping
from typing import Any

from processor.core.view import NOTHING_PERSONAL_SHOWN
from runtime.values import MASK


def masked(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event, a state or a shipment's row with personal data hidden, but not that there is some."""
    return {name: _hidden(each) if name in NOTHING_PERSONAL_SHOWN else each for name, each in value.items()}


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
