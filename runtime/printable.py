"""Text as it may be shown: what couriers write could command a terminal, or show its reader what is not there. Pure.

What has no shape of its own is written as an escape: control characters, line separators, what turns the direction of
writing, what takes no room.
"""

import re
from typing import Final

_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks without a shape: `str.isprintable` lets them through (Unicode: Default_Ignorable_Code_Point)."""

_PLAIN: Final = re.compile(r"[ -~]*", re.ASCII)
_UNUSUAL: Final = re.compile(r"[^\n -~]", re.ASCII)


def printable(text: str) -> str:
    """Return a text on one line: a line feed in it is shown as `\\n`, an escape character as `\\x1b`."""
    if _PLAIN.fullmatch(text) or _is_shown(text):
        return text
    return "".join(each if _is_shown(each) else _escape(each) for each in text)


def printable_lines(text: str) -> str:
    """Return a text whose line feeds and tabs are our own, the rest as `printable`."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def printable_json(text: str) -> str:
    """Return a JSON text of the same value in which strings hold escapes for what is not shown.

    Line feeds between tokens stay.
    """
    return _UNUSUAL.sub(lambda found: found[0] if _is_shown(found[0]) else _json_escape(found[0]), text)


def _is_shown(text: str) -> bool:
    return text.isprintable() and not _INVISIBLE.search(text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
