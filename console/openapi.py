"""The console's JSON as an OpenAPI 3.1 document, made of its pages. `make schemas` writes the file."""

import json
from functools import cache
from typing import Any, Final, get_type_hints

import msgspec

from console.page import Page, takes_many
from console.pages import PAGES
from console.problems import Problem

FILE: Final = "console/openapi.json"
"""The committed document, from the project's root."""

Part = dict[str, Any]

_PROBLEMS: Final = {
    "Wrong": ("400", "A parameter is wrong, or a name means several shipments."),
    "NotLoggedIn": ("401", "Nobody has logged in, where a log-in is needed."),
    "Forbidden": ("403", "Whoever asks may not see that."),
    "NotFound": ("404", "Nothing is there."),
    "Failed": ("500", "The console cannot make the page: its log says why."),
    "Away": ("503", "PostgreSQL does not answer."),
    "TooLong": ("504", "The page took too long."),
}


def document() -> Part:
    """Make the document."""
    kinds = [page.answer for page in PAGES]
    _, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Waybill's console",
            "version": "1",
            "description": "Each page of the operators' console, as JSON to `Accept: application/json`. It changes "
            "nothing; with `personal` it notes the look. Fields may be added: ignore those you do not know.",
        },
        "paths": {page.path: {"get": _operation(page)} for page in PAGES},
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
        "operationId": "".join(part.capitalize() for part in page.name.split("-")),
        "summary": page.title,
        "description": f"{page.meaning} {page.query.__doc__ or ''}".strip(),
        "parameters": [*_in_path(page), *_parameters(page)],
        "responses": {
            "200": {"description": page.answer.__doc__ or "", "content": {"application/json": {"schema": answer}}},
            **({"303": _ELSEWHERE} if page.name == "shipments" else {}),
            **{code: {"$ref": f"#/components/responses/{name}"} for name, (code, _) in _PROBLEMS.items()},
        },
    }


_ELSEWHERE: Final[Part] = {
    "description": "What `q` names is one shipment: it stands there.",
    "headers": {"Location": {"required": True, "schema": {"type": "string"}}},
}


def _in_path(page: Page) -> list[Part]:
    if "{name}" not in page.path:
        return []
    return [{"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}]


def _parameters(page: Page) -> list[Part]:
    _, found = msgspec.json.schema_components([page.query])
    properties = found[page.query.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "schema": _inlined(properties[name], found),
            **({"style": "form", "explode": True} if takes_many(hint) else {}),
        }
        for name, hint in get_type_hints(page.query).items()
    ]


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
