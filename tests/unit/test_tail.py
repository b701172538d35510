"""A record in a line, and what of it is hidden."""

from typing import Any

import msgspec

from cli.commands.tail import line
from operators.shared.personal import masked
from operators.views.tail import Choice, ShownReading, ShownRecord
from runtime.values import MASK
from schemas.topics import Topic
from tests.unit.schemas.examples import EXAMPLES

TIME = "2026-11-23T08:00:00.000000Z"


def shown(
    topic: Topic, value: Any, headers: dict[str, str] | None = None, reading: ShownReading | None = None
) -> ShownRecord:
    return ShownRecord(topic, 3, 17, TIME, "dash:DE-1", headers or {}, 120, value, reading)


def event(**changed: Any) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode((EXAMPLES / "shipment.events.v1.001.json").read_bytes())
    return value | changed


def test_an_event_is_one_line() -> None:
    value = event(type="shipment.status_changed", previous_status="FAILED", status="PENDING_DELIVERY")
    text = line(shown(Topic.EVENTS, value), Choice(topic=Topic.EVENTS))
    for told in (TIME, "dash:DE-1", "status_changed", "FAILED → PENDING_DELIVERY", f"v{value['version']}", "at 3:17"):
        assert told in text


def test_a_tombstone_is_said() -> None:
    assert "forgotten" in line(shown(Topic.STATE, None), Choice(topic=Topic.STATE))


def test_everything_personal_is_masked_and_nothing_else() -> None:
    personal = {
        "driver": {"name": "Budi", "phone": None},
        "signed_by": "Ani",
        "tracking_url": None,
        "proofs": [{"type": "POD", "url": "https://x", "occurred_at": TIME}],
    }
    whole = event(personal=personal, description="handed to Ani")
    hidden = masked(whole)
    assert hidden["personal"] == {
        "driver": {"name": MASK, "phone": None},
        "signed_by": MASK,
        "tracking_url": None,
        "proofs": [{"type": MASK, "url": MASK, "occurred_at": MASK}],
    }
    assert hidden["description"] == MASK
    assert {name: value for name, value in hidden.items() if name not in {"personal", "description"}} == {
        name: value for name, value in whole.items() if name not in {"personal", "description"}
    }
