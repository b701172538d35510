"""What the pages name is there: files, headings, commands of make, the glossary's names, what hooks run."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import yaml

from cli.main import command_line
from docs.site.http_page import anchor
from tests.pages import PAGES, ROOT, Block, blocks_of

GLOSSARY: Final = ROOT / "docs" / "glossary.md"

_CODE: Final = re.compile(r"```.*?```", re.DOTALL)
_LINK: Final = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_MAKE: Final = re.compile(r"\bmake ([a-z][a-z-]*)(?=[`\s)])")
_TARGET: Final = re.compile(r"^([a-z-]+):", re.MULTILINE)
_SETTING: Final = re.compile(r"\w+=.*", re.DOTALL)
_INTO: Final = frozenset({">", ">>", "<"})
_ENDS: Final = frozenset({"&&", "||", "|", ";", "&", "(", ")"}) | _INTO
_NODE: Final = r"[\w-]+(?:[\[({].*[\])}])?"
_MERMAID: Final = {
    "flowchart": rf"subgraph .+|end|{_NODE}(?: (?:-->|-- .+ -->|-\. .+ \.->|-\.->|---) {_NODE})*",
    "sequenceDiagram": r"(?:participant|loop|alt|else|opt|par|and|note|Note) .+|end|\w+ ?-+>>?[+-]?\w+: .+",
    "stateDiagram-v2": r"direction \w+|(?:\[\*\]|\w+) --> (?:\[\*\]|\w+)(?: ?: .+)?|(?:state|note|classDef|class) .+",
}
"""The kinds of drawing that we make, and what the lines behind the first look like."""

BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links to it."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    return {anchor(heading) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path, heading in _LINK.findall(_CODE.sub("", page.read_text())):
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), path
        assert not heading or heading in anchors(there), f"{path}#{heading}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_knows_what_the_pages_tell_to_run(page: Path) -> None:
    spans = re.findall(r"`[^`]*`", page.read_text())
    named = {target for span in [*spans, *_CODE.findall(page.read_text())] for target in _MAKE.findall(span)}
    assert named <= targets()


def targets() -> set[str]:
    return set(_TARGET.findall((ROOT / "Makefile").read_text()))


def programs(text: str) -> Iterator[list[str]]:
    """Return the programs that a piece of shell runs, each with its arguments, as the shell takes it apart."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words: list[str] = []
        found = [*lexer, ";"]
        for before, word in zip(["", *found], found, strict=False):
            if word in _ENDS:
                if words and word not in _INTO:
                    yield words
                    words = []
            elif before not in _INTO and (words or not _SETTING.fullmatch(word)):
                words.append(word)


def parse_shell(text: str) -> None:
    """Parse it by the shell, each `waybill …` by the command line's own parser, each `make …` by the Makefile."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for name, *words in programs(text):
        match Path(name).name:
            case "waybill":
                command_line({words[0]}).parse_args(words)
            case "make":
                assert {word for word in words if "=" not in word} <= targets()
            case other:
                assert other in OTHERS or (ROOT / name).is_file(), f"{name}: nobody knows this program"


OTHERS: Final = frozenset(
    {
        "cd",
        "cp",
        "mkdir",
        "export",
        "caddy",
        "curl",
        "docker",
        "helm",
        "kubectl",
        "pg_dump",
        "pg_restore",
        "psql",
        "python3",
        "pip",
        "python",
        "mvn",
        "java",
        "npm",
        "go",
        "echo",
        "sed",
    }
)
"""Programs that the pages use, besides ours. What they are told is tried where the page is: see the page."""


def parse_sql(text: str) -> None:
    """Look whether it is statements; `test_subscribing.py` runs those for subscribers."""
    assert text.rstrip().endswith(";")


def parse_javascript(text: str) -> None:
    """Parse it by Node, where it is; `test_subscribing.py` runs it."""
    if (node := shutil.which("node")) is None:
        pytest.skip("no node: blocks of JavaScript in the pages")
    subprocess.run([node, "--input-type=module", "--check"], input=text, text=True, check=True)


def parse_mermaid(text: str) -> None:
    """Know the kind, and each line as one of it."""
    kind, *lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    shape = _MERMAID[kind.partition(" ")[0]]
    assert [line for line in lines if not re.fullmatch(shape, line)] == []


def parse_output(text: str) -> None:
    """Check that it can be what a command printed: `make schemas` writes it."""
    assert all(line.isprintable() for line in text.splitlines())


def parse_toctree(text: str) -> None:
    """Check a part of the site's contents: a heading, perhaps an option, then pages or a pattern of pages."""
    for line in text.splitlines():
        if line.startswith(":"):
            assert re.fullmatch(r":glob:|:caption: .+", line), line
        else:
            assert list((ROOT / "docs").glob(f"{line}.md")), line


