"""Examples of every topic's value and headers, made by the real code from fixed histories.

`make schemas` writes a new, numbered file where today's code makes something else than the newest file holds. No
committed file is changed: what subscribers have seen must stay readable.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from processor.core.messages import messages
from processor.core.plan import Planner
from processor.core.reading import read
from runtime.asyncapi import Example
from schemas.couriers import COURIERS
from schemas.events import SCHEMA_VERSION
from schemas.export import FOLDER
from schemas.partitioning import partition_of
from schemas.records import AnyHeaders, Provenance, RawRecord
from schemas.shipment_ids import shipment_id
from schemas.topics import Topic
from tests.unit.schemas.variants import variants

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / FOLDER / "examples"
SAMPLES = {
    f"{courier}/{path.relative_to(folder).as_posix()}": path
    for courier in sorted(COURIERS)
    for folder in [ROOT / "schemas" / "couriers" / courier / "samples"]
    for path in sorted(folder.rglob("*.json"))
}
"""The couriers' samples by name: `dash/express/failed.json` is in Dash's folder."""

PARTITIONS = 12
START = datetime(2024, 12, 27, 14, 18, 17, 128000, UTC)


def examples() -> dict[str, bytes]:
    """Return the newest values and headers of every topic, by the example's name without its number."""
    made: dict[str, bytes] = {}
    records = list(_records())
    now = START + timedelta(hours=2)
    readings = [read(record, lambda courier, source: ZoneInfo("Asia/Jakarta"), PARTITIONS) for record in records]
    for record in records:
        made[Topic.RAW] = record.value or b""
        made[f"{Topic.RAW}.headers"] = _as_json(record.headers)
    for output in Planner({}, Topic.RAW, now).add_all(readings).outputs:
        for message in messages(output):
            made[message.topic] = message.value or b""
            kind = message.topic if message.topic is Topic.DEAD_LETTERS else "shipment"
            made[f"{kind}.headers"] = _as_json(message.headers)
    named = {f"{name}.v{SCHEMA_VERSION}": value for name, value in made.items()}
    named |= {name: message.value or b"" for name, message in variants().items()}
    return {name: msgspec.json.format(value, indent=2) + b"\n" for name, value in named.items()}


def newest() -> dict[str, tuple[int, bytes]]:
    """Return the last committed example of each name, with its number."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(EXAMPLES.glob("*.json")):
        name, _, number = path.stem.rpartition(".")
        found[name] = (int(number), path.read_bytes())
    return found


def shown() -> dict[Topic, list[Example]]:
    """Return the examples of the AsyncAPI document: of each type, of each kind, and a state."""
    found: dict[Topic, dict[str, Example]] = {Topic.EVENTS: {}, Topic.STATE: {}, Topic.ANOMALIES: {}}
    for variant, message in variants().items():
        value, headers = msgspec.json.decode(message.value or b""), json.loads(_as_json(message.headers))
        told = value.get("type") or value.get("kind") or variant
        found[message.topic].setdefault(told, Example(told, headers, value))
    return {topic: list(examples.values()) for topic, examples in found.items()}


def missing() -> dict[str, bytes]:
    """Return the examples that are to be committed, because the newest ones say something else, by path."""
    held = newest()
    return {
        f"{FOLDER}/examples/{name}.{held.get(name, (0, b''))[0] + 1:03d}.json": text
        for name, text in examples().items()
        if text != held.get(name, (0, b""))[1]
    }


def _bodies() -> Iterator[tuple[str, Any]]:
    """A refused move and a dead letter first, then a parcel that fails and is recovered."""
    order = {"order_id": "OID-8793949106", "awb": "DEVEL-000000004"}
    yield "kiriminaja", {"method": "finished_packages", "data": [{**order, "finished_at": "2024-12-27 20:00:00"}]}
    yield (
        "kiriminaja",
        {
            "method": "canceled_packages",
            "data": [{**order, "canceled_at": "2024-12-27 20:30:00", "reason": "3pl rejection"}],
        },
    )
    yield "kiriminaja", {"method": "shipped_packages", "data": [{"shipped_at": "2024-12-27 18:00:00"}]}
    times = [START + timedelta(minutes=9 * step) for step in range(6)]
    clock = [time.isoformat(timespec="milliseconds").replace("+00:00", "Z") for time in times]
    picked_up = clock[3]
    yield "dash", _dash("preparing", updatedAt=clock[0])
    yield "dash", _dash("verified", updatedAt=clock[1])
    yield "dash", _dash("pending_delivery", updatedAt=clock[2])
    yield "dash", _dash("in_delivery", pickupAt=picked_up)
    yield "dash", _dash("failed", pickupAt=picked_up, failedAt=clock[4])
    yield "dash", _dash("pending_delivery", failedCount=1, updatedAt=clock[5])


def _dash(sample: str, **changes: Any) -> Any:
    body = json.loads(SAMPLES[f"dash/logistic/{sample}.json"].read_bytes())
    return {**body, "createdAt": "2024-12-27T14:18:17.128Z", **changes}


def _records() -> Iterator[RawRecord]:
    for number, (courier, body) in enumerate(_bodies()):
        received_at = START + timedelta(minutes=9 * number, microseconds=120331)
        (piece,) = COURIERS[courier].split(msgspec.json.encode(body))
        key = shipment_id(courier, None, piece.reference).encode() if piece.reference else b"the body's digest"
        provenance = Provenance(
            courier=courier,
            received_at=received_at,
            webhook_id=f"0193ffe0-0000-7000-8000-{number:012d}",
            content_type="application/json",
        )
        yield RawRecord(
            partition=partition_of(key, PARTITIONS),
            offset=1836 + number,
            key=key,
            value=piece.value,
            headers=tuple(provenance.headers()),
            timestamp_ms=int(received_at.timestamp() * 1000),
        )


def _as_json(headers: AnyHeaders) -> bytes:
    return msgspec.json.encode({name: (value or b"").decode() for name, value in headers})
