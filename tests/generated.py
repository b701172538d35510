"""Every file that is made from the code: schemas, examples, OpenAPI, AsyncAPI, drawings, pages, dashboards, the chart.

`python -m tests.generated` writes them, run by `make schemas`; `tests/unit/test_generated.py` fails when a file and the
code differ.
"""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cli.terminal.console import GuardedConsole
from cli.terminal.trial_tree import trees
from console import openapi as console_openapi
from deploy import asyncapi_page, chart, dashboards, metrics_page
from docs.site import commands_page, http_page, settings_page
from ingest import openapi
from operators.trial.report import Body
from operators.trial.run import Bench, samples_of, try_webhooks
from runtime import asyncapi
from runtime.settings import load_settings
from schemas import export
from schemas.couriers import COURIERS
from tests.unit import layers
from tests.unit.schemas import examples

ROOT: Final = Path(__file__).parents[1]
COURIER: Final = "tests/becak/__init__.py"
COURIER_PAGE: Final = "docs/adding-a-courier.md"

TRIED: Final = "schemas/couriers/dash/samples/logistic/failed.json"


def _shown(name: str, content: str, page: str) -> str:
    """Put something into its place on a page."""
    place = re.compile(rf"(?<=<!-- shown: {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    return place.sub(lambda _: content, page)


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
    """Return the page on adding a courier with the made-up courier and a body that is tried in their places."""
    code = (ROOT / COURIER).read_text()
    page = _shown("becak", f"\n```python\n{code}```\n\n", (ROOT / COURIER_PAGE).read_text())
    return _shown("trial", f"\n```text\n{trial()}```\n\n", page)


def trial() -> str:
    """Return what `waybill courier try` shows of a sample of Dash."""
    courier = COURIERS["dash"]
    samples = samples_of(courier, [path.read_bytes() for path in sorted((ROOT / TRIED).parents[1].rglob("*.json"))])
    bench = Bench(courier, load_settings({}), samples, datetime(2025, 6, 1, 12, tzinfo=UTC))
    out = io.StringIO()
    screen = GuardedConsole(file=out, width=118, highlight=False)
    for tree in trees(try_webhooks(bench, [Body("body.json", (ROOT / TRIED).read_bytes())])):
        screen.print(tree)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


if __name__ == "__main__":
    for name, content in generated().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_bytes(content)
