"""How Sphinx builds the site of the repository's Markdown: `make docs`."""

import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[2]

project = "Waybill"
release = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
extensions = ["docs.site.markdown", "myst_parser"]
root_doc = "docs/contents"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = ["docs/site", *(each.name for each in _ROOT.iterdir() if each.is_dir() and each.name != "docs")]
nitpicky = True

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_title = f"Waybill {release}"
html_favicon = str(_ROOT / "console/static/icon.svg")
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "index.html"}
html_copy_source = False
templates_path = ["templates"]
