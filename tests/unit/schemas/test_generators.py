"""Python that `datamodel-code-generator` makes of the exported schemas takes every example and what may be added."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pydantic
import pytest
from datamodel_code_generator import InputFileType, PythonVersion, generate
from datamodel_code_generator.enums import DataModelType
from datamodel_code_generator.format import Formatter

from schemas.export import FOLDER
from schemas.topics import Topic
from schemas.vocabulary import Status
from tests.unit.schemas.examples import EXAMPLES, ROOT

TYPES: Final = {
    Topic.EVENTS: "ShipmentEvents",
    Topic.STATE: "ShipmentState",
    Topic.ANOMALIES: "ShipmentAnomalies",
}
"""What the generated types are called: by the schema's title, the topic."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Topic, ModuleType]]:
    """The modules made of the schemas, imported."""
    folder = tmp_path_factory.mktemp("generated")
    found = {}
    for topic, name in TYPES.items():
        file = folder / f"{name.lower()}.py"
        generate(
            ROOT / FOLDER / f"{topic}.v1.schema.json",
            input_file_type=InputFileType.JsonSchema,
            output=file,
            output_model_type=DataModelType.PydanticV2BaseModel,
            target_python_version=PythonVersion.PY_311,
            formatters=[Formatter.BUILTIN],
        )
        found[topic] = imported(file)
    yield found
    for module in found.values():
        del sys.modules[module.__name__]


def imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def examples_of(topic: Topic) -> list[Any]:
    return [json.loads(path.read_bytes()) for path in sorted(EXAMPLES.glob(f"{topic}.v1.*.json"))]


@pytest.mark.parametrize("topic", TYPES)
def test_it_takes_every_example_and_gives_it_back(topic: Topic, generated: dict[Topic, ModuleType]) -> None:
    model = getattr(generated[topic], TYPES[topic])
    examples = examples_of(topic)
    assert len(examples) >= 3
    for example in examples:
        written = model.model_validate(example).model_dump(mode="json")
        assert written.keys() == example.keys()
        assert {name: written[name] for name in ("status", "raw", "courier")} == {
            name: example[name] for name in ("status", "raw", "courier")
        }


@pytest.mark.parametrize("topic", TYPES)
def test_it_goes_on_when_fields_and_values_are_added(topic: Topic, generated: dict[Topic, ModuleType]) -> None:
    model = getattr(generated[topic], TYPES[topic])
    for example in examples_of(topic)[:1]:
        read = model.model_validate({**example, "status": "MELTED", "something_new": 1})
        assert read.model_dump(mode="json")["status"] == "MELTED"


def test_known_values_have_a_type_of_their_own(generated: dict[Topic, ModuleType]) -> None:
    module = generated[Topic.EVENTS]
    assert [member.value for member in module.KnownStatus] == [*Status]


def test_it_refuses_what_leaves_out_what_is_always_written(generated: dict[Topic, ModuleType]) -> None:
    carrier = generated[Topic.EVENTS].Carrier
    carrier.model_validate({"code": "jne", "service": None})
    with pytest.raises(pydantic.ValidationError):
        carrier.model_validate({"code": "jne"})