PARSERS: Final[dict[str, Callable[[str], object]]] = {
    "sh": parse_shell,
    "python": ast.parse,
    "json": json.loads,
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "sql": parse_sql,
    "js": parse_javascript,
    "mermaid": parse_mermaid,
    "{toctree}": parse_toctree,
    "text": parse_output,
}
"""Who parses a block of each tag. A tag that is not here is refused: give it a parser first."""


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_each_block_of_code_is_what_its_tag_says(block: Block) -> None:
    """A block without a tag is refused, too: nobody could say what is in it."""
    PARSERS[block.tag](block.text)


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("sh", "if true; then\n"),
        ("sh", "waybill shipment shew S"),
        ("sh", "cd x && waybill replay run --sinse 3d | cat"),
        ("sh", "make tea"),
        ("sh", "A=b nomad status"),
        ("python", "def :"),
        ("json", "{'a': 1}"),
        ("yaml", "a: [1"),
        ("toml", "a = "),
        ("sql", "select 1"),
        ("js", "export function ("),
        ("mermaid", "flowchart LR\n  a ~~> b"),
        ("mermaid", "pie\n  a"),
        ("{toctree}", "nowhere"),
        ("text", "a bell \a"),
    ],
)
def test_what_is_not_so_is_found(tag: str, text: str) -> None:
    with pytest.raises(
        (AssertionError, KeyError, ValueError, SyntaxError, SystemExit, subprocess.CalledProcessError, yaml.YAMLError)
    ):
        PARSERS[tag](text)


def test_the_hooks_run_what_make_check_runs() -> None:
    """By the tools of `.venv`: no hook comes from elsewhere."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.+)", hooks) == ["local"]
    makefile = (ROOT / "Makefile").read_text()
    checks = makefile.partition("\nstatic: ")[2].partition("\n\n")[0]
    made = set(re.findall(r"\$\(BIN\)/(\S+(?: format| check)?)", checks))
    assert set(re.findall(r"entry: \.venv/bin/(\S+(?: format| check)?)", hooks)) == made


def test_the_changelog_and_the_page_on_deploying_know_the_newest_version() -> None:
    released = re.findall(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert released[0] == project["version"]
    assert re.findall(r"waybill:([0-9.]+)", (ROOT / "docs" / "deploying.md").read_text()) == [released[0]] * 2


def test_each_version_has_a_section_on_upgrading_to_it() -> None:
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    headings = _HEADING.findall((ROOT / "docs" / "upgrading.md").read_text())
    assert [f"{older} → {newer}" for newer, older in pairwise(versions)] == [
        heading for heading in headings if "→" in heading
    ]


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


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-otel.txt", "examples/python/requirements.txt"])
def test_what_is_installed_is_tried_with_the_versions_of_its_lock_file(file: str) -> None:
    pinned, tried = (
        set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(), re.MULTILINE))
        for name in (file, "requirements-dev.txt")
    )
    assert pinned
    assert pinned - tried == set()


def test_no_subscriber_is_long() -> None:
    sources = [file for kind in ("py", "java", "ts", "go") for file in (ROOT / "examples").glob(f"*/*.{kind}")]
    assert {file.parent.name for file in sources} == {"python", "java", "typescript", "go"}
    assert [file.name for file in sources if len(file.read_text().splitlines()) > 120] == []
