"""Which webhooks are traced, and the header that names a trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Provenance, RawRecord, read_provenance, reread_headers, traceparent_of
from schemas.traces import DRAWN_BYTES, TRACEPARENT, Parent, is_traced, parent_of, sampled, traceparent
from tests.strategies import START

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"

drawn = st.binary(min_size=DRAWN_BYTES, max_size=DRAWN_BYTES)


@given(drawn)
def test_a_ratio_of_nothing_traces_nothing_and_of_one_everything(bytes_: bytes) -> None:
    assert not is_traced(0.0, bytes_)
    assert is_traced(1.0, bytes_)


@pytest.mark.parametrize("ratio", [0.000000001, 0.01, 0.25, 0.999999999])
def test_the_share_is_the_ratio(ratio: float) -> None:
    edge = int(ratio * 256**DRAWN_BYTES)
    assert is_traced(ratio, (edge - 100).to_bytes(DRAWN_BYTES))
    assert not is_traced(ratio, (edge + 100).to_bytes(DRAWN_BYTES))


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
def test_what_is_written_is_read(trace_id: int, span_id: int) -> None:
    header = traceparent(trace_id, span_id)
    assert parent_of(header) == Parent(trace_id, span_id, sampled=True)
    assert sampled(header.encode()) == header


def test_the_form_is_that_of_the_standard() -> None:
    """Its own example (W3C Trace Context 1, 3.2.2.3)."""
    assert traceparent(int(TRACE, 16), int(SPAN, 16)) == HEADER
    assert parent_of(f"00-{TRACE}-{SPAN}-00") == Parent(int(TRACE, 16), int(SPAN, 16), sampled=False)


@pytest.mark.parametrize(
    "header",
    [
        *("", "x", HEADER[:-1], f"{HEADER} ", f"{HEADER}\n", f"{HEADER}-x", HEADER.upper(), f"01{HEADER[2:]}"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", HEADER.replace("4", "٤"), HEADER * 1_000),
    ],
)
def test_what_is_of_no_form_names_no_trace_and_harms_no_record(header: str) -> None:
    assert parent_of(header) is None
    headers = [*Provenance("dash", START).headers(), (TRACEPARENT, header.encode())]
    assert read_provenance(headers, 0) == Provenance("dash", START)
    assert traceparent_of(headers) is None


@pytest.mark.parametrize("flags", ["00", "03", "ff"])
def test_only_what_the_door_writes_goes_on_with_a_record(flags: str) -> None:
    assert sampled(f"00-{TRACE}-{SPAN}-{flags}".encode()) is None


def test_the_header_is_the_last_of_a_record_and_there_only_if_it_is_traced() -> None:
    webhook = Provenance("dash", START, webhook_id="w-1", content_type="application/json")
    traced = Provenance("dash", START, webhook_id="w-1", content_type="application/json", traceparent=HEADER)
    assert traced.headers() == [*webhook.headers(), ("traceparent", HEADER.encode())]
    assert read_provenance(traced.headers(), 0) == traced


def test_a_record_read_again_carries_the_trace_of_its_root() -> None:
    traced = Provenance("dash", START, traceparent=HEADER)
    root = RawRecord(0, 7, b"dash:DE-1", b"{}", tuple(traced.headers()), 0)
    again = reread_headers(root, "job/0:7")
    assert dict(again)[TRACEPARENT] == HEADER.encode()
    assert read_provenance(again, 0).traceparent == HEADER
