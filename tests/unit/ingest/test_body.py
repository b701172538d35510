"""Decompression within bounds: property tests over bodies and damage."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.body import decode, encoding_of, wire_limit
from ingest.errors import BodyTooLargeError, BrokenEncodingError

LIMIT = 4096


def raw_deflate(body: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(body) + squeezer.flush()


WAYS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}
COMPRESSED = [way for way in WAYS if way != "identity"]


@pytest.mark.parametrize("way", WAYS)
@given(body=st.binary(max_size=LIMIT))
def test_bodies_within_the_limit_come_through(way: str, body: bytes) -> None:
    encoding, pack = WAYS[way]
    wire = pack(body)
    assert decode(wire, encoding, LIMIT) == body
    assert len(wire) <= wire_limit(encoding, LIMIT)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT * 100])
def test_bodies_over_the_limit_are_refused(way: str, size: int) -> None:
    encoding, pack = WAYS[way]
    with pytest.raises(BodyTooLargeError):
        decode(pack(bytes(size)), encoding, LIMIT)


@pytest.mark.parametrize("way", WAYS)
def test_a_body_of_just_the_limit_is_accepted(way: str) -> None:
    encoding, pack = WAYS[way]
    assert len(decode(pack(bytes(LIMIT)), encoding, LIMIT)) == LIMIT


@pytest.mark.parametrize("way", COMPRESSED)
@given(body=st.binary(max_size=200), data=st.data())
def test_cut_off_data_is_broken(way: str, body: bytes, data: st.DataObject) -> None:
    encoding, pack = WAYS[way]
    wire = pack(body)
    cut = data.draw(st.integers(0, len(wire) - 1))
    with pytest.raises(BrokenEncodingError):
        decode(wire[:cut], encoding, LIMIT)


@pytest.mark.parametrize("way", COMPRESSED)
@given(body=st.binary(max_size=200), rest=st.binary(min_size=1, max_size=50))
def test_data_with_more_behind_it_is_broken(way: str, body: bytes, rest: bytes) -> None:
    encoding, pack = WAYS[way]
    with pytest.raises(BrokenEncodingError):
        decode(pack(body) + rest, encoding, LIMIT)


@given(wire=st.binary(max_size=300), encoding=st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_give_a_body_or_one_of_two_errors(wire: bytes, encoding: str) -> None:
    with suppress(BodyTooLargeError, BrokenEncodingError):
        assert len(decode(wire, encoding, LIMIT)) <= LIMIT


def test_a_flipped_checksum_is_broken() -> None:
    wire = bytearray(gzip.compress(b"a body"))
    wire[-5] ^= 1
    with pytest.raises(BrokenEncodingError):
        decode(bytes(wire), "gzip", LIMIT)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip,gzip", "gzip, deflate", "*"])
def test_other_encodings_are_broken(encoding: str) -> None:
    with pytest.raises(BrokenEncodingError):
        decode(gzip.compress(b"a body"), encoding, LIMIT)


def test_no_more_than_the_limit_is_inflated() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError):
            decode(bomb, "gzip", LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("headers", "encoding"),
    [
        ([], "identity"),
        ([""], "identity"),
        (["identity"], "identity"),
        (["GZip"], "gzip"),
        ([" deflate "], "deflate"),
        (["gzip", "gzip"], "gzip,gzip"),
        (["gzip, br"], "gzip, br"),
    ],
)
def test_the_encoding_is_read_from_all_headers(headers: list[str], encoding: str) -> None:
    assert encoding_of(headers) == encoding
