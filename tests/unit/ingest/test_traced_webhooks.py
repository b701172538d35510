"""What the door does with a webhook that is traced, and with one that is not."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from schemas.records import NewRecord
from schemas.traces import TRACEPARENT, traceparent
from tests.spans import attributes, in_memory, links
from tests.unit.ingest.doors import DASH, KIRIMINAJA, FakePublisher, running_door, settings_with

NOW = datetime(2026, 11, 27, 12, 0, 0, 161007, tzinfo=UTC)
BODY = b'{"deliveryID":"DE-SECRET-1","status":"FAILED","providerOrderID":"O-SECRET-2"}'
THEIRS = traceparent(0xABC, 0xDEF)
ITEMS = b'{"method":"finished_packages","data":[{"order_id":"A"},{"order_id":"B"},{"order_id":"C"}]}'


def headers_of(records: Sequence[NewRecord]) -> list[str | None]:
    found = [dict(record.headers).get(TRACEPARENT) for record in records]
    return [None if value is None else value.decode() for value in found]


async def test_a_traced_webhook_begins_a_trace_of_its_own(publisher: FakePublisher) -> None:
    with in_memory() as made:
        settings = settings_with(WAYBILL_TRACE_RATIO="1")
        async with running_door(publisher, settings, now=lambda: NOW, spans=made.maker) as door:
            answer = await door.post("/webhooks/dash", BODY, DASH | {"traceparent": THEIRS})
    assert answer.status == 200
    (span,), (header,) = made.spans, headers_of(publisher.records)
    assert span.context is not None
    assert header == traceparent(span.context.trace_id, span.context.span_id)
    assert span.parent is None
    assert span.context.trace_id != 0xABC
    assert links(span) == [(0xABC, 0xDEF)]
    assert (span.name, span.kind) == ("POST /webhooks/dash", SpanKind.SERVER)
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/webhooks/dash",
        "messaging.batch.message_count": 1,
    }
    assert span.start_time == 1_795_780_800_161_007_000
    assert span.status.status_code is StatusCode.UNSET
    assert "SECRET" not in span.to_json()


async def test_the_records_of_one_webhook_are_of_one_trace(publisher: FakePublisher) -> None:
    with in_memory() as made:
        async with running_door(publisher, settings_with(WAYBILL_TRACE_RATIO="1"), spans=made.maker) as door:
            await door.post("/webhooks/kiriminaja", ITEMS, KIRIMINAJA)
            await door.post("/webhooks/kiriminaja", ITEMS, KIRIMINAJA)
    first, second = headers_of(publisher.records)[:3], headers_of(publisher.records)[3:]
    assert len({*first}) == len({*second}) == 1
    assert first[0] != second[0]
    assert len(made.spans) == 2


@pytest.mark.parametrize("theirs", ["", "x", f"00-{'0' * 32}-00f067aa0ba902b7-01", "é" * 9_000])
async def test_a_couriers_header_of_no_form_is_no_link(theirs: str, publisher: FakePublisher) -> None:
    with in_memory() as made:
        async with running_door(publisher, settings_with(WAYBILL_TRACE_RATIO="1"), spans=made.maker) as door:
            answer = await door.post("/webhooks/dash", BODY, DASH | {"traceparent": theirs[:4_000]})
    assert answer.status == 200
    assert [links(span) for span in made.spans] == [[]]


async def test_where_nothing_is_traced_a_record_has_what_it_had_before(publisher: FakePublisher) -> None:
    with in_memory() as made:
        async with running_door(publisher, settings_with(), spans=made.maker) as door:
            await door.post("/webhooks/dash", BODY, DASH | {"traceparent": THEIRS})
    assert made.spans == ()
    (record,) = publisher.records
    assert [name for name, _ in record.headers] == [
        *("courier", "webhook-id", "item", "received-at", "source", "content-type")
    ]


async def test_a_share_is_traced(publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([b"\x00" * 7, b"\xff" * 7, b"\x7f" * 7, b"\x80" + b"\x00" * 6])
    monkeypatch.setattr("ingest.app.os.urandom", lambda size: next(draws) if size == 7 else bytes(size))
    with in_memory() as made:
        async with running_door(publisher, settings_with(WAYBILL_TRACE_RATIO="0.5"), spans=made.maker) as door:
            for _ in range(4):
                await door.post("/webhooks/dash", BODY, DASH)
    assert [header is not None for header in headers_of(publisher.records)] == [True, False, True, False]
    assert len(made.spans) == 2


async def test_a_webhook_that_nothing_could_take_says_so_in_its_span(publisher: FakePublisher) -> None:
    publisher.available = False
    with in_memory() as made:
        async with running_door(publisher, settings_with(WAYBILL_TRACE_RATIO="1"), spans=made.maker) as door:
            answer = await door.post("/webhooks/dash", BODY, DASH)
    answer.assert_problem(503)
    (span,) = made.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "UnavailableError")
    assert span.events == ()


async def test_a_request_without_credentials_is_not_traced(publisher: FakePublisher) -> None:
    with in_memory() as made:
        async with running_door(publisher, settings_with(WAYBILL_TRACE_RATIO="1"), spans=made.maker) as door:
            answer = await door.post("/webhooks/dash", BODY, {"traceparent": THEIRS})
    answer.assert_problem(401)
    assert made.spans == ()


async def test_a_library_that_is_switched_off_writes_no_header(
    publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with in_memory() as made:
        async with running_door(publisher, settings_with(WAYBILL_TRACE_RATIO="1"), spans=made.maker) as door:
            answer = await door.post("/webhooks/dash", BODY, DASH)
    assert answer.status == 200
    assert headers_of(publisher.records) == [None]
