"""The OpenAPI document: valid, complete."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ingest import problems
from ingest.problems import Problem
from schemas.couriers import COURIERS
from tests.unit.ingest.contract import DOCUMENT, resolved, validator


def parts(value: Any) -> list[dict[str, Any]]:
    """List every object in the document."""
    if isinstance(value, list):
        return [part for entry in value for part in parts(entry)]
    if isinstance(value, dict):
        return [value, *(part for entry in value.values() for part in parts(entry))]
    return []


def test_every_reference_leads_somewhere() -> None:
    for part in parts(DOCUMENT):
        if "$ref" in part:
            assert resolved(part)


@pytest.mark.parametrize("schema", [part["schema"] for part in parts(DOCUMENT) if "schema" in part], ids=str)
def test_every_schema_is_one(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


def test_every_example_fits_its_schema() -> None:
    contents = [part for part in parts(DOCUMENT) if "examples" in part and "schema" in part]
    assert contents
    for content in contents:
        for example in content["examples"].values():
            validator(content["schema"]).validate(example["value"])


def test_every_problem_but_our_own_failure_is_described() -> None:
    declared = {problem.type for problem in vars(problems).values() if isinstance(problem, Problem)}
    shown = {
        example["value"]["type"]
        for response in DOCUMENT["components"]["responses"].values()
        for content in response["content"].values()
        for example in content["examples"].values()
    }
    assert shown == declared - {problems.INTERNAL_ERROR.type}


def test_every_courier_has_its_route_and_its_key() -> None:
    assert {path for path in DOCUMENT["paths"] if path != "/healthz"} == {f"/webhooks/{name}" for name in COURIERS}
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["kiriminaja"] == {"type": "http", "scheme": "bearer"}
    assert (schemes["dash"]["in"], schemes["dash"]["name"]) == ("header", "X-Dash-Secret")
