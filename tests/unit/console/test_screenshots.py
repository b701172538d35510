"""The docs show each page of the console."""

from pathlib import Path
from typing import Final

from console.pages import PAGES

DOCS: Final = Path(__file__).parents[3] / "docs"
OTHERS: Final = {"action", "login"}
"""What an action would do, with its form; and the log-in."""

MOST_BYTES: Final = 150_000


def test_each_page_has_its_picture_in_the_docs() -> None:
    """A page without one: `make screenshots` takes it, and docs/console.md shows it."""
    pictures = {file.stem: file for file in (DOCS / "images" / "console").iterdir()}
    assert set(pictures) == {page.name for page in PAGES} | OTHERS
    assert [name for name, file in pictures.items() if not 1_000 < file.stat().st_size < MOST_BYTES] == []
    text = (DOCS / "console.md").read_text()
    assert [name for name in pictures if f"(images/console/{name}.webp)" not in text] == []
