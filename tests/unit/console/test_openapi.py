"""The console's OpenAPI document: valid, of every page, and true of what the pages answer."""

from collections.abc import Mapping
from typing import Any, Final

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from console import openapi
from console.actions import ACTIONS
from console.pages import PAGES
from console.problems import Problem
from tests.unit.console.answers import answers

DOCUMENT: Final = msgspec.json.decode(openapi.text())


def schema_of(path: str) -> Mapping[str, Any]:
    """Return the JSON Schema of a page's answer, with the components it refers to."""
    content = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]
    found: Mapping[str, Any] = content["application/json"]["schema"]
    return {**found, "components": DOCUMENT["components"]}


def test_the_document_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_page_stands_in_it_with_its_parameters() -> None:
    assert set(DOCUMENT["paths"]) == {page.path for page in PAGES} | {action.path for action in ACTIONS}
    for page in PAGES:
        operation = DOCUMENT["paths"][page.path]["get"]
        named = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
        assert named == list(page.query.__struct_fields__)
        assert "$ref" not in msgspec.json.encode(operation["parameters"]).decode()
        assert operation["description"].startswith(page.meaning)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_answer_is_as_it_says(page: Any) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(page.path))
    for name, what, answer in answers("Budi"):
        if name == page.name:
            found = list(validator.iter_errors(msgspec.json.decode(msgspec.json.encode(answer))))
            assert found == [], what


def test_every_action_stands_in_it_with_what_its_form_sends() -> None:
    for action in ACTIONS:
        look, act = DOCUMENT["paths"][action.path]["get"], DOCUMENT["paths"][action.path]["post"]
        fields = list(action.query.__struct_fields__)
        assert [each["name"] for each in look["parameters"]] == fields
        form = act["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        assert set(form["properties"]) == {*fields, "why", "command_id", "until", "token"}
        assert {"why", "command_id", "token"} <= set(form["required"])


def test_a_problem_is_as_it_says() -> None:
    schema = {"$ref": "#/components/schemas/Problem", "components": DOCUMENT["components"]}
    jsonschema.validate(msgspec.to_builtins(Problem("Nothing is here", 404, "really")), schema)
