"""The committed schemas, examples and drawings: true of the code, and kept for ever."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from processor.core.fold import Verdict, transition_of
from schemas.couriers import COURIERS
from schemas.drawing import edge_label
from schemas.events import Anomaly, Event, State
from schemas.export import FOLDER, documents
from schemas.topics import TOPICS
from schemas.vocabulary import DeadLetterReason, Source, Transition
from tests.unit.schemas.examples import EXAMPLES, ROOT, SAMPLES, examples, newest
from tests.unit.schemas.test_samples import pieces_of
from tests.unit.schemas.variants import possible, variants

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "shipment.events": Event,
    "shipment.state": State,
    "shipment.anomalies": Anomaly,
}
LIFECYCLES = [one for name in sorted(COURIERS) for one in COURIERS[name].lifecycles.values()]
ALL_EXAMPLES = sorted(EXAMPLES.glob("*.json"))

EVENT_FIELDS = [
    "id",
    "type",
    "shipment_id",
    "version",
    "courier",
    "account",
    "service",
    "carrier",
    "courier_ref",
    "order_id",
    "awb",
    "status",
    "previous_status",
    "phase",
    "final",
    "transition",
    "skipped",
    "courier_status",
    "failed_count",
    "attempt",
    "occurred_at",
    "occurred_at_source",
    "received_at",
    "recorded_at",
    "reason",
    "description",
    "charges",
    "personal",
    "observed",
    "resolves",
    "source",
    "raw",
]
NOT_IN_THE_STATE = ["id", "type", "transition", "skipped", "previous_status", "observed", "resolves"]
ANOMALY_FIELDS = [
    "id",
    "kind",
    "shipment_id",
    "courier",
    "courier_status",
    "status",
    "observed",
    "received_at",
    "recorded_at",
    "source",
    "raw",
]
RAW_HEADERS = [
    "courier",
    "account",
    "webhook-id",
    "item",
    "received-at",
    "source",
    "replay-of",
    "command-id",
    "content-type",
    "traceparent",
]
DEAD_LETTER_HEADERS = ["dlq-reason", "dlq-detail", "dlq-topic", "dlq-partition", "dlq-offset", "dlq-at"]
OUTPUT_HEADERS = [
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_dataschema",
    "content-type",
    "traceparent",
]


def schema_of(name: str) -> Any:
    return json.loads((ROOT / FOLDER / f"{name}.v1.schema.json").read_bytes())


def name_of(example: Path) -> str:
    return example.stem.partition(".v1.")[0]


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        schema_of(name), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def test_no_schema_is_left_over() -> None:
    assert {str(path.relative_to(ROOT)) for path in (ROOT / FOLDER).glob("*.schema.json")} == {
        path for path in documents() if path.startswith(FOLDER)
    }


@pytest.mark.parametrize("name", [spec.topic.value for spec in TOPICS])
def test_every_topic_has_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(name))
    assert schema_of(name)["$id"] == f"urn:waybill:schema:{name}:1"


@pytest.mark.parametrize("path", ALL_EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path) -> None:
    validator(name_of(path)).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize(
    "path", [path for path in ALL_EXAMPLES if name_of(path) in STRUCTS], ids=lambda path: path.stem
)
def test_every_example_ever_published_still_decodes(path: Path) -> None:
    value = msgspec.json.decode(path.read_bytes(), type=STRUCTS[name_of(path)])
    again = json.loads(msgspec.json.encode(value))
    published = json.loads(path.read_bytes())
    assert {field: again[field] for field in published} == published


def test_every_topic_has_an_example() -> None:
    assert {name_of(path) for path in ALL_EXAMPLES} >= {spec.topic.value for spec in TOPICS}


def test_there_is_an_example_of_all_that_there_can_be() -> None:
    assert set(variants()) == possible()
    assert set(variants()) <= set(newest())


def test_the_event_example_is_a_recovery() -> None:
    event = msgspec.json.decode(examples()["shipment.events.v1"], type=Event)
    assert (event.id, event.status, event.previous_status, event.transition, event.failed_count, event.attempt) == (
        "dash:DE-1735308506306/6",
        "PENDING_DELIVERY",
        "FAILED",
        "recovery",
        1,
        2,
    )


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("shipment.events", EVENT_FIELDS),
        ("shipment.state", [field for field in EVENT_FIELDS if field not in NOT_IN_THE_STATE]),
        ("shipment.anomalies", ANOMALY_FIELDS),
    ],
)
def test_fields_are_the_contracts(name: str, fields: list[str]) -> None:
    assert list(schema_of(name)["properties"]) == fields
    assert schema_of(name)["required"] == fields


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("courier.webhooks.raw.headers", RAW_HEADERS),
        ("courier.webhooks.raw.dlq.headers", [*RAW_HEADERS, *DEAD_LETTER_HEADERS]),
        ("shipment.headers", OUTPUT_HEADERS),
    ],
)
def test_headers_are_the_contracts(name: str, headers: list[str]) -> None:
    assert list(schema_of(name)["properties"]) == headers


def test_dead_letter_reasons_are_the_contracts() -> None:
    assert schema_of("courier.webhooks.raw.dlq.headers")["properties"]["dlq-reason"]["anyOf"][0]["enum"] == [
        "invalid_json", "unknown_shape", "no_shipment", "too_deep", "unstorable", "misrouted", "unauthorized",
    ] == [*DeadLetterReason]  # fmt: skip
    assert [*Source] == ["push", "pull", "replay", "operator"]


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_and_definition_is_described(name: str) -> None:
    schema = schema_of(name)
    for definition in (schema, *schema["$defs"].values()):
        assert definition["description"]
        assert definition["title"]
        for field, shape in definition.get("properties", {}).items():
            assert shape["description"], field


@pytest.mark.parametrize("name", STRUCTS)
def test_version_1_may_grow(name: str) -> None:
    value = json.loads(examples()[f"{name}.v1"])
    validator(name).validate({**value, "something_new": 1, "source": "carrier_pigeon"})


@pytest.mark.parametrize("name", STRUCTS)
def test_a_field_less_is_invalid(name: str) -> None:
    value = json.loads(examples()[f"{name}.v1"])
    for field in value:
        with pytest.raises(jsonschema.ValidationError):
            validator(name).validate({other: value[other] for other in value if other != field})


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_raw_schema_names_what_the_samples_have(sample: str) -> None:
    shape = schema_of("courier.webhooks.raw")["$defs"][sample.partition("/")[0]]
    for piece in pieces_of(sample):
        jsonschema.Draft202012Validator(shape).validate(json.loads(piece.value))


@pytest.mark.parametrize("lifecycle", LIFECYCLES, ids=lambda one: f"{one.courier}-{one.service}")
def test_an_arrows_label_is_the_transition_it_makes(lifecycle: Any) -> None:
    for start, ends in lifecycle.edges.items():
        for end in ends:
            verdict = Verdict(accepted=True, before=start, moved=True)
            made = transition_of(lifecycle, verdict, end, from_final=lifecycle.is_final(start))
            assert (edge_label(lifecycle, start, end) or Transition.FORWARD) == made


def test_every_table_is_drawn() -> None:
    assert documents()["docs/state-machines.md"].count("stateDiagram-v2") == len(LIFECYCLES)
