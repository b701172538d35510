"""Every file that is made from the code: schemas, examples, the OpenAPI document, drawings.

`python -m tests.generated` writes them, run by `make schemas`; `tests/unit/test_generated.py` fails when a file and the
code differ.
"""

from pathlib import Path
from typing import Final

from ingest import openapi
from schemas import export
from tests.unit import layers
from tests.unit.schemas import examples

ROOT: Final = Path(__file__).parents[1]


def generated() -> dict[str, bytes]:
    """Return the content of every generated file by its path from the project's root."""
    texts = {
        **export.documents(),
        openapi.FILE: openapi.text(),
        str(layers.PAGE.relative_to(ROOT)): layers.page(),
    }
    return {**{path: text.encode() for path, text in texts.items()}, **examples.missing()}


if __name__ == "__main__":
    for name, content in generated().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(content)
