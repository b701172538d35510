"""A request's body, decompressed within bounds."""

import zlib
from collections.abc import Sequence
from typing import Final

from ingest.errors import BodyTooLargeError, BrokenEncodingError

IDENTITY: Final = "identity"

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW_DEFLATE: Final = -zlib.MAX_WBITS

_FRAMING_BYTES: Final = 1024
"""Room for a compressed body's header, name and checksum."""


def encoding_of(content_encodings: Sequence[str]) -> str:
    """Return the one content-encoding named by a request's headers, in lower case; `identity` for none.

    Several in one header come back as they stand: they are not an encoding that `decode` knows.
    """
    return ",".join(content_encodings).strip().lower() or IDENTITY


def wire_limit(encoding: str, limit: int) -> int:
    """Return how many bytes a body of at most `limit` bytes may take on the wire.

    Data that cannot be compressed grows by five bytes a block.
    """
    return limit if encoding == IDENTITY else limit + limit // 1024 + _FRAMING_BYTES


def decode(wire: bytes, encoding: str, limit: int) -> bytes:
    """Undo a content-encoding: gzip, deflate (with and without zlib's frame) or none.

    Raises:
        BodyTooLargeError: the body has more than `limit` bytes. No more than that is ever inflated.
        BrokenEncodingError: the encoding is not one of these, or its data is damaged, cut off or followed by more.

    """
    match encoding:
        case "identity":
            if len(wire) > limit:
                raise BodyTooLargeError
            return wire
        case "gzip" | "x-gzip":
            return _inflate(wire, _GZIP, limit)
        case "deflate":
            return _inflate(wire, _ZLIB if _has_zlib_frame(wire) else _RAW_DEFLATE, limit)
        case _:
            raise BrokenEncodingError("unknown content-encoding")


def _inflate(wire: bytes, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        body = inflater.decompress(wire, limit + 1)
    except zlib.error as error:
        raise BrokenEncodingError("damaged compressed data") from error
    if len(body) > limit:
        raise BodyTooLargeError
    if not inflater.eof:
        raise BrokenEncodingError("compressed data is cut off")
    if inflater.unused_data:
        raise BrokenEncodingError("more data behind the compressed")
    return body


def _has_zlib_frame(wire: bytes) -> bool:
    """RFC 1950: method 8 in the low bits, and the first two bytes are a multiple of 31."""
    return len(wire) > 1 and wire[0] & 0x0F == 8 and int.from_bytes(wire[:2], "big") % 31 == 0
