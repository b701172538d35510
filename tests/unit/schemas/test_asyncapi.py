"""The AsyncAPI document: valid by the specification's own JSON Schema, and true of topics, schemas and headers."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from deploy import asyncapi_page
from runtime import asyncapi
from runtime.settings import declared
from schemas.export import FOLDER
from schemas.topics import TOPICS, Topic
from schemas.traces import TRACEPARENT
from tests.unit.schemas.examples import ROOT

SPECIFICATION: Final = Path(__file__).parent / "asyncapi" / "3.1.0.json"
"""Of the npm package @asyncapi/specs 6.11.1, with its licence beside it."""

DOCUMENT: Final = json.loads((ROOT / asyncapi.FILE).read_bytes())
CHANNELS: Final = {"events": Topic.EVENTS, "state": Topic.STATE, "anomalies": Topic.ANOMALIES}


def within(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for member in part.values():
            yield from within(member)
    elif isinstance(part, list):
        for element in part:
            yield from within(element)


def payload_validator(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator({**DOCUMENT, "$ref": f"#/components/schemas/{name}"})


def test_it_is_valid_by_the_specifications_schema() -> None:
    jsonschema.Draft7Validator(json.loads(SPECIFICATION.read_bytes())).validate(DOCUMENT)


@pytest.mark.parametrize("wrong", ["asyncapi", "info", "channels"])
def test_the_specifications_schema_refuses_what_is_wrong(wrong: str) -> None:
    validator = jsonschema.Draft7Validator(json.loads(SPECIFICATION.read_bytes()))
    assert not validator.is_valid({**DOCUMENT, wrong: 3})


def test_every_reference_leads_somewhere_in_the_document() -> None:
    references = [part["$ref"] for part in within(DOCUMENT) if isinstance(part.get("$ref"), str)]
    assert references
    for reference in references:
        part = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    assert not [part for part in within(DOCUMENT) if "$defs" in part]


def test_nothing_stands_beside_a_reference() -> None:
    """Draft 07, which AsyncAPI's schemas are of, passes it over."""
    assert not [part for part in within(DOCUMENT) if "$ref" in part and len(part) > 1]


def test_it_is_about_what_subscribers_read_and_nothing_else() -> None:
    assert {name: channel["title"] for name, channel in DOCUMENT["channels"].items()} == CHANNELS
    assert "courier.webhooks.raw.dlq" not in (ROOT / asyncapi.FILE).read_text()
    assert {operation["action"] for operation in DOCUMENT["operations"].values()} == {"send"}
    assert [each["channel"]["$ref"] for each in DOCUMENT["operations"].values()] == [
        f"#/channels/{name}" for name in CHANNELS
    ]


@pytest.mark.parametrize(("name", "topic"), CHANNELS.items())
def test_bindings_are_the_topics(name: str, topic: Topic) -> None:
    (spec,) = [spec for spec in TOPICS if spec.topic is topic]
    binding = DOCUMENT["channels"][name]["bindings"]["kafka"]
    configuration = binding["topicConfiguration"]
    assert (binding["topic"], DOCUMENT["channels"][name]["address"]) == (topic, topic)
    assert str(binding["partitions"]) == declared()["TOPIC_PARTITIONS"].default
    assert str(binding["replicas"]) == declared()["TOPIC_REPLICATION_FACTOR"].default
    if spec.retention is None:
        assert configuration["cleanup.policy"] == ["compact"]
        assert "retention.ms" not in configuration
    else:
        assert configuration["cleanup.policy"] == ["delete"]
        assert timedelta(milliseconds=configuration["retention.ms"]) == spec.retention
    for reference in DOCUMENT["channels"][name]["messages"]:
        assert DOCUMENT["components"]["messages"][reference]["bindings"]["kafka"]["key"]["type"] == "string"


def test_users_log_in_by_scram() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"scramSha256", "scramSha512"}
    assert [each["$ref"].rpartition("/")[2] for each in DOCUMENT["servers"]["kafka"]["security"]] == [*schemes]


@pytest.mark.parametrize(
    ("name", "guarantees"),
    [
        ("events", ["read_committed", "order of `version`", "without gaps", "appears once", "`reopened`", "murmur2"]),
        ("state", ["compacted", "one transaction", "forget the shipment", "then follow the events"]),
        ("anomalies", ["unchanged", "`resolves`"]),
    ],
)
def test_guarantees_are_told(name: str, guarantees: list[str]) -> None:
    text = DOCUMENT["channels"][name]["description"]
    assert [each for each in guarantees if each not in text] == []


@pytest.mark.parametrize(
    ("name", "topic"), [("Event", Topic.EVENTS), ("State", Topic.STATE), ("Anomaly", Topic.ANOMALIES)]
)
def test_a_schema_is_the_exported_one(name: str, topic: Topic) -> None:
    text = (ROOT / FOLDER / f"{topic}.v1.schema.json").read_text()
    exported = json.loads(text.replace("#/$defs/", "#/components/schemas/"))
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas[name]["properties"] == exported["properties"]
    assert schemas[name]["required"] == exported["required"]
    assert {each: schemas[each] for each in exported["$defs"]} == exported["$defs"]


@pytest.mark.parametrize("name", ["shipmentEvent", "shipmentState", "shipmentAnomaly"])
def test_examples_and_their_headers_are_valid(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    assert message["examples"]
    for example in message["examples"]:
        payload_validator(message["payload"]["$ref"].rpartition("/")[2]).validate(example["payload"])
        payload_validator(message["headers"]["$ref"].rpartition("/")[2]).validate(example["headers"])
        assert example["headers"].keys() == {*DOCUMENT["components"]["schemas"]["EventHeaders"]["required"]}


def test_the_header_of_a_trace_may_stand_on_events_alone() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    optional = {
        name: {*schemas[name]["properties"]} - {*schemas[name]["required"]}
        for name in ("EventHeaders", "StateHeaders", "AnomalyHeaders")
    }
    assert optional == {"EventHeaders": {TRACEPARENT}, "StateHeaders": set(), "AnomalyHeaders": set()}


def test_no_text_of_the_document_ends_the_pages_script() -> None:
    page = asyncapi_page.page('{"description": "</script><img src=x>"}')
    assert "<img" not in page
    assert page.count("</script>") == 3
