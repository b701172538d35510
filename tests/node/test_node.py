"""The exported schemas through tools that run in Node: AsyncAPI's parser, generators of TypeScript, its compiler."""

import json
from typing import Any, Final

import pytest

from runtime import asyncapi
from schemas.export import FOLDER
from tests.node.conftest import Node
from tests.unit.schemas.examples import EXAMPLES, ROOT

VALUES: Final = {
    "ShipmentEvent": "shipment.events",
    "ShipmentState": "shipment.state",
    "ShipmentAnomaly": "shipment.anomalies",
}
"""What the generated types are called, and the topics of the values."""

TYPES: Final = {
    "ShipmentEvent": "ShipmentEvents",
    "ShipmentState": "ShipmentState",
    "ShipmentAnomaly": "ShipmentAnomalies",
}
"""What json-schema-to-typescript calls them: by the schema's title, the topic."""


def examples_of(topic: str) -> list[Any]:
    return [json.loads(path.read_bytes()) for path in sorted(EXAMPLES.glob(f"{topic}.v1.*.json"))]


def test_asyncapis_parser_has_nothing_against_the_document(node: Node) -> None:
    broken = json.loads((ROOT / asyncapi.FILE).read_bytes())
    del broken["components"]["schemas"]["Status"]
    (node.folder / "broken.json").write_text(json.dumps(broken))
    ours, wrong = json.loads(node.run("parse.mjs", ROOT / asyncapi.FILE, node.folder / "broken.json"))
    assert ours == {"isValid": True, "codes": []}
    assert not wrong["isValid"]
    assert set(wrong["codes"]) == {"invalid-ref"}


@pytest.fixture(scope="module")
def generated(node: Node) -> Node:
    """TypeScript of each schema, by both generators, beside every example as a literal of its type."""
    schemas = [
        {"name": name, "schema": json.loads((ROOT / FOLDER / f"{topic}.v1.schema.json").read_bytes())}
        for name, topic in VALUES.items()
    ]
    (node.folder / "schemas.json").write_text(json.dumps(schemas))
    node.run("generate.mjs", node.folder / "schemas.json", node.folder)
    return node


def test_typescript_of_the_schemas_compiles_and_takes_every_example(generated: Node) -> None:
    literals = [
        f"import type {{ {TYPES[name]} }} from './{name}.mjs';\n"
        + "".join(f"({json.dumps(value)}) satisfies {TYPES[name]};\n" for value in examples_of(topic))
        for name, topic in VALUES.items()
    ]
    known = (
        "import type { KnownStatus, ShipmentEvents, Status } from './ShipmentEvent.mjs';\n"
        "const known: KnownStatus = 'DELIVERED'; const unknown: Status = 'SHIPPED_TO_THE_MOON';\n"
        "// @ts-expect-error - known values are named\n"
        "const misspelt: KnownStatus = 'DELIVERD';\n"
        "// @ts-expect-error - what is always written is required\n"
        "const carrier: NonNullable<ShipmentEvents['carrier']> = { code: 'jne' };\n"
        "export { known, unknown, misspelt, carrier };\n"
    )
    files = {f"Examples{number}.mts": text for number, text in enumerate([*literals, known])}
    for file, text in files.items():
        (generated.folder / file).write_text(text)
    written = [*files, *(f"{name}.quicktype.mts" for name in VALUES)]
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "--outDir", "compiled"]
    generated.run("node_modules/typescript/bin/tsc", *options, *written)
    examples = [{"name": name, "value": value} for name, topic in VALUES.items() for value in examples_of(topic)]
    (generated.folder / "examples.json").write_text(json.dumps(examples))
    decoded = generated.run("decode.mjs", generated.folder / "examples.json", generated.folder / "compiled")
    assert int(decoded) == len(examples) > 30
