"""The layers as the code has them: which package imports which, and which modules are pure.

`make schemas` draws them into `docs/architecture.md`.
"""

import re
import tomllib
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import grimp

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "architecture.md"

PURE: Final = "Pure modules do no I/O"
"""The name of the contract that lists them."""

_DRAWN: Final = re.compile(r"(?<=<!-- drawn: layers -->\n).*?(?=<!-- end -->)", re.DOTALL)

Arrows = Collection[tuple[str, str]]
"""Who imports whom, by package."""


def contracts() -> dict[str, Any]:
    """Return what import-linter is told in `pyproject.toml`."""
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return told


def layers() -> list[list[str]]:
    """Return the declared layers, the highest first; packages of one layer do not know each other."""
    (declared,) = [each["layers"] for each in contracts()["contracts"] if each["name"] == "Layers"]
    return [layer.split(" | ") for layer in declared]


def pure_modules() -> list[str]:
    """Return the packages and modules that may do no I/O."""
    (declared,) = [each["source_modules"] for each in contracts()["contracts"] if each["name"] == PURE]
    return sorted(declared)


def imports() -> set[tuple[str, str]]:
    """Return which package imports which, found in the code."""
    graph = grimp.build_graph(*contracts()["root_packages"], cache_dir=None)
    found = ((one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one))
    return {(one.partition(".")[0], other.partition(".")[0]) for one, other in found} - {
        (package, package) for package in contracts()["root_packages"]
    }


def direct(arrows: Arrows) -> list[tuple[str, str]]:
    """Return the arrows that do not follow from the others.

    Raises:
        graphlib.CycleError: they lead in a circle.

    """
    graph: dict[str, set[str]] = {}
    for one, other in arrows:
        graph.setdefault(one, set()).add(other)
    TopologicalSorter(graph).prepare()
    longer = {(one, last) for one, middle in arrows for last in _reached(middle, arrows)}
    return sorted(set(arrows) - longer)


def _reached(package: str, arrows: Arrows) -> Iterator[str]:
    for one, other in arrows:
        if one == package:
            yield other
            yield from _reached(other, arrows)


def drawing() -> str:
    """Return the picture and the list of pure modules, as the page has them."""
    lines = ["```mermaid", "flowchart TB"]
    for number, layer in enumerate(layers(), start=1):
        lines += [f'    subgraph layer{number}[" "]', *(f"        {package}" for package in layer), "    end"]
    lines += [f"    {one} --> {other}" for one, other in direct(imports())]
    by_package: dict[str, list[str]] = {}
    for module in pure_modules():
        package, _, name = module.partition(".")
        by_package.setdefault(package, []).extend([f"`{name}`"] if name else [])
    pure = [f"`{package}/`: {', '.join(names) or 'all of it'}" for package, names in by_package.items()]
    return "\n".join([*lines, "```", "", "Pure are:", "", *(f"- {line}" for line in pure), ""])


def page() -> str:
    """Return the page with today's drawing in its place."""
    return _DRAWN.sub(lambda _: f"\n{drawing()}\n", PAGE.read_text())
