"""One event of each courier, type and transition, and one anomaly of each courier and kind, made by the real code.

The stories of `waybill up` come first; short lives of parcels show what no story does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import msgspec

from cli.demo.scenario import load_stories, play
from processor.core.messages import Message, messages
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.roots import Roots, RootShipment
from processor.core.state import Shipment
from schemas.couriers import COURIERS
from schemas.events import Anomaly, Event, State
from schemas.observation import KEPT_OBSERVATIONS
from schemas.partitioning import partition_of
from schemas.records import Provenance, RawRecord, reread_headers
from schemas.shipment_ids import shipment_id
from schemas.topics import Topic
from schemas.vocabulary import AnomalyKind, EventType, Transition
from tests.unit.schemas.reading import ZONE_OF

Body = tuple[str, Any]
"""A courier's name and the body that it posts."""

PARTITIONS: Final = 12
BEGAN: Final = datetime(2024, 12, 27, 14, 18, 17, 128000, UTC)


def dash(reference: str, word: str, minute: int, **more: Any) -> Body:
    """Return what Dash says of a delivery, so many minutes after it began."""
    at = (BEGAN + timedelta(minutes=minute)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    named = {
        "COMPLETED": "completedAt",
        "FAILED": "failedAt",
        "CANCELLED": "cancelledAt",
        "PENDING_DELIVERY": "pickupAt",
    }
    times = {"updatedAt": at, "createdAt": BEGAN.isoformat(), **({named[word]: at} if word in named else {})}
    return "dash", {"deliveryID": reference, "providerOrderID": f"O-{reference}", "status": word, **times, **more}


def kiriminaja(reference: str, method: str, **more: Any) -> Body:
    """Return what KiriminAja says of a parcel."""
    return "kiriminaja", {"method": method, "data": [{"order_id": reference, **more}]}


def instant(reference: str, word: str, minute: int) -> Body:
    """Return what KiriminAja says of an instant delivery."""
    at = f"{BEGAN + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%S.%f}Z"
    said = {"order_id": reference, "status": word, "service": "gosend", "service_name": "instant", "event_date": at}
    return "kiriminaja", {"method": "update_instant_packages", "data": said}


DRIVER: Final = {"courier": {"name": "Agus Wijayanto", "phone": "087777777777"}}
ON_THE_WAY: Final = (("PENDING_DELIVERY", 2), ("IN_DELIVERY", 3), ("FAILED", 4), ("PENDING_RETURN", 5))

LIVES: Final[Sequence[Body]] = (
    dash("DE-returned", "VERIFIED", 1),
    *(dash("DE-returned", word, minute, failedCount=1) for word, minute in ON_THE_WAY),
    dash("DE-proved-false", "ALLOCATING", 1),
    *(dash("DE-proved-false", word, minute) for word, minute in ON_THE_WAY),
    dash("DE-scanned", "IN_DELIVERY", 1),
    dash("DE-scanned", "IN_DELIVERY", 9, **DRIVER),
    dash("DE-driver-late", "IN_DELIVERY", 5),
    dash("DE-driver-late", "PICKING_UP", 2, **DRIVER),
    dash("DE-not-cancelled", "PICKING_UP", 1),
    dash("DE-not-cancelled", "CANCELLED", 5),
    dash("DE-not-cancelled", "COMPLETED", 4),
    dash("DE-strange", "MELTED", 1),
    dash("DE-both", "ALLOCATING", 1),
    dash("DE-both", "VERIFIED", 2),
    kiriminaja("OID-again", "problem_packages", date="2024-12-27 20:00:00", reason="Alamat tidak ditemukan"),
    kiriminaja("OID-again", "problem_packages", date="2024-12-27 21:00:00", reason="Penerima tidak di tempat"),
    kiriminaja("OID-again", "shipped_packages", shipped_at="2024-12-28 08:00:00"),
    kiriminaja("OID-late", "finished_packages", finished_at="2024-12-27 20:00:00"),
    kiriminaja("OID-late", "shipped_packages", shipped_at="2024-12-27 18:00:00"),
    kiriminaja("OID-late", "canceled_packages", canceled_at="2024-12-27 20:30:00", reason="3pl rejection"),
    kiriminaja("OID-not-cancelled", "canceled_packages", canceled_at="2024-12-27 20:30:00", reason="3pl rejection"),
    kiriminaja("OID-not-cancelled", "finished_packages", finished_at="2024-12-27 20:00:00"),
    kiriminaja("OID-awb-late", "finished_packages", finished_at="2024-12-27 20:00:00"),
    kiriminaja("OID-awb-late", "processed_packages", date="2024-12-27 17:00:00", awb="DEVEL-000000004"),
    instant("INS-strange", "teleported", 1),
)
OF_A_LONG_LIFE: Final[Sequence[Body]] = (
    *(dash("DE-long", "IN_DELIVERY", minute) for minute in range(3)),
    *(kiriminaja("OID-long", "problem_packages", date=f"2024-12-27 20:0{minute}:00") for minute in range(3)),
)
"""Longer than the limit that they are told with."""

OF_ANOTHER: Final[Sequence[Body]] = (dash("DE-renamed", "VERIFIED", 1), instant("INS-renamed", "picked_up", 1))
"""Read again, when another shipment is known to have been named by their records."""


class Stage:
    """The pure core, fed with one body after the other."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._shipments: dict[str, Shipment] = {}
        self._posted = 0

    def post(self, courier: str, body: bytes, *, limit: int = KEPT_OBSERVATIONS) -> None:
        """Take a webhook as the door and the processor do."""
        for record in self._records(courier, body):
            self._take(record, limit=limit)

    def read_again(self, courier: str, body: bytes) -> None:
        """Read a record again that was about another shipment when it came."""
        for record in self._records(courier, body):
            again = msgspec.structs.replace(record, headers=tuple(reread_headers(record, "replay-1/0")))
            root = (record.partition, record.offset)
            self._take(again, roots={root: [RootShipment(shipment_id(courier, None, "another"))]})

    def _records(self, courier: str, body: bytes) -> Iterator[RawRecord]:
        received_at = BEGAN + timedelta(hours=30, minutes=self._posted, microseconds=120331)
        pieces = COURIERS[courier].split(body)
        for item, piece in enumerate(pieces, start=1):
            assert piece.reference is not None
            key = shipment_id(courier, None, piece.reference).encode()
            provenance = Provenance(courier=courier, received_at=received_at, item=item, items=len(pieces))
            place, self._posted = self._posted, self._posted + 1
            yield RawRecord(
                partition_of(key, PARTITIONS), place, key, piece.value, tuple(provenance.headers()), timestamp_ms=0
            )

    def _take(self, record: RawRecord, *, limit: int = KEPT_OBSERVATIONS, roots: Roots | None = None) -> None:
        now = BEGAN + timedelta(hours=30, minutes=record.offset, microseconds=161007)
        planner = Planner(self._shipments, Topic.RAW, now, limit=limit, roots=roots or {})
        made = planner.add_all([read(record, ZONE_OF, PARTITIONS)])
        self._shipments |= made.shipments
        self.messages += [message for output in made.outputs for message in messages(output)]


@cache
def told() -> tuple[Message, ...]:
    """Return all that the stories and the short lives come to, in order."""
    stage = Stage()
    for webhook in play(load_stories(), "story", BEGAN + timedelta(hours=30), None).webhooks:
        stage.post(webhook.story.courier, webhook.body)
    for courier, body in LIVES:
        stage.post(courier, msgspec.json.encode(body))
    for courier, body in OF_A_LONG_LIFE:
        stage.post(courier, msgspec.json.encode(body), limit=2)
    for courier, body in OF_ANOTHER:
        stage.read_again(courier, msgspec.json.encode(body))
    return tuple(stage.messages)


def variants() -> dict[str, Message]:
    """Return the first record of each variant, by the example's name without its number."""
    found: dict[str, Message] = {}
    for message in told():
        if (name := variant_of(message)) is not None:
            found.setdefault(name, message)
    return found


def variant_of(message: Message) -> str | None:
    """Name what a record shows: `shipment.events.v1.dash.status_changed.recovery`; None: it has no value."""
    if message.value is None:
        return None
    match message.topic:
        case Topic.EVENTS:
            event = msgspec.json.decode(message.value, type=Event)
            return event_variant(event.courier, event.type, event.transition)
        case Topic.ANOMALIES:
            anomaly = msgspec.json.decode(message.value, type=Anomaly)
            return f"{Topic.ANOMALIES}.v1.{anomaly.courier}.{anomaly.kind}"
        case Topic.STATE:
            return f"{Topic.STATE}.v1.{msgspec.json.decode(message.value, type=State).courier}"
        case topic:
            raise AssertionError(f"a story came to a record on {topic}")


def event_variant(courier: str, type_: EventType, transition: Transition | None) -> str:
    """Name an example of an event."""
    _, _, short = type_.partition(".")
    return ".".join([Topic.EVENTS, "v1", courier, short, *([transition] if transition else [])])


SHOWN: Final = tuple(sorted({courier for courier, _ in LIVES}))
"""The couriers that examples are made of."""

IMPOSSIBLE: Final = frozenset({f"{Topic.ANOMALIES}.v1.kiriminaja.{AnomalyKind.SERVICE_CONFLICT}"})
"""KiriminAja's webhooks prove one service alone, instant."""


def possible() -> set[str]:
    """Return every variant that there can be of the couriers that lives are told of, by their tables."""
    return {*_events(), *_anomalies(), *(f"{Topic.STATE}.v1.{courier}" for courier in SHOWN)} - IMPOSSIBLE


def _events() -> Iterator[str]:
    moves: Mapping[EventType, Iterable[Transition | None]] = {
        EventType.STATUS_CHANGED: [each for each in Transition if each is not Transition.CORRECTION],
        EventType.UPDATED: [None],
        EventType.HISTORY_ADDED: [None],
        EventType.CORRECTED: [Transition.CORRECTION, None],
    }
    for name in SHOWN:
        reassigns = any(lifecycle.reassignments for lifecycle in COURIERS[name].lifecycles.values())
        for type_ in EventType:
            for transition in moves[type_]:
                if transition is not Transition.REASSIGNMENT or reassigns:
                    yield event_variant(name, type_, transition)


def _anomalies() -> Iterator[str]:
    return (f"{Topic.ANOMALIES}.v1.{courier}.{kind}" for courier in SHOWN for kind in AnomalyKind)
