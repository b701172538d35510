"""Traces: which webhooks are traced, and the header that says of which trace a record is (W3C Trace Context)."""

import re
from typing import Final

import msgspec

TRACEPARENT: Final = "traceparent"
"""The header, of raw records, of events, and of requests (W3C Trace Context 1, 3.2)."""

DRAWN_BYTES: Final = 7
"""How many random bytes decide of a webhook: a ratio with nine digits is met exactly enough."""

_SAMPLED: Final = 1
_FORM: Final = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)


class Parent(msgspec.Struct, frozen=True):
    """The span that a header names, and whether its trace is kept."""

    trace_id: int
    span_id: int
    sampled: bool


def is_traced(ratio: float, drawn: bytes) -> bool:
    """Decide of a webhook by random bytes. `ratio` is the share that is traced: 0 none, 1 all."""
    return int.from_bytes(drawn) < ratio * (1 << 8 * len(drawn))


def traceparent(trace_id: int, span_id: int) -> str:
    """Write the header of a span whose trace is kept."""
    return f"00-{trace_id:032x}-{span_id:016x}-{_SAMPLED:02x}"


def parent_of(header: str) -> Parent | None:
    """Read a header; None: it is of no form, or of one of another version."""
    match = _FORM.fullmatch(header)
    return Parent(int(match[1], 16), int(match[2], 16), bool(int(match[3], 16) & _SAMPLED)) if match else None


def sampled(value: bytes) -> str | None:
    """Return a raw record's header as the door writes it; None, whatever else it is: no record is refused for it."""
    text = value.decode("ascii", "replace")
    parent = parent_of(text)
    return text if parent and traceparent(parent.trace_id, parent.span_id) == text else None
