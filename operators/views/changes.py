"""What changed between two versions of a value, field by field. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

OF_THE_EVENT: Final = frozenset({"id", "version", "raw", "received_at", "recorded_at", "previous_status"})
"""Fields that differ between any two events."""


class FieldChange(msgspec.Struct, frozen=True):
    """A field, `personal.driver.name` being one, before and after; null where it was not, or is no more."""

    field: str
    before: Any
    after: Any


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[FieldChange]:
    """Return the fields in which an event differs from the one before it. Nothing is told of the first."""
    return [] if before is None else list(_differences(before, after, ""))


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if old == new or (not path and name in OF_THE_EVENT):
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{path}{name}.")
        else:
            yield FieldChange(f"{path}{name}", old, new)
