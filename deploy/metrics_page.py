"""The page of all metrics, written from their declarations: `docs/metrics.md`."""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from console.app import CODES, ROUTES
from ingest.app import ANSWERS
from runtime.metrics import (
    ConsoleMetrics,
    IngestMetrics,
    PartitionActivity,
    ProcessorMetrics,
    ReconcileMetrics,
    new_registry,
)
from schemas.couriers import COURIERS

FILE: Final = "docs/metrics.md"

HEAD: Final = """# Metrics

Every process shows its own at `/metrics` of its admin port, in Prometheus' text format, and beside them
`waybill_build_info` with the label `version`, and `process_…` of the Python client (CPU, memory, open files). Every set
of labels whose values are known is there from the start, at 0, so that no rate misses the first. What to alert on, what
to do then, and the dashboards: [Monitoring](operating.md#monitoring). Written by `make schemas` from
`runtime/metrics.py`.
"""

PORTS: Final = {
    "ingest": "Port 9463 (`WAYBILL_INGEST_ADMIN_PORT`). Couriers that are off are not among the labels.",
    "processor": "Port 9464 (`WAYBILL_PROCESSOR_ADMIN_PORT`). Metrics of a partition are shown by the process it is "
    "assigned to, by no other. What stands open is counted once a minute, by the process that works on partition 0.",
    "reconcile": "Port 9465 (`WAYBILL_RECONCILE_ADMIN_PORT`).",
    "console": "Port 9466 (`WAYBILL_CONSOLE_PORT`), that of its pages.",
}
"""The processes, each with what is said about it."""

UNITS: Final = {
    "timestamp_seconds": "seconds since the epoch",
    "seconds": "seconds",
    "bytes": "bytes",
    "records": "records",
    "shipments": "shipments",
    "partitions": "partitions",
    "dead_letters": "dead letters",
    "anomalies": "anomalies",
    "requests": "requests",
    "observations": "observations",
    "claims": "claims",
    "asks": "shipments",
    "logins": "log-ins",
    "healed": "shipments",
    "drained": "records",
    "refused": "records",
    "only_by_pull": "statuses of shipments",
    "state": "1 or 0",
    "up": "1 or 0",
}
"""The unit by the end of a metric's name, `_total` aside."""

OPEN: Final = {"partition": "the partition's number", "le": ""}
"""Labels whose values no list closes, with what they are. `le` is every histogram's."""

SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}


def registries() -> dict[str, CollectorRegistry]:
    """Return a registry for each process with everything it ever shows: all couriers on, a partition assigned."""
    made = {name: new_registry() for name in PORTS}
    IngestMetrics(made["ingest"]).begin(COURIERS, sorted(ANSWERS))
    ProcessorMetrics(made["processor"]).show_partition(0, lambda: PartitionActivity.WORKING, lambda: 0, lambda: 0)
    ReconcileMetrics(made["reconcile"])
    ConsoleMetrics(made["console"]).begin(ROUTES, CODES)
    return made


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for process, registry in registries().items():
        parts += [f"## `waybill {process}`\n", f"{PORTS[process]}\n"]
        parts.append("| metric | type | unit | labels | meaning |\n|---|---|---|---|---|")
        parts += [_row(family) for family in sorted(registry.collect(), key=lambda each: each.name) if _is_own(family)]
        parts.append("")
    return "\n".join(parts)


def _is_own(family: Metric) -> bool:
    """Whether it is of this process alone. What every process shows, the head of the page tells."""
    return family.name.startswith("waybill_") and family.name != "waybill_build"


def _row(family: Metric) -> str:
    return f"| `{_name(family)}` | {family.type} | {unit(family)} | {_labels(family)} | {family.documentation} |"


def _name(family: Metric) -> str:
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def unit(family: Metric) -> str:
    """Return a metric's unit.

    Raises:
        LookupError: its name ends as none of `UNITS`.

    """
    for end, found in UNITS.items():
        if _name(family).removesuffix("_total").endswith(f"_{end}"):
            return found
    raise LookupError(f"{family.name} ends as no unit does")


def labels_of(family: Metric) -> dict[str, list[str]]:
    """Return a metric's labels with their values, in the order they are declared."""
    found: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if value not in found.setdefault(label, []):
                found[label].append(value)
    return found


def _labels(family: Metric) -> str:
    shown = []
    for label, values in labels_of(family).items():
        said = OPEN.get(label, ", ".join(f"`{value}`" if value else "empty" for value in values))
        if said:
            shown.append(f"`{label}`: {said}")
    return "<br>".join(shown)


def sample_labels() -> dict[str, dict[str, list[str]]]:
    """Return by the name of every sample, as expressions name it, its labels with their values."""
    found: dict[str, dict[str, list[str]]] = {}
    for registry in registries().values():
        for family in registry.collect():
            for suffix in SUFFIXES.get(family.type, ("",)):
                found[family.name + suffix] = labels_of(family)
    return found
