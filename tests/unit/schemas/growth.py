"""What a schema no longer promises that an older one of the same version promised. Pure.

Within a version fields, required fields and known values only grow. A field keeps its types: one that could not be null
does not become so. An enumeration that takes any text goes on taking any.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Schema = Mapping[str, Any]

_KEPT = ("const", "format", "pattern")
"""Keywords whose value stays as it is."""


class Shape(msgspec.Struct):
    """What is valid at one place, its references and alternatives put together. `known`: the words that are named."""

    types: set[str] = set()
    known: set[str] = set()
    is_open: bool = False
    fields: dict[str, Schema] = {}
    required: set[str] = set()
    items: Schema | None = None
    kept: dict[str, str] = {}


def broken_promises(released: Schema, current: Schema) -> list[str]:
    """Return where the current schema says less than the released one, a line each; nothing where it only grew."""
    return list(_compare("", (released, released), (current, current)))


def _compare(place: str, released: tuple[Schema, Schema], current: tuple[Schema, Schema]) -> Iterator[str]:
    """Compare two definitions, each given with the document that it refers to."""
    old, new = _shape(*released), _shape(*current)
    where = place or "the value"
    if old.types != new.types:
        yield f"{where}: was {'|'.join(sorted(old.types))}, is {'|'.join(sorted(new.types))}"
    for word in sorted(old.known - new.known):
        yield f"{where}: {word} is no known value any more"
    if old.known and old.is_open != new.is_open:
        yield f"{where}: takes {'any text' if new.is_open else 'known values alone'}, which it did not"
    for keyword in sorted({*old.kept, *new.kept}):
        if old.kept.get(keyword) != new.kept.get(keyword):
            yield f"{where}: {keyword} was {old.kept.get(keyword)}, is {new.kept.get(keyword)}"
    for name in sorted(old.required - new.required):
        yield f"{place}/{name}: is not required any more"
    for name, field in sorted(old.fields.items()):
        if name not in new.fields:
            yield f"{place}/{name}: is gone"
        else:
            yield from _compare(f"{place}/{name}", (field, released[1]), (new.fields[name], current[1]))
    if old.items is not None and new.items is not None:
        yield from _compare(f"{place}[]", (old.items, released[1]), (new.items, current[1]))


def _shape(schema: Schema, document: Schema) -> Shape:
    shape = Shape()
    _add(shape, schema, document)
    return shape


def _add(shape: Shape, schema: Schema, document: Schema) -> None:
    """Put together what a definition, its alternatives and what it refers to allow."""
    if "$ref" in schema:
        definition = document["$defs"][schema["$ref"].rpartition("/")[2]]
        _add(shape, definition, document)
    for part in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        _add(shape, part, document)
    words = schema.get("enum", [])
    types = schema.get("type", ["string"] if words or "const" in schema else [])
    shape.types |= {types} if isinstance(types, str) else {*types}
    shape.known |= {*words}
    shape.is_open |= schema.get("type") == "string" and not words and "const" not in schema
    shape.fields |= schema.get("properties", {})
    shape.required |= {*schema.get("required", ())}
    shape.items = schema.get("items", shape.items)
    shape.kept |= {keyword: str(schema[keyword]) for keyword in _KEPT if keyword in schema}
