"""Whether a process makes spans, what a batch's says, and what a process does whose spans nobody takes."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread
from time import monotonic

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from cli.exit_codes import USAGE
from cli.main import main
from runtime import spans as module
from runtime.errors import SettingsError
from runtime.settings import load_settings
from runtime.spans import exported
from runtime.tracing import spans_of
from schemas.traces import traceparent
from tests.spans import attributes, in_memory, links

NOW = datetime(2026, 11, 27, tzinfo=UTC)
TRACED = load_settings({"WAYBILL_TRACE_RATIO": "0.1"})
MISSING = (
    "WAYBILL_TRACE_RATIO is above 0 and the extra is not installed: pip install -r requirements-otel.txt; "
    "an image is built with --build-arg REQUIREMENTS=requirements-otel.txt"
)


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python as it is where the extra is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "runtime.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)


@pytest.mark.usefixtures("without_extra")
def test_who_traces_nothing_needs_no_extra() -> None:
    with spans_of(load_settings({}), "waybill-ingest") as spans:
        assert spans is None


@pytest.mark.usefixtures("without_extra")
def test_a_missing_extra_is_one_line() -> None:
    with pytest.raises(SettingsError) as raised, spans_of(TRACED, "waybill-ingest"):
        pass
    assert raised.value.problems == (MISSING,)


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("service", ["ingest", "processor"])
def test_a_service_without_the_extra_does_not_begin(
    service: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_TRACE_RATIO", "1")
    monkeypatch.setenv("WAYBILL_DASH_SECRETS", "secret")
    assert main([service]) == USAGE
    assert MISSING in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SPAN_LINK_COUNT_LIMIT", "many"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000")]
)
def test_the_librarys_own_settings_are_judged(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="OTEL_…"), spans_of(TRACED, "waybill-ingest"):
        pass


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "waybill-ingest"),
        ({"OTEL_SERVICE_NAME": "door"}, "door"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=door,x=y"}, "door"),
    ],
)
def test_a_process_has_a_name_unless_it_is_given_another(
    environ: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    with in_memory("waybill-ingest") as made, made.maker.webhook("/webhooks/dash", 1, NOW, None):
        pass
    (span,) = made.spans
    assert span.resource.attributes["service.name"] == name


def test_the_door_alone_decides_what_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with in_memory() as made, made.maker.webhook("/webhooks/dash", 1, NOW, None) as header:
        assert header is not None
    assert len(made.spans) == 1


def test_a_batch_links_to_each_trace_once() -> None:
    traces = [traceparent(1, 2), traceparent(3, 4), traceparent(1, 2)]
    with in_memory() as made, made.maker.batch("courier.webhooks.raw", 7, 9, traces, stored_in=2.0):
        pass
    (span,) = made.spans
    assert (span.name, span.kind, span.parent) == ("process courier.webhooks.raw", SpanKind.CONSUMER, None)
    assert links(span) == [(1, 2), (3, 4)]
    assert attributes(span) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": "courier.webhooks.raw",
        "messaging.destination.partition.id": "7",
        "messaging.batch.message_count": 9,
    }
    (stored,) = span.events
    assert (stored.name, span.start_time) == ("stored", stored.timestamp - 2_000_000_000)
    assert span.end_time is not None
    assert span.end_time >= stored.timestamp


def test_of_an_error_its_kind_alone_is_told() -> None:
    with in_memory() as made, pytest.raises(ValueError, match="Agus"), made.maker.batch("raw", 0, 1, [], 0.0):
        raise ValueError("Agus, 0811")
    (span,) = made.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert "Agus" not in span.to_json()


def test_spans_leave_by_otlp_as_the_librarys_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        with spans_of(TRACED, "waybill-ingest") as spans:
            assert spans is not None
            with spans.webhook("/webhooks/dash", 1, NOW, None) as header:
                pass
        server.shutdown()
    (resource,) = ExportTraceServiceRequest.FromString(b"".join(taken)).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert header == traceparent(int.from_bytes(span.trace_id), int.from_bytes(span.span_id))


class Hanging(SpanExporter):
    """Takes spans and never returns, as long as the test goes on."""

    def __init__(self) -> None:
        self.entered, self.let_go = Event(), Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.let_go.wait(60)
        return SpanExportResult.FAILURE


def test_an_exporter_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither who makes spans, more than fit into the queue, nor a process that stops."""
    monkeypatch.setattr(module, "LAST_SECONDS", 0.1)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    exporter = Hanging()
    began = monotonic()
    try:
        with exported("waybill-ingest", exporter) as spans:
            for _ in range(100):
                with spans.webhook("/webhooks/dash", 1, NOW, None):
                    pass
            assert exporter.entered.wait(10)
        assert monotonic() - began < 10
    finally:
        exporter.let_go.set()
