"""Within version 1 the schemas only grow: compared with every release, and tried on changes that break them."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from schemas.export import FOLDER
from tests.unit.schemas.examples import ROOT
from tests.unit.schemas.growth import broken_promises

RELEASED = ROOT / "schemas" / "released"
EVENTS = "shipment.events.v1.schema.json"
OUTPUTS = (
    EVENTS,
    "shipment.state.v1.schema.json",
    "shipment.anomalies.v1.schema.json",
    "shipment.headers.v1.schema.json",
)
OF_RELEASES = sorted(RELEASED.glob("*/*.schema.json"))


def committed(name: str = EVENTS) -> Any:
    return json.loads((ROOT / FOLDER / name).read_bytes())


@pytest.mark.parametrize("path", OF_RELEASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_nothing_that_a_release_promised_is_gone(path: Any) -> None:
    assert broken_promises(json.loads(path.read_bytes()), committed(path.name)) == []


def test_the_newest_release_is_kept() -> None:
    """So that nobody forgets to copy the schemas at a release."""
    newest = re.findall(r"^## \[(\d+\.\d+)\.\d+\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert {path.name for path in (RELEASED / newest).iterdir()} == {*OUTPUTS}


def drop(*path: str) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        for name in path[:-1]:
            schema = schema[name]
        schema.remove(path[-1]) if isinstance(schema, list) else schema.pop(path[-1])

    return change


def put(value: Any, *path: str) -> Callable[[Any], None]:
    def change(schema: Any) -> None:
        for name in path[:-1]:
            schema = schema[name]
        schema[path[-1]] = value

    return change


RAW = ("offset", "partition", "topic")
NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop("properties", "awb"), ["/awb: is gone"]),
        (drop("required", "awb"), ["/awb: is not required any more"]),
        (drop("$defs", "Carrier", "required", "code"), ["/carrier/code: is not required any more"]),
        (drop("$defs", "Driver", "properties", "phone"), ["/personal/driver/phone: is gone"]),
        (drop("$defs", "ShownProof", "properties", "url"), ["/personal/proofs[]/url: is gone"]),
        (drop("$defs", "KnownTransition", "enum", "recovery"), ["/transition: recovery is no known value any more"]),
        (
            put({"$ref": "#/$defs/KnownPhase"}, "properties", "phase"),
            ["/phase: takes known values alone, which it did not"],
        ),
        (put({"type": "string"}, "properties", "version"), ["/version: was integer, is string"]),
        (put(NULLABLE, "properties", "id"), ["/id: was string, is null|string"]),
        (put({"type": "string"}, "properties", "awb"), ["/awb: was null|string, is string"]),
        (put({"type": "string"}, "properties", "received_at"), ["/received_at: format was date-time, is None"]),
        (put({"type": "integer"}, "properties", "resolves", "items"), ["/resolves[]: was string, is integer"]),
        (put([], "$defs", "RawCoordinates", "required"), [f"/raw/{name}: is not required any more" for name in RAW]),
        (put({"type": "object"}, "properties", "raw"), [
            *(f"/raw/{name}: is not required any more" for name in RAW), *(f"/raw/{name}: is gone" for name in RAW),
        ]),
    ],
)  # fmt: skip
def test_what_takes_a_promise_back_is_refused(change: Callable[[Any], None], told: list[str]) -> None:
    changed = deepcopy(committed())
    change(changed)
    assert broken_promises(committed(), changed) == told


@pytest.mark.parametrize(
    "change",
    [
        put({"type": "integer"}, "properties", "weight"),
        put([*committed()["required"], "weight"], "required"),
        put([*committed()["$defs"]["KnownStatus"]["enum"], "MELTED"], "$defs", "KnownStatus", "enum"),
        put("Another sentence.", "properties", "awb", "description"),
        put({"anyOf": [{"$ref": "#/$defs/KnownPhase"}, {"type": "string"}]}, "properties", "phase"),
    ],
)
def test_what_grows_or_is_only_said_otherwise_is_let_through(change: Callable[[Any], None]) -> None:
    changed = deepcopy(committed())
    change(changed)
    assert broken_promises(committed(), changed) == []


def test_a_constant_of_the_headers_stays() -> None:
    changed = committed("shipment.headers.v1.schema.json")
    changed["properties"]["ce_specversion"]["const"] = "2.0"
    told = broken_promises(committed("shipment.headers.v1.schema.json"), changed)
    assert told == ["/ce_specversion: const was 1.0, is 2.0"]
