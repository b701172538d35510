"""What the repository's Markdown has and MyST does not know: diagrams, and links to files that are no pages."""

import html
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FILES: Final = "files"
"""The folder of the site that has the files."""


class Mermaid(SphinxDirective):
    """A diagram, which the browser draws."""

    has_content: ClassVar = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram's text, as the script looks for it."""
        return [
            nodes.raw("", f'<pre class="mermaid">{html.escape(os.linesep.join(self.content))}</pre>', format="html")
        ]


def draw_diagrams(app: Sphinx, _page: str, _template: str, _context: dict[str, Any], doctree: nodes.document) -> None:
    """Give the scripts to a page that has diagrams."""
    if doctree and any('class="mermaid"' in raw.astext() for raw in doctree.findall(nodes.raw)):
        for script in ("mermaid.min.js", "diagrams.js"):
            app.add_js_file(script)


def lead_to_files(app: Sphinx, doctree: nodes.document) -> None:
    """Let each link to a file that is no page, or to a folder, lead to its text."""
    for link in [*doctree.findall(addnodes.download_reference), *doctree.findall(addnodes.pending_xref)]:
        relative = _repository_file(app, link)
        if relative is not None:
            linked_files(app).add(relative)
            up = "../" * app.env.docname.count("/")
            link.replace_self(
                nodes.reference("", "", *link.children, internal=True, refuri=f"{up}{_file_of(relative)}")
            )


def _repository_file(app: Sphinx, link: nodes.Element) -> str | None:
    """Return the file or folder that a link leads to, from the repository's root; `None` for a page."""
    if link.get("refdomain") == "doc":  # MyST takes every Markdown file for a page
        relative = f"{link['reftarget']}.md"
        is_page = link["reftarget"] in app.env.found_docs
    else:
        relative, path = app.env.relfn2path(link["reftarget"], app.env.docname)
        is_page = app.env.path2doc(path) in app.env.found_docs
    return None if is_page or not (Path(app.srcdir) / relative).exists() else relative


def show_files(app: Sphinx, error: Exception | None) -> None:
    """Write beside the pages what links lead to: a file as a text, of a folder what is in it.

    An HTML page comes as it is, with its folder.
    """
    for relative in linked_files(app) if error is None else ():
        path, there = Path(app.srcdir) / relative, Path(app.outdir) / _file_of(relative)
        if path.suffix == ".html":
            shutil.copytree(path.parent, there.parent, dirs_exist_ok=True)
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(_listing(path) if path.is_dir() else path.read_text())


def linked_files(app: Sphinx) -> set[str]:
    """Return the files and folders that links lead to, from the repository's root. A build begins with none."""
    found: set[str] = app.env.__dict__.setdefault("waybill_linked_files", set())
    return found


def _file_of(relative: str) -> str:
    return relative if relative.endswith(".html") else f"{FILES}/{relative}.txt"


def _listing(path: Path) -> str:
    names = sorted(each.name + "/" * each.is_dir() for each in path.iterdir() if not each.name.startswith(("__", ".")))
    return "".join(f"{name}\n" for name in names)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register all of it."""
    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", draw_diagrams)
    app.connect("doctree-read", lead_to_files, priority=100)
    app.connect("build-finished", show_files)
    return {"parallel_read_safe": False}
