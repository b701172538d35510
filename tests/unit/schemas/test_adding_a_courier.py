"""`docs/adding-a-courier.md`, proven: a made-up courier and one line in the registry, and nothing else is touched."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec
import pytest

from ingest.service import routes_of
from processor.core.outputs import messages
from processor.core.plan import Plan, Planner
from processor.core.reading import read
from runtime.settings import load_settings, settings_in_force
from schemas.couriers import COURIERS, Courier
from schemas.couriers.base import Credentials, NotFound, Piece, Position, check_reference
from schemas.couriers.pulling import news
from schemas.couriers.reading import clock, first_of, observe, text
from schemas.drawing import state_machines
from schemas.events import Anomaly, Event, State
from schemas.lifecycle import Lifecycle
from schemas.observation import Details, Observation, Stamp
from schemas.partitioning import partition_of
from schemas.records import Provenance, RawRecord, UnreadableError
from schemas.shipment_ids import shipment_id
from schemas.tolerant_json import digest, elements, load
from schemas.topics import Topic
from schemas.vocabulary import RANK, DeadLetterReason, Service, Source, Status

# ---- what would be schemas/couriers/becak.py -------------------------------------------------------------------------

STATES: Final[dict[str, Status | None]] = {
    "taken": Status.PENDING_PICKUP,
    "riding": Status.IN_TRANSIT,
    "missed": Status.FAILED,
    "handed": Status.DELIVERED,
    "tea break": None,
}

BECAK_EXPRESS: Final = Lifecycle(
    "becak",
    Service.EXPRESS,
    {
        Status.PENDING_PICKUP: (Status.IN_TRANSIT,),
        Status.IN_TRANSIT: (Status.DELIVERED, Status.FAILED),
        Status.FAILED: (Status.IN_TRANSIT,),
    },
    counts_entries=True,
)


class Becak:
    """A courier on three wheels: a body is a list of rides."""

    name = "becak"
    credentials = Credentials(secrets_setting="BECAK_SECRETS", header="X-Becak")
    lifecycles: Mapping[Service, Lifecycle] = {Service.EXPRESS: BECAK_EXPRESS}
    words: Mapping[str, Mapping[str, Status | None]] = {"state": STATES}
    zone_settings: Mapping[Source, tuple[str, str]] = {Source.PUSH: ("BECAK_TIMEZONE", "Asia/Makassar")}

    def split(self, body: bytes) -> list[Piece]:
        """One piece for each ride."""
        try:
            rides = elements(body)
        except UnreadableError:
            return [Piece(body, None)]
        return [Piece(ride, self._reference(ride)) for ride in rides] or [Piece(body, None)]

    def pulled(self, answer: bytes, reference: str) -> list[Piece] | NotFound:
        """Asked, it tells one ride; an empty answer says that it knows none."""
        ride = load(answer)
        if ride == {}:
            return NotFound()
        if self._reference(answer) != reference:
            raise UnreadableError(DeadLetterReason.NO_SHIPMENT, "the answer is about another ride")
        return [Piece(answer, reference)]

    def read(self, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
        """Read one ride."""
        ride = load(value)
        if not isinstance(ride, dict) or not isinstance(word := ride.get("state"), str) or not word:
            raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not a ride with a state")
        return observe(
            self,
            provenance,
            reference=check_reference(ride.get("ride"), "ride"),
            word=word,
            status=STATES.get(word),
            known=word in STATES,
            record_digest=digest(ride),
            times=clock(ride, ["at"], provenance.received_at, assumed_zone),
            details=Details(order_id=text(ride.get("order")), reason=text(ride.get("why"))),
        )

    def service(self, proven: frozenset[Service], hinted: frozenset[Service]) -> Service:
        """There is only one."""
        return Service.EXPRESS

    def occurred(self, observation: Observation, service: Service) -> Stamp:
        """The ride's time, else the time received."""
        return first_of(observation, ["at"])

    def position(self, observation: Observation, service: Service) -> Position:
        """By time, then rank."""
        assert observation.status is not None
        return (self.occurred(observation, service).at, RANK[observation.status])

    def _reference(self, ride: bytes) -> str | None:
        try:
            found = load(ride)
            return check_reference(found.get("ride") if isinstance(found, dict) else None, "ride")
        except UnreadableError:
            return None


# ----------------------------------------------------------------------------------------------------------------------

PARTITIONS = 4
RECEIVED = datetime(2025, 6, 1, 12, tzinfo=UTC)

BODY = [
    {"ride": "B-1", "state": "taken", "at": "2025-06-01T16:00:00", "order": "O-1"},
    {"ride": "B-1", "state": "riding", "at": "2025-06-01T17:00:00"},
    {"ride": "B-2", "state": "handed", "at": "2025-06-01T17:30:00"},
    {"ride": "B-1", "state": "missed", "at": "2025-06-01T18:00:00", "why": "rain"},
    {"ride": "B-2", "state": "missed", "at": "2025-06-01T18:10:00"},
    {"ride": "B-1", "state": "riding", "at": "2025-06-01T19:00:00"},
    {"ride": "B-1", "state": "levitating"},
    {"state": "riding"},
]


