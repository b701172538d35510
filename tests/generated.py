"""Every file that is made from the code: schemas, examples, OpenAPI, AsyncAPI, drawings, pages, dashboards, the chart.

`python -m tests.generated` writes them, run by `make schemas`; `tests/unit/test_generated.py` fails when a file and the
code differ.
"""

import re
from pathlib import Path
from typing import Final

from console import openapi as console_openapi
from deploy import asyncapi_page, chart, dashboards, metrics_page
from docs.site import commands_page, http_page, settings_page
from ingest import openapi
from runtime import asyncapi
from schemas import export
from tests.unit import layers
from tests.unit.schemas import examples

ROOT: Final = Path(__file__).parents[1]
COURIER: Final = "tests/becak/__init__.py"
COURIER_PAGE: Final = "docs/adding-a-courier.md"

_SHOWN: Final = re.compile(r"(?<=<!-- shown: becak -->\n).*?(?=<!-- end -->)", re.DOTALL)


def generated() -> dict[str, bytes]:
    """Return the content of every generated file by its path from the project's root."""
    described = asyncapi.text(examples.shown())
    texts = {
        **export.documents(),
        openapi.FILE: openapi.text(),
        console_openapi.FILE: console_openapi.text(),
        asyncapi.FILE: described,
        asyncapi_page.FILE: asyncapi_page.page(described),
        str(layers.PAGE.relative_to(ROOT)): layers.page(),
        COURIER_PAGE: courier_page(),
        metrics_page.FILE: metrics_page.page(),
        settings_page.FILE: settings_page.page(),
        commands_page.FILE: commands_page.page(),
        **http_page.pages(),
        **dashboards.documents(),
        **chart.documents(),
    }
    return {**{path: text.encode() for path, text in texts.items()}, **examples.missing()}


def courier_page() -> str:
    """Return the page on adding a courier with the made-up courier in its place."""
    code = (ROOT / COURIER).read_text()
    return _SHOWN.sub(lambda _: f"\n```python\n{code}```\n\n", (ROOT / COURIER_PAGE).read_text())


if __name__ == "__main__":
    for name, content in generated().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(content)
