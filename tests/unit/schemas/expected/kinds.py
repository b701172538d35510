"""What a table of expectations holds."""

from collections.abc import Sequence

Said = tuple[str, str, str, tuple[str, str], int, tuple[str, ...], str]
"""Shipment, word, status, (occurred_at, its source), failure count, services proven, service by itself."""

Pictures = Sequence[tuple[str, str, str | None]]
"""Kind, link, time taken."""
