"""JSON as couriers really send it: read what can be read, refuse the rest with a reason.

Lone surrogates and NUL characters, which no database takes, become U+FFFD; numbers past any machine's range
become infinite. Everything else that is not JSON is refused.
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

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_MAX_DIGITS: Final = 1000
"""Digits of an integer that are read exactly; Python refuses more than 4,300."""


def load(body: bytes) -> Any:
    """Read a JSON text.

    Raises:
        UnreadableError: `invalid_json` or `too_deep`.

    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise UnreadableError(DeadLetterReason.TOO_DEEP, f"nested more than {MAX_DEPTH} levels deep")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _load_leniently(body, str(error))


def digest(value: Any) -> bytes:
    """Identify a JSON value: BLAKE2b (16 bytes) of its canonical form, keys sorted, no white space."""
    return hashlib.blake2b(msgspec.json.encode(value, order="sorted"), digest_size=16).digest()


def clean(text: str) -> str:
    """Replace what no database takes: NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text) if _UNSTORABLE.search(text) else text


def unstorable(text: str) -> bool:
    """Whether a text holds what no database takes."""
    return _UNSTORABLE.search(text) is not None


def _load_leniently(body: bytes, complaint: str) -> Any:
    try:
        value = json.loads(body.decode(), parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(DeadLetterReason.INVALID_JSON, complaint) from error
    return _clean_deeply(value)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _clean_deeply(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case list():
            return [_clean_deeply(item) for item in value]
        case dict():
            return {clean(name): _clean_deeply(item) for name, item in value.items()}
        case _:
            return value


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for token in _TOKENS.finditer(body):
        opening = token.group()[:1]
        if opening in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif opening in b"]}":
            depth -= 1
    return deepest
