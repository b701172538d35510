"""JSON as couriers really send it: read what can be read, refuse the rest with a reason.

Numbers past any machine's range become infinite. Texts are as they came: `clean` whatever is kept of them, since
no database takes a lone surrogate or a NUL. Everything else that is not JSON is refused.
"""

import hashlib
import json
import re
from typing import Any, Final

import msgspec

from schemas.records import UnreadableError
from schemas.vocabulary import DeadLetterReason

MAX_DEPTH: Final = 200
"""Levels of nesting that are read. Couriers use six; Python's own stack bears a few hundred."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""Strings and punctuation. A string that never ends is one token too: each byte is looked at once."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_MEMBER: Final = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:(.*)', re.DOTALL)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MAX_DIGITS: Final = 1000
"""Digits of an integer that are read exactly; Python refuses more than 4,300."""


def load(body: bytes) -> Any:
    """Read a JSON text. A byte order mark before it is passed over.

    Raises:
        UnreadableError: `invalid_json` or `too_deep`.

    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_too_deep(body):
        raise UnreadableError(DeadLetterReason.TOO_DEEP, f"nested more than {MAX_DEPTH} levels deep")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _load_leniently(body, str(error))


def is_skippable(body: bytes) -> bool:
    """Whether what a decoder for one type passes over in a JSON text, `load` would have read.

    Such a decoder looks neither for what is no UTF-8 in texts that it passes over nor at how deep they are nested.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        return False
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_plain(body: bytes) -> bool:
    """Whether a JSON text is skippable, of ASCII alone and without escapes: all texts in it are storable."""
    return body.isascii() and b"\\" not in body and is_skippable(body)


def members(body: bytes) -> dict[str, bytes]:
    """Return an object's members, each value in its own bytes. A value may itself be unreadable.

    A byte order mark before the text is passed over.

    Raises:
        UnreadableError: the text is no JSON object.

    """
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        return {name: bytes(raw) for name, raw in _MEMBERS.decode(body).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = {}
        for part in _parts(body, b"{", str(error)):
            member = _MEMBER.fullmatch(part)
            if member is None:
                raise UnreadableError(DeadLetterReason.INVALID_JSON, str(error)) from error
            found[clean(load(member[1]))] = member[2].strip()
        return found


def elements(body: bytes) -> list[bytes]:
    """Return an array's elements, each in its own bytes. An element may itself be unreadable.

    Raises:
        UnreadableError: the text is no JSON array.

    """
    try:
        return [bytes(raw) for raw in _ELEMENTS.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [part.strip() for part in _parts(body, b"[", str(error))]


def digest(value: Any) -> bytes:
    """Identify a JSON value: BLAKE2b (16 bytes) of its canonical form, keys sorted, no white space."""
    try:
        canonical = msgspec.json.encode(value, order="sorted")
    except UnicodeEncodeError:
        canonical = msgspec.json.encode(_clean_deeply(value), order="sorted")
    return hashlib.blake2b(canonical, digest_size=16).digest()


def digest_of_bytes(body: bytes) -> bytes:
    """Identify a text by its bytes: BLAKE2b (16 bytes)."""
    return hashlib.blake2b(body, digest_size=16).digest()


def clean(text: str) -> str:
    """Replace what no database takes: NUL and lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def unstorable(text: str) -> bool:
    """Whether a text holds what no database takes."""
    return _UNSTORABLE.search(text) is not None


def _load_leniently(body: bytes, complaint: str) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(DeadLetterReason.INVALID_JSON, complaint) from error


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _clean_deeply(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case list() | tuple():
            return [_clean_deeply(item) for item in value]
        case dict():
            return {clean(name): _clean_deeply(item) for name, item in value.items()}
        case _:
            return value


def _parts(body: bytes, opening: bytes, complaint: str) -> list[bytes]:
    """Cut a container between its commas, where an odd part inside keeps the decoder from doing it."""
    try:
        load(body)
    except UnreadableError as error:
        if error.reason is not DeadLetterReason.TOO_DEEP:
            raise
    if not body.lstrip().startswith(opening):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, complaint)
    parts, depth, start = [], 0, 0
    for token in _TOKENS.finditer(body):
        match token.group():
            case b"[" | b"{":
                depth += 1
                if depth == 1:
                    start = token.end()
            case b"]" | b"}":
                depth -= 1
                if depth == 0:
                    parts.append(body[start : token.start()])
            case b"," if depth == 1:
                parts.append(body[start : token.start()])
                start = token.end()
            case _:
                pass
    if depth != 0:
        raise UnreadableError(DeadLetterReason.INVALID_JSON, complaint)
    return [part for part in parts if part.strip()]


def _is_too_deep(body: bytes) -> bool:
    """Whether a text has more than `MAX_DEPTH` levels. It is read no further than to the first one too many."""
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False