@pytest.fixture
def becak(monkeypatch: pytest.MonkeyPatch) -> Courier:
    courier: Courier = Becak()
    monkeypatch.setitem(COURIERS, courier.name, courier)
    return courier


def planned(courier: Courier, body: bytes) -> Plan:
    """What the door and the processor make of a body."""
    zone = load_settings({}).assumed_zone
    readings = []
    for place, piece in enumerate(courier.split(body), start=1):
        key = shipment_id(courier.name, None, piece.reference).encode() if piece.reference else b"-"
        headers = tuple(Provenance(courier=courier.name, received_at=RECEIVED, item=place).headers())
        record = RawRecord(partition_of(key, PARTITIONS), place, key, piece.value, headers, 0)
        readings.append(read(record, zone, PARTITIONS))
    return Planner({}, Topic.RAW, RECEIVED + timedelta(seconds=1)).add_all(readings)


def test_its_webhooks_become_events(becak: Courier) -> None:
    outputs = planned(becak, json.dumps(BODY).encode()).outputs
    sent = [message for output in outputs for message in messages(output)]
    events = [msgspec.json.decode(one.value or b"", type=Event) for one in sent if one.topic is Topic.EVENTS]
    assert [(one.id, one.status, one.transition, one.attempt) for one in events] == [
        ("becak:B-1/1", "PENDING_PICKUP", "initial", 1),
        ("becak:B-1/2", "IN_TRANSIT", "forward", 1),
        ("becak:B-2/1", "DELIVERED", "initial", 1),
        ("becak:B-1/3", "FAILED", "forward", 1),
        ("becak:B-1/4", "IN_TRANSIT", "recovery", 2),
    ]
    last = events[-1]
    assert (last.courier, last.courier_ref, last.order_id, last.reason) == ("becak", "B-1", "O-1", None)
    assert (last.occurred_at, last.occurred_at_source) == ("2025-06-01T11:00:00.000000Z", "assumed_zone")
    states = [msgspec.json.decode(one.value or b"", type=State) for one in sent if one.topic is Topic.STATE]
    assert (states[-1].shipment_id, states[-1].version, states[-1].final) == ("becak:B-1", 4, False)
    anomalies = [msgspec.json.decode(one.value or b"", type=Anomaly) for one in sent if one.topic is Topic.ANOMALIES]
    assert [(one.kind, one.courier_status) for one in anomalies] == [
        ("illegal_transition", "missed"),
        ("unknown_status", "levitating"),
    ]
    assert [dict(one.headers)["dlq-reason"] for one in sent if one.topic is Topic.DEAD_LETTERS] == [b"no_shipment"]


def test_its_answers_become_records_of_what_is_new(becak: Courier) -> None:
    answer = b'{"ride": "B-1", "state": "handed", "at": "2025-06-01T20:00:00"}'
    found = becak.pulled(answer, "B-1")
    assert found == [Piece(answer, "B-1")]
    assert isinstance(found, list)
    zone = load_settings({}).assumed_zone(becak.name, Source.PULL)
    asked = Provenance(courier=becak.name, received_at=RECEIVED, source=Source.PULL)
    assert news(becak, found, [], asked, zone) == [(found[0], asked)]
    assert news(becak, found, [becak.read(answer, asked, zone)], asked, zone) == []
    assert becak.pulled(b"{}", "B-1") == NotFound()


def test_what_it_cannot_read_is_a_dead_letter(becak: Courier) -> None:
    (output,) = planned(becak, b"not json").outputs
    assert (output.topic, output.value) == (Topic.DEAD_LETTERS, b"not json")


def test_its_settings_appear(becak: Courier) -> None:
    shown = {setting.name: setting for setting in settings_in_force({"WAYBILL_BECAK_SECRETS": "geheim"})}
    assert "geheim" not in str(shown["WAYBILL_BECAK_SECRETS"])
    assert "Asia/Makassar" in str(shown["WAYBILL_BECAK_TIMEZONE"])


def test_it_is_off_until_it_has_a_secret(becak: Courier) -> None:
    assert set(routes_of(load_settings({"WAYBILL_DASH_SECRETS": "a"}))) == {"dash"}
    assert set(routes_of(load_settings({"WAYBILL_DASH_SECRETS": "a", "WAYBILL_BECAK_SECRETS": "b"}))) == {
        "dash",
        "becak",
    }


def test_it_is_drawn(becak: Courier) -> None:
    page = state_machines()
    assert "FAILED --> IN_TRANSIT: recovery" in page[page.index("## becak") : page.index("## dash")]
    assert "| riding | IN_TRANSIT | in_transit |" in page
