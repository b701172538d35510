"""JSON as it really comes."""

import time
from typing import Any

import pytest

from schemas.records import UnreadableError
from schemas.tolerant_json import MAX_DEPTH, clean, digest, elements, load, members, unstorable

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a" : [1, 2.5, "x", null, true]} ', {"a": [1, 2.5, "x", None, True]}),
        (b'"caf\\u00e9 \xf0\x9f\x93\xa6 \\ud83d\\udce6"', "café 📦 📦"),
        (b"1000000000000000000000000000000", 10**30),
        (b"18446744073709551616", 2**64),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"1e999", INFINITE),
        (b"-1e999", -INFINITE),
        (b"9" * 5000, INFINITE),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"a\\u0000b"', "a\x00b"),
        (b'{"\\ud800":"\\udfff"}', {"\ud800": "\udfff"}),
    ],
)
def test_load(body: bytes, value: Any) -> None:
    assert load(body) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid_json"),
        (b" ", "invalid_json"),
        (b"{", "invalid_json"),
        (b"{]", "invalid_json"),
        (b"[1,]", "invalid_json"),
        (b"01", "invalid_json"),
        (b"NaN", "invalid_json"),
        (b"-Infinity", "invalid_json"),
        (b"'a'", "invalid_json"),
        (b'"a', "invalid_json"),
        (b'"\xff"', "invalid_json"),
        (b'"\xed\xa0\x80"', "invalid_json"),
        (b" \xef\xbb\xbf1", "invalid_json"),
        (b"\x00", "invalid_json"),
        (b"1 2", "invalid_json"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "too_deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "too_deep"),
        (b"[" * 1_000_000, "too_deep"),
        (b"]" * 300 + b"[" * 300, "invalid_json"),
    ],
)
def test_unreadable(body: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        load(body)
    assert caught.value.reason == reason


def test_the_deepest_that_is_read() -> None:
    value = load(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


def test_depth_is_measured_in_one_pass() -> None:
    """A text of quotes that never ends costs no more than any other: this took minutes with a naive pattern."""
    with pytest.raises(UnreadableError) as caught:
        load(b"[{" * 150 + b'"' + b'\\"' * 500_000)
    assert caught.value.reason == "too_deep"


def test_a_text_is_read_no_further_than_to_the_first_level_too_deep() -> None:
    """Three megabytes of brackets, as a record may hold, took a second or two of a loop that others wait for."""
    text, began = b"[" * 3_000_000, time.process_time()
    with pytest.raises(UnreadableError):
        load(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"{}", {}),
        (b'{ "a" : 1.50 , "b":[ 1 ] }', {"a": b"1.50", "b": b"[ 1 ]"}),
        (b'{"a":"\\ud800"}', {"a": b'"\\ud800"'}),
        (b'{"\\ud800":{"x":","},"b":1}', {"\ufffd": b'{"x":","}', "b": b"1"}),
        (b'{"a":"\xff","b":1}', {"a": b'"\xff"', "b": b"1"}),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b',"b":1}', {"a": b"[" * 5000 + b"]" * 5000, "b": b"1"}),
    ],
)
def test_members(body: bytes, found: dict[str, bytes]) -> None:
    assert members(body) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[]", []),
        (b'[ 1.50 ,\n{"a":1} ]', [b"1.50", b'{"a":1}']),
        (b'["\\ud800","\\"],["]', [b'"\\ud800"', b'"\\"],["']),
        (b"[1," + b"[" * 5000 + b"]" * 5000 + b", 2]", [b"1", b"[" * 5000 + b"]" * 5000, b"2"]),
    ],
)
def test_elements(body: bytes, found: list[bytes]) -> None:
    assert elements(body) == found


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"{", b'{"a":1', b"", b'{"a":' + b"[" * 5000])
def test_no_members(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        members(body)


@pytest.mark.parametrize("body", [b"{}", b"1", b"[1", b"", b"[" * 5000])
def test_no_elements(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        elements(body)


def test_digest_knows_values_not_spellings() -> None:
    assert digest(load(b'{"a":1,"b":"\\u00e9"}')) == digest(load('{ "b" : "é", "a" : 1 }'.encode()))
    assert len(digest(None)) == 16
    values = [None, 0, "", [], {}, {"a": None}, {"a": 0}, [1, 2], [2, 1], "1", 1, 10**30, True]
    assert len({digest(value) for value in values}) == len(values)


def test_digest_of_what_cannot_be_encoded() -> None:
    assert digest({"\ud800": ["\udfff"], "n": 10**400}) == digest({"\ufffd": ["\ufffd"], "n": 10**400})
    assert digest(("m", {"a": "\ud800"}, None)) == digest(["m", {"a": "\ufffd"}, None])


def test_digests_never_change() -> None:
    """They are stored: another value here makes every repeat of an old webhook a new observation."""
    assert digest({"b": [1, 2.5, None], "a": "é"}).hex() == "3276393bf8a5a8df0e5ddcb8f78302ef"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("plain 📦", "plain 📦"), ("a\x00b", "a\ufffdb"), ("\ud800\udfff", "\ufffd\ufffd"), ("", "")],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert unstorable(text) is (text != cleaned)
