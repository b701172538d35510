"""The pages of the documentation, and the blocks of code in them."""

from pathlib import Path
from typing import Final

import msgspec
from markdown_it import MarkdownIt

ROOT: Final = Path(__file__).parents[1]
_PARSER: Final = MarkdownIt("commonmark").enable("table").disable("inline")
"""What stands within a line takes half the time, and is no block."""

PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])


class Block(msgspec.Struct, frozen=True):
    """A block of code in a page. An indented one has no tag of its own: it is what a person types into a shell."""

    page: Path
    line: int
    tag: str
    text: str

    def __str__(self) -> str:
        """Say where it stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return every block of code of a page."""
    tokens = _PARSER.parse(page.read_text())
    return [
        Block(
            page, (token.map or [0])[0] + 1, "sh" if token.type == "code_block" else token.info.strip(), token.content
        )
        for token in tokens
        if token.type in {"fence", "code_block"}
    ]
