"""What a shipment shows is one list of fields: rows, events, states and the table follow it."""

import re

import msgspec
import pytest

from processor.core.effects import Changed
from processor.core.fold import Snapshot, merge
from processor.core.outputs import Origin, event_output, forgotten_event
from processor.core.reading import Read
from processor.core.view import IDENTITY, View, published_persons, shown_values
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.events import Event, Personal, State
from schemas.observation import NO_DETAILS, PERSONAL, Carrier, Charges, Details, Driver, Persons, Proof, Stamp
from schemas.records import RawRecord
from schemas.times import format_time
from schemas.vocabulary import EventType, Phase, Service, Status, TimeSource
from tests.integration.system import START, dash, raw_records
from tests.property.driving import readings_of
from tests.unit.processor.test_outputs import written

QUERIES = load_queries("processor.storage")
AUDIT = load_queries("operators.audit")
SHOWN = View.__struct_fields__
READINGS = readings_of(
    RawRecord(0, 0, each.key, each.value, tuple(each.headers), each.timestamp_ms)
    for each in raw_records("dash", dash("X", "FAILED", 0), START)
)
WRITTEN = ("shipment_id", *SHOWN, "version", "updated_at")


def columns(text: str) -> list[str]:
    return [each.strip() for each in text.split(",")]


def test_a_row_is_written_in_the_order_of_its_columns() -> None:
    insert = re.search(r"insert into shipments \((.*?)\)", QUERIES["upsert_shipments"], re.DOTALL)
    assert insert is not None
    assert columns(insert[1]) == [*WRITTEN, "active_hour", "resting_status"]
    given = re.search(r"\nselect\s(.*?),\s+date_trunc", QUERIES["upsert_shipments"], re.DOTALL)
    assert given is not None
    assert columns(given[1]) == list(WRITTEN)
    changed = re.findall(r"^\s+(\w+) = excluded\.(\w+)", QUERIES["upsert_shipments"], re.MULTILINE)
    written = [name for name in WRITTEN if name not in {"shipment_id", *IDENTITY}]
    assert changed == [(name, name) for name in (*written, "active_hour", "resting_status")]


@pytest.mark.parametrize(
    ("query", "left_out"),
    [(QUERIES["load_rows"], {"account", "courier_ref", "phase", "final"}), (AUDIT["audit_rows"], set[str]())],
)
def test_a_row_is_read_whole(query: str, left_out: set[str]) -> None:
    """A history is loaded without what follows from its snapshot and from its id."""
    select = re.search(r"select (.*?)\sfrom shipments", query, re.DOTALL)
    assert select is not None
    assert set(SHOWN) - set(columns(select[1])) == left_out


DETAILS = Details(
    order_id="O-1",
    awb="A-1",
    carrier=Carrier("jne", "REG"),
    charges=Charges(shipping=1),
    driver=Driver("Budi"),
    signed_by="Ani",
    tracking_url="https://x",
    reason="nobody there",
    description="to Ani",
    proofs=(Proof("pod", "https://y", START),),
)
SNAPSHOT = Snapshot(Service.LOGISTIC, Status.FAILED, "FAILED", 2, Stamp(START, TimeSource.COURIER), DETAILS)


def test_every_value_stands_under_its_name() -> None:
    """They are put together by position."""
    view = View.of(SNAPSHOT, "dash", "shop", "X")
    assert msgspec.structs.asdict(view) == {
        "courier": "dash",
        "account": "shop",
        "courier_ref": "X",
        "status": Status.FAILED,
        "phase": Phase.EXCEPTION,
        "final": False,
        "courier_status": "FAILED",
        "service": Service.LOGISTIC,
        "failed_count": 2,
        "occurred_at": START,
        "occurred_at_source": TimeSource.COURIER,
        "order_id": "O-1",
        "awb": "A-1",
        "carrier": Carrier("jne", "REG"),
        "charges": Charges(shipping=1),
        "reason": "nobody there",
        "description": "to Ani",
        "personal": Persons(Driver("Budi"), "Ani", "https://x", (Proof("pod", "https://y", START),)),
    }
    assert view.fields().keys() == {*SHOWN, *Persons.__struct_fields__} - {"personal"}


def test_an_event_shows_what_the_row_shows() -> None:
    assert all(msgspec.structs.astuple(DETAILS)), "a detail that is not given here could be forgotten"
    (reading,) = READINGS
    assert isinstance(reading, Read)
    said, change = reading.observation, Changed(EventType.UPDATED, Status.FAILED)
    output = event_output(COURIERS["dash"], Origin("raw", reading.record, START), said, SNAPSHOT, change, 1)
    assert output.event is not None
    view = View.of(SNAPSHOT, said.courier, said.account, said.reference)
    told = dict(zip(SHOWN, shown_values(output.event), strict=True))
    assert told.pop("personal") == published_persons(view.personal)
    assert told.pop("occurred_at") == format_time(view.occurred_at)
    assert told == {name: getattr(view, name) for name in told}


def test_no_detail_is_lost_where_details_meet() -> None:
    assert merge(NO_DETAILS, DETAILS, moved=True) == DETAILS
    assert merge(DETAILS, NO_DETAILS, moved=False) == DETAILS


def test_events_and_states_show_all_of_it() -> None:
    assert set(SHOWN) < set(State.__struct_fields__) < set(Event.__struct_fields__)


def test_every_detail_is_shown() -> None:
    assert set(Details.__struct_fields__) - set(Persons.__struct_fields__) < set(SHOWN)
    assert Persons.__struct_fields__ == Personal.__struct_fields__
    assert set(PERSONAL) < set(Details.__struct_fields__)


def test_an_erased_event_has_nothing_personal_left() -> None:
    (output,) = written("PREPARING")
    assert output.event is not None
    names = {"driver": {"name": "Budi", "phone": None}, "signed_by": "Ani", "tracking_url": "https://x", "proofs": []}
    event = msgspec.structs.replace(output.event, personal=msgspec.convert(names, Personal), description="to Ani")
    left = msgspec.json.decode(forgotten_event(msgspec.json.encode(event)), type=Event)
    assert left == msgspec.structs.replace(
        event, personal=Personal(driver=None, signed_by=None, tracking_url=None, proofs=()), description=None
    )


def test_a_retired_row_has_nothing_personal_left() -> None:
    """The statement names the columns itself."""
    emptied = re.search(r"set (.*?)\n\s+awbs", QUERIES["mark_retired"], re.DOTALL)
    assert emptied is not None
    names = set(re.findall(r"(\w+) =", emptied[1])) - {"retired_at", "resting_status"}
    assert names == {"personal"} | (set(PERSONAL) - set(Persons.__struct_fields__))
