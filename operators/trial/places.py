"""Where in a body something stands: pieces, and what makes them unreadable. Pure."""

import re
from typing import Final

import msgspec

from schemas.records import UnreadableError
from schemas.tolerant_json import MAX_DEPTH, elements, members
from schemas.vocabulary import DeadLetterReason

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NAMED: Final = re.compile(r"\(byte (\d+)\)")
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


class Place(msgspec.Struct, frozen=True):
    """A place in a body: bytes before it, and line and column, from 1, for an editor. A column counts bytes."""

    byte: int
    line: int
    column: int


def place_in(body: bytes, byte: int) -> Place:
    """Return the place of a byte. One behind the body's end is the end."""
    before = body[:byte]
    return Place(len(before), before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1)


def begin_of(body: bytes, piece: bytes, start: int) -> int | None:
    """Return where a piece's own bytes begin in its body, behind `start` if they can; None: nothing of it stands there.

    A piece may be the body itself, a part of it, or be put together from parts: then the first entry of its lists says
    where it is, which is its item.
    """
    whole, single = _bytes_of(piece)
    for part in whole:
        found = body.find(part, start)
        if found >= 0 or (found := body.find(part)) >= 0:
            return found
    for part in single:
        entry = re.compile(rb"[\[,]\s*(" + re.escape(part) + rb")\s*(?=[,\]])")
        if place := entry.search(body, max(0, start - 1)):
            return place.start(1)
    return None


def fault_in(value: bytes, error: UnreadableError) -> int | None:
    """Return which byte makes a value unreadable; None: no single one does.

    What the decoder says of a text that is no JSON names the byte, counted behind a byte order mark, unless the text is
    no UTF-8, or was cut off.
    """
    text = value.removeprefix(_BYTE_ORDER_MARK)
    skipped = len(value) - len(text)
    if error.reason is DeadLetterReason.TOO_DEEP:
        return skipped + _too_deep(text)
    if error.reason is not DeadLetterReason.INVALID_JSON:
        return None
    if found := _NAMED.search(error.detail):
        return skipped + int(found[1])
    try:
        text.decode()
    except UnicodeDecodeError as broken:
        return skipped + broken.start
    return len(value)


def _bytes_of(piece: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return what tells where a piece is, best first: itself, its objects and lists; then other values of its lists."""
    values: list[bytes] = []
    entries: list[bytes] = []
    try:
        for value in members(piece).values():
            values.append(value)
            entries += elements(value) if value.startswith(b"[") else []
    except UnreadableError:
        pass
    whole = [each for each in (*entries, *values) if each.startswith((b"{", b"["))]
    return [piece, *whole], [each for each in entries if each not in whole]


def _too_deep(text: bytes) -> int:
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            return token.start()
    return len(text)
