"""The spans of traced webhooks, made by hand: one of the door for each, one of the processor for each batch with some.

They say where time went and how much there was to do. No id, no word and no body of a parcel stands in them, and of an
error its kind alone: its words may quote a record.

What is made is handed to a thread of the library, which sends it. That one's queue is bounded (`OTEL_BSP_…`): what does
not fit is dropped, and nobody waits.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread
from time import time_ns
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from runtime.errors import SettingsError
from schemas.traces import parent_of, traceparent

LAST_SECONDS: Final = 0.5
"""How long the last spans may take to leave at a stop. With the lifecycle before it the process is gone within 10 s."""

_SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

log = structlog.get_logger(__name__)


class Spans:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        """Make them of this provider."""
        self._tracer = provider.get_tracer("waybill")

    @contextmanager
    def webhook(self, route: str, records: int, received_at: datetime, theirs: str | None) -> Iterator[str | None]:
        """Make the span of a webhook, the root of a new trace; give the header that its records carry.

        `theirs` is the courier's own header. Nobody vouches for it: the span links to it, and is no part of its trace.
        None: the library is switched off (`OTEL_SDK_DISABLED`).
        """
        span = self._tracer.start_span(
            f"POST {route}",
            Context(),
            SpanKind.SERVER,
            {"http.request.method": "POST", "http.route": route, "messaging.batch.message_count": records},
            _links((theirs or "",)),
            start_time=(received_at - _EPOCH) // _MICROSECOND * 1_000,
        )
        with _ending(span):
            made = span.get_span_context()
            yield traceparent(made.trace_id, made.span_id) if made.is_valid else None

    @contextmanager
    def batch(
        self, topic: str, partition: int, records: int, traces: Iterable[str], stored_in: float
    ) -> Iterator[None]:
        """Make the span of a batch that was stored within the last `stored_in` seconds and is published now.

        It is the root of a trace of its own, and links to each trace of its records once; of a record that is read
        again, that is its root's.
        """
        stored_at = time_ns()
        span = self._tracer.start_span(
            f"process {topic}",
            Context(),
            SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": topic,
                "messaging.destination.partition.id": str(partition),
                "messaging.batch.message_count": records,
            },
            _links(dict.fromkeys(traces)),
            start_time=stored_at - int(stored_in * _SECOND),
        )
        span.add_event("stored", timestamp=stored_at)
        with _ending(span):
            yield


@contextmanager
def exported(process: str, exporter: SpanExporter | None = None) -> Iterator[Spans]:
    """Give what makes the spans of a process, and send them as the library's own settings say (`OTEL_…`).

    The door alone decides what is traced, so `OTEL_TRACES_SAMPLER` has no say. At the end nobody waits longer than
    `LAST_SECONDS` for whoever takes the spans.

    Raises:
        SettingsError: one of these settings is no value.

    """
    try:
        found = OTELResourceDetector().detect().attributes
        provider = TracerProvider(ALWAYS_ON, Resource.create({SERVICE_NAME: process, **found}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    except ValueError as error:
        raise SettingsError((f"a setting of OpenTelemetry (OTEL_…) is wrong: {error}",)) from error
    try:
        yield Spans(provider)
    finally:
        ending = Thread(target=provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(LAST_SECONDS)
        if ending.is_alive():
            log.warning("the last spans are lost", waited_seconds=LAST_SECONDS)


@contextmanager
def _ending(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        span.set_status(StatusCode.ERROR, type(error).__name__)
        raise
    finally:
        span.end()


def _links(headers: Iterable[str]) -> list[Link]:
    parents = [parent for header in headers if (parent := parent_of(header))]
    return [
        Link(SpanContext(each.trace_id, each.span_id, is_remote=True, trace_flags=TraceFlags(each.sampled)))
        for each in parents
    ]
