"""Spans that stay in memory, for tests that look at them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.spans import Spans, exported


class Made(msgspec.Struct):
    """What a process has made. `spans` are there once it has ended."""

    maker: Spans
    spans: tuple[ReadableSpan, ...] = ()


@contextmanager
def in_memory(process: str = "waybill-test") -> Iterator[Made]:
    exporter = InMemorySpanExporter()
    with exported(process, exporter) as maker:
        made = Made(maker)
        yield made
    made.spans = exporter.get_finished_spans()


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    """The trace and the span of each link."""
    return [(each.context.trace_id, each.context.span_id) for each in span.links]
