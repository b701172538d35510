"""What is always written is required, and nothing else: held against all that the real code writes."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest

from devstack.couriers.lives import PULLED_KINDS, Life, kiriminaja_instant, lives, so_far
from devstack.couriers.webhooks import Mischief, mangle, webhooks
from schemas.export import FOLDER
from schemas.topics import Topic
from tests.unit.schemas.examples import ROOT
from tests.unit.schemas.variants import Stage, told

OUTPUTS = (Topic.EVENTS, Topic.STATE, Topic.ANOMALIES)
BEGAN = datetime(2024, 12, 27, 14, tzinfo=UTC)


def schema_of(topic: Topic) -> Any:
    return json.loads((ROOT / FOLDER / f"{topic}.v1.schema.json").read_bytes())


@pytest.fixture(scope="module")
def written() -> dict[Topic, list[Any]]:
    """The values that come of the stories, of short lives, and of the simulator's lives on their bad way here."""
    stage = Stage()
    for form in ("short", "complete"):
        happened = [part for life in lives(48, 7, BEGAN, (*PULLED_KINDS, kiriminaja_instant)) for part in moves(life)]
        sent = webhooks(happened, form)
        for webhook in mangle(sent, Mischief(seed=1, drop=0.1, duplicate=0.1, shuffle=0.3)).kept:
            stage.post(webhook.courier, webhook.body)
    found: dict[Topic, list[Any]] = {topic: [] for topic in OUTPUTS}
    for message in (*told(), *stage.messages):
        if message.value is not None:
            found[message.topic].append(json.loads(message.value))
    return found


def moves(life: Life) -> Iterator[Life]:
    return (so_far(life, count) for count in range(1, len(life.moves) + 1))


def objects(value: Any, shape: Any, document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every object in a value with the title of the definition that describes it."""
    if "$ref" in shape:
        shape = document["$defs"][shape["$ref"].rpartition("/")[2]]
    for part in (*shape.get("anyOf", ()), *shape.get("allOf", ())):
        yield from objects(value, part, document)
    if isinstance(value, dict) and "properties" in shape:
        yield shape["title"], value
        for name, member in value.items():
            yield from objects(member, shape["properties"][name], document)
    if isinstance(value, list) and "items" in shape:
        for element in value:
            yield from objects(element, shape["items"], document)


@pytest.mark.parametrize("topic", OUTPUTS)
def test_just_what_is_always_written_is_required(topic: Topic, written: dict[Topic, list[Any]]) -> None:
    schema = schema_of(topic)
    definitions = {part["title"]: part for part in (schema, *schema["$defs"].values()) if "properties" in part}
    seen: Counter[str] = Counter()
    present: dict[str, Counter[str]] = {title: Counter() for title in definitions}
    for value in written[topic]:
        for title, found in objects(value, schema, schema):
            seen[title] += 1
            present[title].update(found.keys())
    assert set(seen) == set(definitions), "a definition that nothing shows"
    for title, definition in definitions.items():
        always = {name for name, count in present[title].items() if count == seen[title]}
        assert set(definition["required"]) == always, title
        assert set(definition["properties"]) == set(present[title]), title


@pytest.mark.parametrize("topic", OUTPUTS)
def test_all_that_is_written_is_valid(topic: Topic, written: dict[Topic, list[Any]]) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(topic))
    assert len(written[topic]) >= 10
    for value in written[topic][::3]:  # a third: each takes milliseconds
        validator.validate(value)
