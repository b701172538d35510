"""The console's JSON as an OpenAPI 3.1 document, made of its pages. `make schemas` writes the file."""

import json
from functools import cache
from typing import Any, Final, get_type_hints

import msgspec

from console.actions import ACTIONS
from console.actions.action import Action, Came, Plan
from console.page import Page, takes_many
from console.pages import PAGES
from console.problems import Problem

FILE: Final = "console/openapi.json"
"""The committed document, from the project's root."""

Part = dict[str, Any]

_PROBLEMS: Final = {
    "Wrong": ("400", "A parameter is wrong, or a name means several shipments."),
    "NotLoggedIn": ("401", "Nobody has logged in, where a log-in is needed."),
    "Forbidden": ("403", "Whoever asks may not see, or do, that."),
    "NotFound": ("404", "Nothing is there."),
    "Impossible": ("409", "There is nothing to do, or it cannot be done."),
    "Failed": ("500", "The console cannot make the page: its log says why."),
    "Away": ("503", "PostgreSQL does not answer."),
    "TooLong": ("504", "The page took too long."),
}


def document() -> Part:
    """Make the document."""
    kinds = [*(page.answer for page in PAGES), Plan, Came]
    _, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Waybill's console",
            "version": "1",
            "description": "Each page of the operators' console, as JSON to `Accept: application/json`. GET changes "
            "nothing; with `personal` it notes the look. POST does what GET of the same address tells of, where the "
            "console acts at all, by a form that GET gave to the same browser. Fields may be added: ignore those you "
            "do not know.",
        },
        "paths": {
            **{page.path: {"get": _operation(page)} for page in PAGES},
            **{action.path: {"get": _look(action), "post": _act(action)} for action in ACTIONS},
        },
        "components": {
            "schemas": schemas,
            "responses": {
                name: {
                    "description": text,
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
                for name, (_, text) in _PROBLEMS.items()
            },
        },
    }


@cache
def text() -> str:
    """Return the document as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _operation(page: Page) -> Part:
    (answer,), _ = msgspec.json.schema_components([page.answer], ref_template="#/components/schemas/{name}")
    return {
        "operationId": _named(page.name),
        "summary": page.title,
        "description": f"{page.meaning} {page.query.__doc__ or ''}".strip(),
        "parameters": [*_in_path(page), *_parameters(page.query)],
        "responses": {
            "200": {"description": page.answer.__doc__ or "", "content": {"application/json": {"schema": answer}}},
            **({"303": _ELSEWHERE} if page.name == "shipments" else {}),
            **{
                code: {"$ref": f"#/components/responses/{name}"}
                for name, (code, _) in _PROBLEMS.items()
                if name != "Impossible"
            },
        },
    }


def _named(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


_ELSEWHERE: Final[Part] = {
    "description": "What `q` names is one shipment: it stands there.",
    "headers": {"Location": {"required": True, "schema": {"type": "string"}}},
}


def _in_path(page: Page) -> list[Part]:
    if "{name}" not in page.path:
        return []
    return [{"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]


def _parameters(query: type[msgspec.Struct]) -> list[Part]:
    _, found = msgspec.json.schema_components([query])
    needed = found[query.__name__].get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "schema": schema,
            **({"required": True} if name in needed else {}),
            **({"style": "form", "explode": True} if takes_many(get_type_hints(query)[name]) else {}),
        }
        for name, schema in _fields(query).items()
    ]


def _fields(query: type[msgspec.Struct]) -> Part:
    """Return the schemas of what may be asked, by name."""
    _, found = msgspec.json.schema_components([query])
    properties = found[query.__name__]["properties"]
    return {name: _inlined(properties[name], found) for name in get_type_hints(query)}


def _look(action: Action) -> Part:
    return {
        "operationId": f"Look{_named(action.name)}",
        "summary": f"{action.title}: what it would do",
        "description": f"{action.meaning} {action.query.__doc__ or ''}".strip(),
        "parameters": _parameters(action.query),
        "responses": _responses(Plan),
    }


def _act(action: Action) -> Part:
    _, found = msgspec.json.schema_components([action.query])
    text = {"type": "string"}
    return {
        "operationId": f"Do{_named(action.name)}",
        "summary": action.title,
        "description": action.meaning,
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            **_fields(action.query),
                            "why": text,
                            "command_id": text,
                            "token": text,
                            "until": text,
                        },
                        "required": [
                            *found[action.query.__name__].get("required", ()),
                            *("why", "command_id", "token"),
                        ],
                    }
                }
            },
        },
        "responses": _responses(Came),
    }


def _responses(answer: type[msgspec.Struct]) -> Part:
    (schema,), _ = msgspec.json.schema_components([answer], ref_template="#/components/schemas/{name}")
    return {
        "200": {"description": answer.__doc__ or "", "content": {"application/json": {"schema": schema}}},
        **{code: {"$ref": f"#/components/responses/{name}"} for name, (code, _) in _PROBLEMS.items()},
    }


def _inlined(schema: Any, components: Part) -> Any:
    """Return a schema with the components it refers to in their places: parameters are read one by one."""
    match schema:
        case {"anyOf": [one, {"type": "null"}]}:  # a parameter that is null is left out
            return _inlined(one, components)
        case {"$ref": str(name)}:
            return _inlined(components[name.rpartition("/")[2]], components)
        case dict():
            return {name: _inlined(value, components) for name, value in schema.items() if name != "default"}
        case list():
            return [_inlined(each, components) for each in schema]
        case _:
            return schema
