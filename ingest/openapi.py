"""The door as an OpenAPI 3.1 document, made of its own problems, answers and couriers.

`make schemas` writes the file; a test drives the door against it.
"""

import json
from typing import Any, Final

import msgspec

from ingest import problems
from ingest.app import HEALTH, WEBHOOKS, Accepted
from ingest.problems import Problem
from ingest.server import RETRY_AFTER_SECONDS
from runtime.settings import declared
from schemas.couriers import COURIERS
from schemas.couriers.base import Courier

FILE: Final = "ingest/openapi.json"
"""The committed document, from the project's root."""

Part = dict[str, Any]

_TEXT: Final[Part] = {"type": "string"}
_HEADERS: Final[dict[int, Part]] = {
    401: {"WWW-Authenticate": {"required": True, "description": "How to show who you are.", "schema": _TEXT}},
    405: {"Allow": {"required": True, "description": "The methods that work here.", "schema": _TEXT}},
    503: {
        "Retry-After": {
            "required": True,
            "description": "When to come again, in seconds.",
            "schema": {"type": "integer", "minimum": 1},
            "example": RETRY_AFTER_SECONDS,
        }
    },
}
_FIELDS: Final = {
    "status": "Always `accepted`.",
    "webhook_id": "Names the webhook in logs and in its records' headers.",
    "records": "How many records it became: one for each item of the body.",
}
_RESPONSES: Final[dict[str, tuple[str, tuple[Problem, ...]]]] = {
    "Malformed": (
        "The body is empty, its content-encoding is broken, or the request is no valid HTTP.",
        (problems.EMPTY_BODY, problems.BROKEN_ENCODING, problems.MALFORMED_REQUEST),
    ),
    "Unauthorized": ("Credentials are missing or not accepted. Nothing is kept.", (problems.UNAUTHORIZED,)),
    "NotFound": ("Nothing is here, or the courier is off.", (problems.NOT_FOUND,)),
    "MethodNotAllowed": ("Another method works here.", (problems.METHOD_NOT_ALLOWED,)),
    "TooLarge": ("The body is over the limit, as it came or decompressed.", (problems.BODY_TOO_LARGE,)),
    "Unavailable": (
        "The webhook cannot be kept now, or too much is under way. Send it again.",
        (problems.UNAVAILABLE, problems.OVERLOADED),
    ),
}
"""Every error, by the name of its response: what it means, and the problems it shows."""


def document() -> Part:
    """Make the document."""
    _, schemas = msgspec.json.schema_components([Accepted, Problem], ref_template="#/components/schemas/{name}")
    for name, text in _FIELDS.items():
        schemas["Accepted"]["properties"][name]["description"] = text
    schemas["Accepted"]["properties"]["webhook_id"]["format"] = "uuid"
    schemas["Accepted"]["properties"]["records"]["minimum"] = 1
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Waybill's door",
            "version": "1",
            "description": "Couriers post their webhooks here. A webhook answered 200 is durable, whatever its body "
            "says: one that is no JSON or of an unknown shape is kept too. After a 503 send it again. Other paths and "
            "methods than these are answered as `x-other-paths` and `x-other-methods` say.",
        },
        "x-other-paths": {"404": {"$ref": "#/components/responses/NotFound"}},
        "x-other-methods": {"405": {"$ref": "#/components/responses/MethodNotAllowed"}},
        "paths": {HEALTH: _health(), **{f"{WEBHOOKS}{name}": _webhook(courier) for name, courier in COURIERS.items()}},
        "components": {
            "schemas": schemas,
            "responses": {name: _response(text, kinds) for name, (text, kinds) in _RESPONSES.items()},
            "securitySchemes": {name: _security(courier) for name, courier in COURIERS.items()},
        },
    }


def text() -> str:
    """Return the document as it is committed."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _health() -> Part:
    alive = {
        "description": "The process lives. It says nothing about what stands behind it.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["status"],
                    "properties": {"status": {"const": "ok"}},
                }
            }
        },
    }
    answers = {"200": alive, **_errors("Malformed", "Unavailable")}
    return {
        "get": {"operationId": "health", "summary": "Is it alive?", "responses": answers},
        "head": {"operationId": "healthHead", "summary": "Is it alive?", "responses": answers},
    }


def _webhook(courier: Courier) -> Part:
    accepted = {
        "description": "Every record of the webhook is durable.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Accepted"}}},
    }
    return {
        "post": {
            "operationId": f"{courier.name}Webhook",
            "summary": f"A webhook of {courier.name}",
            "description": "The body may be compressed: `Content-Encoding` gzip or deflate.",
            "security": [{courier.name: []}],
            "requestBody": {
                "required": True,
                "content": {"application/json": {}, "*/*": {}},
                "description": "Any bytes, at least one.",
            },
            "responses": {
                "200": accepted,
                **_errors("Malformed", "Unauthorized", "NotFound", "TooLarge", "Unavailable"),
            },
        }
    }


def _errors(*names: str) -> Part:
    return {str(_RESPONSES[name][1][0].status): {"$ref": f"#/components/responses/{name}"} for name in names}


def _response(meaning: str, kinds: tuple[Problem, ...]) -> Part:
    return {
        "description": meaning,
        **({"headers": _HEADERS[kinds[0].status]} if kinds[0].status in _HEADERS else {}),
        "content": {
            problems.MEDIA_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"type": {"enum": [kind.type for kind in kinds]}}},
                    ]
                },
                "examples": {kind.type.rpartition(":")[2]: {"value": msgspec.to_builtins(kind)} for kind in kinds},
            }
        },
    }


def _security(courier: Courier) -> Part:
    credentials = courier.credentials
    if credentials.scheme:
        return {"type": "http", "scheme": credentials.scheme.lower()}
    name = declared()[credentials.header_setting].default if credentials.header_setting else credentials.header
    return {
        "type": "apiKey",
        "in": "header",
        "name": name,
        "description": "The header's name is the door's setting; this is its default.",
    }
