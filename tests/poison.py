"""Bodies full of known personal values, whole and spoilt, for tests that search for these values where none may be."""

import json
from binascii import crc32
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.unit.schemas.examples import SAMPLES

MARK: Final = "Zq7Wx"
"""Begins every personal value. Nothing else has it, so a search for it finds them all, and parts of them."""

PHONE: Final = 62_817_733_000_000
"""Begins every personal number."""

PHONE_PREFIX: Final = "62817733"

PLAIN: Final = frozenset(
    {"method", "status", "deliveryID", "providerOrderID", "order_id", "awb", "service_type", "type", "currency"}
)
"""Fields of words and identifiers. Each other text is taken for personal, and so is each coordinate."""

COORDINATES: Final = frozenset({"latitude", "longitude"})


class Marked(msgspec.Struct, frozen=True):
    """A sample whose personal values are ours."""

    courier: str
    value: Any

    @property
    def body(self) -> bytes:
        """The body as the courier would send it."""
        return json.dumps(self.value).encode()


def marked_samples() -> list[Marked]:
    """Return every sample of every courier, each a shipment of its own."""
    return [
        Marked(name.partition("/")[0], _marked(msgspec.json.decode(path.read_bytes()), f"{number}"))
        for number, (name, path) in enumerate(SAMPLES.items())
    ]


def spoilt(sample: Marked) -> Iterator[bytes]:
    """Spoil a body in every way a courier, or somebody with its secret, may."""
    body = sample.body
    yield body[: len(body) // 2]
    yield body[:-1]
    yield body + body
    yield body.replace(b'"' + MARK.encode(), b'"\xff' + MARK.encode(), 1)
    yield body.replace(b'"' + MARK.encode(), rb'"\u0000\ud800' + MARK.encode())
    yield body.replace(b'"' + MARK.encode(), MARK.encode(), 1)
    yield body.replace(b": ", b": NaN, " + b'"' + MARK.encode() + b'": ', 1)
    yield json.dumps(f"{MARK} top").encode()
    yield json.dumps([sample.value, sample.value]).encode()
    yield b"[" * 300 + body + b"]" * 300
    for odd in (
        f"{MARK} word",
        {"name": f"{MARK} object"},
        [f"{MARK} list"],
        PHONE,
        f"{MARK} long" * 300,
        f"{MARK}\x00 nul",
        None,
    ):
        for target in ("words", "names", "rest"):
            yield json.dumps(_replaced(sample.value, target, odd)).encode()


WORDS: Final = frozenset({"method", "status"})
NAMES: Final = frozenset({"deliveryID", "order_id", "awb"})


def _replaced(value: Any, target: str, odd: Any) -> Any:
    """Put something odd where the words stand, or the names, or any other value."""
    match value:
        case dict():
            return {
                key: odd
                if (key in WORDS and target == "words")
                or (key in NAMES and target == "names")
                or (key not in WORDS | NAMES and target == "rest" and not isinstance(inner, dict | list))
                else _replaced(inner, target, odd)
                for key, inner in value.items()
            }
        case list():
            return [_replaced(inner, target, odd) for inner in value]
        case _:
            return value


def _marked(value: Any, place: str, key: str = "") -> Any:
    match value:
        case dict():
            return {name: _marked(inner, f"{place}.{name}", name) for name, inner in value.items()}
        case list():
            return [_marked(inner, f"{place}.{at}", key) for at, inner in enumerate(value)]
        case str() if key in NAMES:
            return f"{value}-{place.split('.', maxsplit=1)[0]}"
        case str() if key not in PLAIN and not _is_time(value):
            return f"{MARK} {place}"
        case float() if key in COORDINATES:
            return PHONE + crc32(place.encode()) % 1_000_000
        case _:
            return value


def _is_time(text: str) -> bool:
    return text[:2] == "20" and text[4:5] == "-"
