"""What a hostile courier would write into every field, and what may reach a terminal of it: nothing."""

import unicodedata
from typing import Final

HOSTILE: Final = "\x1b[2J\x1b]0;x\x07\x9b31m\x7f\x85\u202eL\u2066\u200b\ufeff\u2028\r\nwaybill: ok\tX"
"""Clears the screen, sets the title, turns text around, hides in it, and begins lines of its own. 60 bytes at most."""

UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control characters, formats such as the direction of writing, surrogates, separators."""


def commanding(text: str) -> list[str]:
    """Return the characters of a printed text that are not text: all that command a terminal, but for line feeds."""
    return sorted({character for character in text if character != "\n" and unicodedata.category(character) in UNSEEN})
