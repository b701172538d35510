"""What the pages name is there: files, headings, commands of make, the glossary's names, what hooks run."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GLOSSARY: Final = ROOT / "docs" / "glossary.md"

_CODE: Final = re.compile(r"```.*?```", re.DOTALL)
_LINK: Final = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_MAKE: Final = re.compile(r"\bmake ([a-z][a-z-]*)(?=[`\s)])")
_TARGET: Final = re.compile(r"^([a-z-]+):", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links to it."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in _LINK.findall(_CODE.sub("", page.read_text())):
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), path
        assert not anchor or anchor in anchors(there), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_knows_what_the_pages_tell_to_run(page: Path) -> None:
    spans = re.findall(r"`[^`]*`", page.read_text())
    named = {target for span in [*spans, *_CODE.findall(page.read_text())] for target in _MAKE.findall(span)}
    assert named <= set(_TARGET.findall((ROOT / "Makefile").read_text()))


def test_the_hooks_run_what_make_check_runs() -> None:
    """By the tools of `.venv`: no hook comes from elsewhere."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.+)", hooks) == ["local"]
    makefile = (ROOT / "Makefile").read_text()
    checks = makefile.partition("\nstatic: ")[2].partition("\n\n")[0]
    made = set(re.findall(r"\$\(BIN\)/(\S+(?: format| check)?)", checks))
    assert set(re.findall(r"entry: \.venv/bin/(\S+(?: format| check)?)", hooks)) == made


def test_the_changelog_knows_the_newest_version() -> None:
    released = re.findall(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert released[0] == project["version"]


def glossary() -> list[tuple[str, str, str]]:
    """Return the words with what they are and where."""
    rows = [line.strip("| ").split(" | ") for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    return [(row[0], row[1], row[2]) for row in rows if row[0] != "word"]


def test_each_word_has_one_meaning() -> None:
    repeated = [word for word, count in Counter(word for word, _, _ in glossary()).items() if count > 1]
    assert repeated == []
    assert len(glossary()) > 40


@pytest.mark.parametrize("row", glossary(), ids=lambda row: row[0])
def test_each_word_is_where_the_glossary_says(row: tuple[str, str, str]) -> None:
    path, *names = re.findall(r"`([^`]+)`", row[2])
    text = (ROOT / path).read_text()
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
