"""Whether an answer of the door is one that its OpenAPI document describes."""

import json
from http.client import HTTPResponse
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from ingest.openapi import FILE
from tests.unit.schemas.examples import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / FILE).read_bytes())
_REGISTRY: Registry[Any] = Registry().with_resource("urn:door", DRAFT202012.create_resource(DOCUMENT))


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Follow a part's reference."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    absolute = json.loads(json.dumps(schema).replace('"#/components', '"urn:door#/components'))
    return Draft202012Validator(absolute, registry=_REGISTRY)


def described(method: str, path: str) -> dict[str, Any]:
    """Return the answers to a request, by status."""
    item = DOCUMENT["paths"].get(path)
    if item is None:
        return {**DOCUMENT["x-other-paths"], **malformed()}
    operation = item.get(method.lower())
    if operation is None:
        return {**DOCUMENT["x-other-methods"], **malformed()}
    answers: dict[str, Any] = operation["responses"]
    return answers


def malformed() -> dict[str, Any]:
    """Return the answers to what is no HTTP, and to one connection too many."""
    answers = DOCUMENT["paths"]["/healthz"]["get"]["responses"]
    return {status: answers[status] for status in ("400", "503")}


def everything() -> dict[str, Any]:
    """Return all answers there are."""
    operations = (operation for item in DOCUMENT["paths"].values() for operation in item.values())
    all_answers = {status: answer for operation in operations for status, answer in operation["responses"].items()}
    return {**all_answers, **DOCUMENT["x-other-paths"], **DOCUMENT["x-other-methods"]}


def assert_described(answers: dict[str, Any], response: HTTPResponse, body: bytes, *, head: bool = False) -> None:
    """The status is one of the answers', its headers are there, and its body is of the schema."""
    assert str(response.status) in answers, (response.status, body)
    answer = resolved(answers[str(response.status)])
    for name, header in answer.get("headers", {}).items():
        shown = response.headers[name]
        assert shown is not None
        kind = header["schema"].get("type")
        validator(header["schema"]).validate(int(shown) if kind == "integer" else shown)
    assert response.headers["Server"] is None
    ((media_type, content),) = answer["content"].items()
    assert response.headers["Content-Type"] == media_type
    if not head:
        validator(content["schema"]).validate(json.loads(body))
