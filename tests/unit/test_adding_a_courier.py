"""`docs/adding-a-courier.md`, proven: a courier's folder and a line in the registry, and no other file is touched.

The folder is `tests/becak/`, which the page shows whole; the line is put in by the fixture. The door is a real one over
HTTP, and so is Becak's API; in place of the database and Kafka stand lists.
"""

import ast
import io
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import jsonschema
import msgspec
import pytest
from aiohttp import web

from cli.demo.live import Live
from cli.demo.surroundings import surroundings
from cli.main import main
from cli.terminal.console import GuardedConsole
from ingest.openapi import document
from operators.doctor.zones import shifted
from processor.core.messages import messages
from processor.core.plan import Plan, Planner
from processor.core.reading import read
from reconcile.api import Api, couriers_asked, lacking
from reconcile.asking import CourierLoop
from reconcile.line import CourierClient, open_session
from reconcile.outcomes import Count
from runtime.metrics import AskResult
from runtime.settings import load_settings, settings_in_force
from schemas.couriers import COURIERS, Courier
from schemas.couriers.base import NotFound
from schemas.drawing import state_machines
from schemas.events import Anomaly, Event, State
from schemas.export import documents
from schemas.partitioning import partition_of
from schemas.records import NewRecord, Provenance, RawRecord, UnreadableError
from schemas.shipment_ids import shipment_id
from schemas.topics import Topic
from schemas.vocabulary import Source
from tests.becak import Becak, pieces
from tests.unit.ingest.doors import FakePublisher, running_door, settings_with
from tests.unit.reconcile.test_asking import World, due

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "becak" / "samples"
PARTITIONS = 4
RECEIVED = datetime(2025, 6, 1, 12, tzinfo=UTC)
KEY = "merchant-k3y"

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


@pytest.fixture(autouse=True)
def becak(monkeypatch: pytest.MonkeyPatch) -> Courier:
    courier: Courier = Becak()
    monkeypatch.setitem(COURIERS, courier.name, courier)
    return courier


def planned(records: Sequence[NewRecord]) -> Plan:
    """What the processor makes of records that were appended."""
    zone = load_settings({}).assumed_zone
    raw = [
        RawRecord(partition_of(each.key or b"", PARTITIONS), place, each.key, each.value, tuple(each.headers), 0)
        for place, each in enumerate(records)
    ]
    readings = [read(record, zone, PARTITIONS) for record in raw]
    return Planner({}, Topic.RAW, RECEIVED + timedelta(seconds=1)).add_all(readings)


def events(made: Plan) -> list[Event]:
    sent = [message for output in made.outputs for message in messages(output)]
    return [msgspec.json.decode(one.value or b"", type=Event) for one in sent if one.topic is Topic.EVENTS]


async def knocked(body: bytes) -> list[NewRecord]:
    """What the door appends of a webhook."""
    publisher = FakePublisher()
    settings = settings_with(WAYBILL_BECAK_SECRETS="geheim")
    async with running_door(publisher, settings, now=lambda: RECEIVED) as door:
        (await door.post("/webhooks/becak", body, {"X-Becak": "wrong"})).assert_problem(401)
        answer = await door.post("/webhooks/becak", body, {"X-Becak": "geheim"})
    assert answer.status == 200, answer
    return publisher.records


# ---- one place -------------------------------------------------------------------------------------------------------


def named(source: str, courier: str) -> bool:
    """Whether code says a courier's name: in a text, an import or a name; remarks and docstrings do not count."""
    tree = ast.parse(source)
    remarks = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in remarks:
                said = text
            case ast.ImportFrom(module=str(module), names=names):
                said = " ".join([module, *(each.name for each in names)])
            case ast.Name(id=said) | ast.Attribute(attr=said) | ast.arg(arg=said):
                pass
            case _:
                continue
        if re.search(rf"(?<![a-z]){courier}(?![a-z])", said.lower()):
            return True
    return False


@pytest.mark.parametrize("courier", ["dash", "kiriminaja"])
def test_no_code_outside_its_folder_names_a_courier(courier: str) -> None:
    """But for the registry, and for the simulated couriers, of which the demo takes a parcel."""
    packages = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"tests", "bench"}]
    found = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in package.rglob("*.py")
        if named(path.read_text(), courier)
    }
    apart = {path for path in found if path.startswith((f"schemas/couriers/{courier}/", "devstack/couriers/"))}
    assert found - apart <= {"schemas/couriers/__init__.py", "cli/demo/healing.py"}
    assert "schemas/couriers/__init__.py" in found


