"""Stories of real bodies, played through the pure core: split or pulled, read, planned. No broker, no database.

A case is a file in `cases/`. `steps` happen in their order, received a second apart: webhooks (`path`, `body`), answers
to a pull (`pull`, `answer`). `expect` holds each shipment's row and snapshot with its events as "type status transition
over skipped,…", the anomalies, the reasons of the dead letters.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from processor.core.messages import messages
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from schemas.couriers import COURIERS
from schemas.couriers.base import WebhookItem
from schemas.couriers.pulling import news
from schemas.records import Provenance, RawRecord
from schemas.topics import Topic
from schemas.vocabulary import Outcome, Source
from tests.unit.schemas.reading import answered

CASES: Final = Path(__file__).parent / "cases"
BEGAN: Final = datetime(2026, 11, 27, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)

Json = dict[str, Any]


def load_cases() -> dict[str, Json]:
    """Read the cases, by their files' names."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(CASES.iterdir())}


def body_of(step: Json) -> bytes:
    """Return a webhook's bytes."""
    return base64.b64decode(step["body_b64"]) if "body_b64" in step else json.dumps(step["body"]).encode()


class Played:
    """What the pure core makes of webhooks and answers, one after the other."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self.shipments: dict[str, Shipment] = {}
        self.events: dict[str, list[Json]] = {}
        self.states: dict[str, Json] = {}
        self.anomalies: list[Json] = []
        self.dead: list[str] = []
        self.outcomes: Counter[Outcome] = Counter()
        self._offset = 0

    def step(self, step: Json, received_at: datetime) -> list[str]:
        """Take one step of a case. Returns what it led to, in a word for each record."""
        if "pull" in step:
            return self.pulled(step["pull"], step["answer"], received_at)
        return self.pushed(step["path"].partition("?")[0].rpartition("/")[2], body_of(step), received_at)

    def pushed(self, courier: str, body: bytes, received_at: datetime) -> list[str]:
        """Take a webhook, as the door and the processor do."""
        pieces = COURIERS[courier].split(body)
        return [
            self._take(piece, Provenance(courier=courier, received_at=received_at, item=item, items=len(pieces)))
            for item, piece in enumerate(pieces, start=1)
        ]

    def pulled(self, shipment: str, answer: Json, received_at: datetime) -> list[str]:
        """Take a courier's answer about a shipment, as the puller and the processor do."""
        name, _, reference = shipment.partition(":")
        courier = COURIERS[name]
        found = answered(name, json.dumps(answer).encode(), reference)
        assert isinstance(found, list), found
        asked = Provenance(courier=name, received_at=received_at, source=Source.PULL)
        known = self.shipments[shipment].records.values() if shipment in self.shipments else ()
        fresh = news(courier, found, list(known), asked, zone_of(name, Source.PULL))
        return [self._take(piece, provenance) for piece, provenance in fresh]

    def _take(self, piece: WebhookItem, provenance: Provenance) -> str:
        record = RawRecord(
            partition=0,
            offset=self._offset,
            key=piece.reference.encode() if piece.reference else None,
            value=piece.value,
            headers=tuple(provenance.headers()),
            timestamp_ms=int(provenance.received_at.timestamp() * 1000),
        )
        self._offset += 1
        made = Planner(self.shipments, "courier.webhooks.raw", provenance.received_at).add_all(
            [read(record, zone_of, 1)]
        )
        self.shipments |= made.shipments
        self.dead += [str(each.error.reason) for each in made.dead_letters]
        self.outcomes.update(row.outcome for row in made.observations)
        for output in made.outputs:
            for message in messages(output):
                self._publish(message.topic, message.value)
        (outcome,) = [*(str(row.outcome) for row in made.observations), *("dead letter" for _ in made.dead_letters)]
        return outcome

    def _publish(self, topic: Topic, value: bytes | None) -> None:
        assert value is not None
        said = json.loads(value)
        match topic:
            case Topic.EVENTS:
                self.events.setdefault(said["shipment_id"], []).append(said)
            case Topic.STATE:
                self.states[said["shipment_id"]] = said
            case Topic.ANOMALIES:
                self.anomalies.append(said)
            case _:
                pass


def zone_of(courier: str, source: Source) -> tzinfo:
    """Return the zone of a courier's times without one, as it is unless set."""
    return ZoneInfo(COURIERS[courier].zone_settings.get(source, ("", "UTC"))[1])


def play(steps: Iterable[Json]) -> Played:
    """Take the steps of a case, a second apart."""
    played = Played()
    for number, step in enumerate(steps):
        played.step(step, BEGAN + number * SECOND)
    return played


def line_of(event: Json) -> str:
    """Write an event as the cases do."""
    skipped = f"over {','.join(event['skipped'])}" if event["skipped"] else None
    parts = (event["type"].removeprefix("shipment."), event["status"], event["transition"], skipped)
    return " ".join(part for part in parts if part)


def check(played: Played, expect: Mapping[str, Any]) -> None:
    """Compare what was made with what a case expects."""
    assert {name: [line_of(event) for event in events] for name, events in played.events.items()} == {
        name: row["events"] for name, row in expect["shipments"].items()
    }
    for name, row in expect["shipments"].items():
        assert shown(played.states[name], row) == {key: value for key, value in row.items() if key != "events"}
    assert Counter((each["kind"], each["shipment_id"], each["courier_status"]) for each in played.anomalies) == Counter(
        map(tuple, expect["anomalies"])
    )
    if "any" in expect["dead"]:
        assert len(played.dead) == len(expect["dead"])
    else:
        assert Counter(played.dead) == Counter(expect["dead"])


def shown(state: Json, row: Mapping[str, Any]) -> Json:
    """Return those members of a state that a case's row names, as it writes them."""
    told = {
        **state,
        "occurred_at": _moment(state),
        "driver": (state["personal"]["driver"] or {}).get("name"),
        "proofs": len(state["personal"]["proofs"]),
    }
    return {name: told[name] for name in row if name != "events"}


def _moment(state: Json) -> str:
    if state["occurred_at_source"] == "received":
        return "received"
    at: str = state["occurred_at"]
    return at.replace(".000000Z", "Z")
