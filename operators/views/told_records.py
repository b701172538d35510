"""What a record of a topic tells, in words: for a line, or for a row. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from operators.views.tail import BODIES, ShownReading, ShownRecord
from schemas.topics import Topic


def told(topic: Topic, shown: ShownRecord) -> list[str]:
    """Say what a record tells."""
    value = shown.value if isinstance(shown.value, dict) else {}
    if topic in BODIES:
        return _body(shown)
    if shown.value is None:
        return ["forgotten"]
    try:
        return (_anomaly if topic is Topic.ANOMALIES else _event)(value)
    except (LookupError, TypeError, AttributeError):
        return ["(unknown)"]  # others may have written anything


def _event(value: Mapping[str, Any]) -> list[str]:
    before, status = value.get("previous_status"), value["status"]
    parts = [
        value.get("type", "state").removeprefix("shipment."),
        status if before in {None, status} else f"{before} → {status}",
        f"v{value['version']}",
    ]
    if value.get("transition"):
        over = f" over {', '.join(value['skipped'])}" if value["skipped"] else ""
        parts.append(f"{value['transition']}{over}")
    if observed := value.get("observed"):
        parts.append(f"late: {observed['courier_status']} of {observed['occurred_at']}")
    return [*parts, f"raw {value['raw']['partition']}:{value['raw']['offset']}"]


def _anomaly(value: Mapping[str, Any]) -> list[str]:
    at = value["raw"]
    stays = value["status"] or "no shipment"
    return [value["kind"], f"{value['courier_status']} at {stays}", f"raw {at['partition']}:{at['offset']}"]


def _body(shown: ShownRecord) -> list[str]:
    assert shown.reading is not None
    kind = shown.headers.get("dlq-reason") or shown.headers.get("source", "push")
    parts = [
        shown.headers.get("courier", "(no courier)"),
        kind,
        f"{shown.size} bytes",
        f"reads {_reading(shown.reading)}",
    ]
    if of := shown.headers.get("replay-of"):
        parts.append(f"replay of {of}")
    if shown.value is not None:
        parts.append(msgspec.json.encode(shown.value).decode())
    return parts


def _reading(reading: ShownReading) -> str:
    if reading.dead_letter:
        return f"as {reading.dead_letter}: {reading.detail}"
    return f"{reading.word} → {reading.status or 'no status'}"
