"""What PromQL expressions name: their metrics, the labels they look at, and the values these are compared with."""

from typing import Any, Final

import promql_parser
from promql_parser import AggregateExpr, BinaryExpr, MatchOp, VectorSelector

from deploy.metrics_page import sample_labels

OF_PROMETHEUS: Final = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate"},
    "process_cpu_seconds_total": {"job", "instance"},
    "process_resident_memory_bytes": {"job", "instance"},
}
"""What Prometheus and its Python client show by themselves."""

TARGET: Final = {"job", "instance"}
"""The labels that Prometheus gives every series it scrapes."""

OPEN_VALUES: Final = {"partition", "job", "instance", "alertname", "alertstate"}
"""Labels whose values the code does not list."""

RECORDED: Final = {"waybill:courier_silence_seconds": {"courier"}}
"""What `deploy/prometheus/rules.yml` records."""

RANGE: Final = "$__rate_interval"


def unknown_in(expr: str) -> list[str]:
    """Return what an expression names that no process shows.

    Raises:
        ValueError: it is no PromQL.

    """
    known = sample_labels()
    selectors: list[VectorSelector] = []
    named: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, VectorSelector):
            selectors.append(node)
        if isinstance(node, AggregateExpr) and node.modifier is not None:
            named.update(node.modifier.labels)
        if isinstance(node, BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
            named.update(node.modifier.matching.labels)
        return True

    promql_parser.walk(promql_parser.parse(expr.replace(RANGE, "1m")), visit)
    found: list[str] = []
    shown: set[str] = set()
    for selector in selectors:
        name = selector.name or ""
        values = known.get(name, {})
        labels = OF_PROMETHEUS.get(name) or RECORDED.get(name) or {*values, *TARGET}
        if not (values or name in known or name in OF_PROMETHEUS or name in RECORDED):
            found.append(name)
            continue
        shown |= labels
        for matcher in selector.matchers.matchers:
            closed = matcher.name not in OPEN_VALUES and matcher.op == MatchOp.Equal
            if matcher.name not in labels or (closed and matcher.value not in values.get(matcher.name, ())):
                found.append(f"{name}{{{matcher.name}={matcher.value!r}}}")
    return [*found, *sorted(named - shown)]