# ---- webhooks --------------------------------------------------------------------------------------------------------


async def test_its_webhooks_become_events() -> None:
    made = planned(await knocked(json.dumps(BODY).encode()))
    assert [(one.id, one.status, one.transition, one.attempt) for one in events(made)] == [
        ("becak:B-1/1", "PENDING_PICKUP", "initial", 1),
        ("becak:B-1/2", "IN_TRANSIT", "forward", 1),
        ("becak:B-2/1", "DELIVERED", "initial", 1),
        ("becak:B-1/3", "FAILED", "forward", 1),
        ("becak:B-1/4", "IN_TRANSIT", "recovery", 2),
    ]
    last = events(made)[-1]
    assert (last.courier, last.courier_ref, last.order_id, last.reason) == ("becak", "B-1", "O-1", None)
    assert (last.occurred_at, last.occurred_at_source) == ("2025-06-01T11:00:00.000000Z", "assumed_zone")
    sent = [message for output in made.outputs for message in messages(output)]
    states = [msgspec.json.decode(one.value or b"", type=State) for one in sent if one.topic is Topic.STATE]
    assert (states[-1].shipment_id, states[-1].version, states[-1].final) == ("becak:B-1", 4, False)
    anomalies = [msgspec.json.decode(one.value or b"", type=Anomaly) for one in sent if one.topic is Topic.ANOMALIES]
    assert [(one.kind, one.courier_status) for one in anomalies] == [
        ("illegal_transition", "missed"),
        ("unknown_status", "levitating"),
    ]
    assert [dict(one.headers)["dlq-reason"] for one in sent if one.topic is Topic.DEAD_LETTERS] == [b"no_shipment"]


async def test_what_it_cannot_read_is_a_dead_letter() -> None:
    (output,) = planned(await knocked(b"not json")).outputs
    assert (output.topic, output.value) == (Topic.DEAD_LETTERS, b"not json")


async def test_it_is_off_until_it_has_a_secret() -> None:
    async with running_door(FakePublisher()) as door:
        (await door.post("/webhooks/becak", b"[]", {"X-Becak": ""})).assert_problem(404)


# ---- asking ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def api() -> AsyncIterator[tuple[str, list[str]]]:
    """Becak's API, which knows B-1: its address, and what it was asked."""
    asked = []

    async def rides(request: web.BaseRequest) -> web.Response:
        asked.append(f"{request.method} {request.rel_url}")
        if request.headers.get("X-Becak-Key") != KEY:
            return web.Response(status=401)
        found = (SAMPLES / "tracking" / "handed.json").read_bytes() if request.query["id"] == "B-1" else b"[]"
        return web.Response(body=found, content_type="application/json")

    runner = web.ServerRunner(web.Server(rides))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def ask(reference: str, world: World, key: str = KEY) -> tuple[CourierLoop, list[str]]:
    """Ask about a shipment as `waybill reconcile` does. Returns what came of it, and what the API was asked."""
    async with api() as (url, asked), open_session() as session:
        settings = load_settings({"WAYBILL_BECAK_API_URL": url, "WAYBILL_BECAK_API_KEY": key})
        assert couriers_asked(settings) == ("becak",)
        tools = world.tools(settings)
        line = CourierClient(session, "becak", 100, 2**20, tools.stop, once=True, not_before=0.0)
        tracking = COURIERS["becak"].tracking
        assert tracking is not None
        lane = CourierLoop("becak", Api(tracking, settings, line), line, tools)

        async def only() -> AsyncIterator[Any]:
            yield msgspec.structs.replace(
                due(reference), shipment_id=shipment_id("becak", None, reference), courier="becak"
            )

        await lane.run(cast("Any", only()), lambda: None)
    return lane, asked


