"""A page of an OpenAPI document: each address with what it takes and answers, and the shapes of its values."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from console import openapi as console_openapi
from ingest import openapi

Part = Mapping[str, Any]

FILES: Final = {
    "docs/door-api.md": openapi,
    "docs/console-api.md": console_openapi,
}
"""The pages, each with the module that makes its document."""


def pages() -> dict[str, str]:
    """Return each page by its file."""
    return {file: page(made.document(), made.FILE) for file, made in FILES.items()}


def page(document: Part, file: str) -> str:
    """Return a page of the document that stands in `file`."""
    parts = document["components"]
    title = document["info"]["title"]
    lines = [
        f"# The HTTP API of {title}\n",
        f"{document['info']['description']}\n",
        f"For programs: [`{file}`](../{file}), OpenAPI {document['openapi']}. Written by `make schemas`.\n",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += _operation(f"{method.upper()} {path}", operation, parts["schemas"])
    lines.append("## Refusals\n\n| answer | means | body |\n|---|---|---|")
    for code, answer in sorted(_refusals(document).items()):
        lines.append(f"| {code} | {_line(answer['description'])} | {_contents(answer, parts['schemas'])} |")
    lines.append("\n## Values\n")
    for name, schema in parts["schemas"].items():
        lines += _value(name, schema, parts["schemas"])
    return "\n".join(lines)


def _operation(name: str, operation: Part, schemas: Part) -> Iterator[str]:
    yield f"## {name}\n"
    for paragraph in (operation.get("description") or operation["summary"]).split("\n\n"):
        yield f"{_line(paragraph)}\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | type |\n|---|---|---|"
        yield from (f"| `{each['name']}` | {each['in']} | {_type(each['schema'], schemas)} |" for each in parameters)
        yield ""
    if "requestBody" in operation:
        yield f"Body: {_contents(operation['requestBody'], schemas)}\n"
    yield "| answer | means | body |\n|---|---|---|"
    for code, answer in operation["responses"].items():
        if "$ref" not in answer:
            yield f"| {code} | {_line(answer['description'])} | {_contents(answer, schemas)} |"
    refused = [code for code, answer in operation["responses"].items() if "$ref" in answer]
    yield f"\nOr [a refusal](#refusals): {', '.join(refused)}.\n" if refused else ""


def _refusals(document: Part) -> dict[str, Part]:
    """Return each refusal by its code."""
    return {
        code: document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        for methods in document["paths"].values()
        for operation in methods.values()
        for code, answer in operation["responses"].items()
        if "$ref" in answer
    }


def _value(name: str, schema: Part, schemas: Part) -> Iterator[str]:
    yield f"### {_title(name, schemas)}\n"
    if "description" in schema:
        yield f"{_line(schema['description'])}\n"
    if "enum" in schema:
        yield f"{', '.join(f'`{each}`' for each in schema['enum'])}\n"
    if schema.get("properties"):
        yield "| field | type | |\n|---|---|---|"
        for field, of in schema["properties"].items():
            missing = "" if field in schema.get("required", ()) else "May be missing."
            said = " ".join(part for part in (_line(of.get("description", "")), missing) if part)
            yield f"| `{field}` | {_type(of, schemas)} | {said} |"
        yield ""


def _title(name: str, schemas: Part) -> str:
    """Return what a value is called: without the modules of what it is made of."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(schemas[name].get("title", name)))


def _contents(holder: Part, schemas: Part) -> str:
    kinds = [
        f"`{kind}`" + (f": {_type(content['schema'], schemas)}" if "schema" in content else "")
        for kind, content in holder.get("content", {}).items()
    ]
    return "; ".join(kinds) or "none"


def _type(schema: Part, schemas: Part) -> str:
    match schema:
        case {"$ref": reference}:
            title = _title(reference.rpartition("/")[2], schemas)
            return f"[{title.replace('[', chr(92) + '[').replace(']', chr(92) + ']')}](#{anchor(title)})"
        case {"allOf": [first, *_]}:
            return _type(first, schemas)
        case {"anyOf": kinds} | {"oneOf": kinds}:
            return " or ".join(dict.fromkeys(_type(kind, schemas) for kind in kinds))
        case {"type": "array", "items": items}:
            return f"list of {_type(items, schemas)}"
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": list() as kinds}:
            return " or ".join(kinds)
        case {"type": str() as kind}:
            return f"{kind} ({schema['format']})" if "format" in schema else kind
        case _:
            return "anything"


def anchor(title: str) -> str:
    """Return what a heading is called in links to it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