async def test_its_answers_become_events() -> None:
    """Of three entries the database knows the first, as a webhook told it."""
    world = World({})
    (first, _) = await knocked((SAMPLES / "express" / "rides.json").read_bytes())
    zone = load_settings({}).assumed_zone("becak", Source.PUSH)
    world.known_observations = [
        COURIERS["becak"].read(first.value, Provenance(courier="becak", received_at=RECEIVED), zone)
    ]
    lane, asked = await ask("B-1", world)
    assert asked == ["GET /rides?id=B-1"]
    assert lane.count == Count().plus(AskResult.NEWS, 2)
    told = events(planned([first, *world.appended]))
    assert [(one.id, one.status, one.source) for one in told] == [
        ("becak:B-1/1", "PENDING_PICKUP", "push"),
        ("becak:B-1/2", "IN_TRANSIT", "pull"),
        ("becak:B-1/3", "DELIVERED", "pull"),
    ]
    assert told[-1].occurred_at == "2025-06-01T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("reference", "key", "said"), [("B-9", KEY, AskResult.NOT_FOUND), ("B-1", "wrong", AskResult.REFUSED)]
)
async def test_what_else_it_answers(reference: str, key: str, said: AskResult) -> None:
    world = World({})
    lane, _ = await ask(reference, world, key)
    assert lane.count == Count().plus(said)
    assert world.appended == []


def test_an_answer_about_another_shipment_is_none() -> None:
    answer = (SAMPLES / "tracking" / "handed.json").read_bytes()
    with pytest.raises(UnreadableError):
        pieces(answer, "B-2")
    assert pieces(b"[]", "B-1") == NotFound()


def test_it_is_asked_once_its_settings_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lacking(load_settings({"WAYBILL_BECAK_API_KEY": "k"}), "becak") == ("WAYBILL_BECAK_API_URL",)
    monkeypatch.delenv("WAYBILL_BECAK_API_URL", raising=False)
    assert main(["reconcile", "--once", "--courier", "becak"]) == 2
    assert "set WAYBILL_BECAK_API_URL and WAYBILL_BECAK_API_KEY" in capsys.readouterr().err


# ---- what else iterates over the registry ----------------------------------------------------------------------------


def test_its_settings_appear() -> None:
    environ = {"WAYBILL_BECAK_SECRETS": "geheim", "WAYBILL_BECAK_API_KEY": "geheim"}
    shown = {setting.name: setting.value for setting in settings_in_force(environ)}
    assert {name: value for name, value in shown.items() if "BECAK" in name} == {
        "WAYBILL_BECAK_SECRETS": "********",
        "WAYBILL_BECAK_PUSH_TIMEZONE": "Asia/Makassar",
        "WAYBILL_BECAK_PULL_TIMEZONE": "Asia/Makassar",
        "WAYBILL_BECAK_API_URL": "",
        "WAYBILL_BECAK_API_KEY": "********",
    }


def test_it_is_drawn() -> None:
    page = state_machines()
    assert "FAILED --> IN_TRANSIT: recovery" in page[page.index("## becak") : page.index("## dash")]
    assert "| riding | IN_TRANSIT | in_transit |" in page


def test_its_route_and_its_records_are_documented() -> None:
    assert document()["components"]["securitySchemes"]["becak"]["name"] == "X-Becak"
    assert "/webhooks/becak" in document()["paths"]
    raw = json.loads(documents()["schemas/exported/courier.webhooks.raw.v1.schema.json"])
    for sample in SAMPLES.rglob("*.json"):
        for ride in json.loads(sample.read_bytes()):
            jsonschema.Draft202012Validator(raw["$defs"]["becak"]).validate(ride)


def test_the_doctor_knows_its_zone(becak: Courier) -> None:
    """Webhooks that come seven hours late, in the middle, are written in another zone."""
    zone_of = load_settings({}).assumed_zone
    late = [
        becak.read(
            json.dumps({"ride": f"B-{number}", "state": "taken", "at": "2025-06-01T12:00:00"}).encode(),
            Provenance(courier="becak", received_at=datetime(2025, 6, 1, 11, tzinfo=UTC)),
            zone_of("becak", Source.PUSH),
        )
        for number in range(5)
    ]
    (found,) = shifted(late, zone_of)
    assert (found.courier, found.setting, found.hours) == ("becak", "BECAK_PUSH_TIMEZONE", 7)


def test_the_demo_shows_how_to_try_it(becak: Courier) -> None:

    out = io.StringIO()
    around = surroundings(
        {"WAYBILL_BECAK_SECRETS": "geheim"},
        kafka_bootstrap_servers="127.0.0.1:9092",
        database_url="postgresql://127.0.0.1/waybill",
        is_free=lambda _: True,
        free_port=lambda: 1,
    )
    Live(GuardedConsole(file=out, width=120, highlight=False)).invitation(around, "t3st", RECEIVED)
    assert "/webhooks/becak -H 'X-Becak: YOUR-SECRET'" in out.getvalue()
    (piece,) = becak.split(becak.example.encode())
    assert piece.reference == "B-RUN-yours"
