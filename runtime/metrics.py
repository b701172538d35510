"""Every metric, declared once. A process has its own registry with the metrics of its part."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""A request takes a few milliseconds; the publish timeout (2 s) bounds it."""

COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5.0, 15.0)
"""A commit takes 2 to 40 ms; the Kafka transaction's timeout (15 s) bounds it."""

DELAY_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 14400.0)
"""Tens of milliseconds when all is well, hours behind an outage."""


def new_registry() -> CollectorRegistry:
    """Make a process's registry, with `waybill_build_info` and the process's own figures."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    Info("waybill_build", "The version that runs.", registry=registry).info({"version": version("waybill")})
    ProcessCollector(registry=registry)
    return registry


class IngestMetrics:
    """The door's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self.requests = Counter(
            "waybill_ingest_requests_total",
            "Webhooks answered, by courier (empty where none is known by that name) and status code.",
            ["courier", "code"],
            registry=registry,
        )
        self.request_duration = Histogram(
            "waybill_ingest_request_duration_seconds",
            "From a webhook's head to its answer.",
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.last_accepted = Gauge(
            "waybill_ingest_last_accepted_timestamp_seconds",
            "When a webhook was last accepted, in seconds since the epoch.",
            ["courier"],
            registry=registry,
        )
        self.spool_records = Gauge(
            "waybill_ingest_spool_records", "Records that wait in the spool for Kafka.", registry=registry
        )
        self.spool_oldest_age = Gauge(
            "waybill_ingest_spool_oldest_age_seconds",
            "How long the oldest record has waited in the spool.",
            registry=registry,
        )
        self.spool_drained = Counter(
            "waybill_ingest_spool_drained_total", "Records brought from the spool to Kafka.", registry=registry
        )
        self.spool_refused = Counter(
            "waybill_ingest_spool_refused_total",
            "Records that Kafka refused for good. They lie in the spool for an operator (`waybill spool`).",
            registry=registry,
        )
        self.spool_refused_records = Gauge(
            "waybill_ingest_spool_refused_records",
            "Records in the spool that Kafka refused for good: an operator sends them again or drops them.",
            registry=registry,
        )

    def begin(self, couriers: Iterable[str], codes: Sequence[int]) -> None:
        """Show what is counted by courier at 0: a rate over a label that comes into being misses its first."""
        for courier in couriers:
            self.last_accepted.labels(courier)
            for code in codes:
                self.requests.labels(courier, str(code))
        for code in (400, 404, 500, 503):  # of no courier: other paths, and what is no HTTP
            self.requests.labels("", str(code))


class ProcessorMetrics:
    """The processor's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self.observations = Counter(
            "waybill_processor_observations_total",
            "Observations, by courier and by what they led to.",
            ["courier", "outcome"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "waybill_processor_dead_letters_total",
            "Raw records that gave no observation.",
            ["reason"],
            registry=registry,
        )
        self.lag_records = Gauge(
            "waybill_processor_lag_records",
            "Raw records of a partition that wait to be processed.",
            ["partition"],
            registry=registry,
        )
        self.event_delay = Histogram(
            "waybill_processor_event_delay_seconds",
            "From a webhook received to its event committed.",
            buckets=DELAY_SECONDS,
            registry=registry,
        )
        self.commit_duration = Histogram(
            "waybill_processor_commit_duration_seconds",
            "How long a batch's transaction takes, by store (postgres, kafka).",
            ["store"],
            buckets=COMMIT_SECONDS,
            registry=registry,
        )
        self.store_up = Gauge(
            "waybill_processor_store_up",
            "Whether a store (postgres, kafka) answers: 1 or 0.",
            ["store"],
            registry=registry,
        )
        self.claims = Counter(
            "waybill_processor_claims_total",
            "Partitions claimed, by why.",
            ["reason"],
            registry=registry,
        )


class ReconcileMetrics:
    """The metrics of asking couriers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self.asks = Counter(
            "waybill_reconcile_asks_total",
            "Shipments couriers were asked about, by courier and by what came of it.",
            ["courier", "outcome"],
            registry=registry,
        )
        self.records = Counter(
            "waybill_reconcile_records_total",
            "Raw records appended because no webhook had told them.",
            ["courier"],
            registry=registry,
        )
        self.due = Gauge(
            "waybill_reconcile_due_shipments",
            "Shipments that were due at the begin of the newest round.",
            ["courier"],
            registry=registry,
        )
        self.last_round = Gauge(
            "waybill_reconcile_last_round_timestamp_seconds",
            "When a round last ended, in seconds since the epoch.",
            registry=registry,
        )
        self.healed = Counter(
            "waybill_reconcile_healed_total",
            "Shipments whose status an answer of the courier has moved.",
            ["courier"],
            registry=registry,
        )
        self.only_by_pull = Counter(
            "waybill_reconcile_only_by_pull_total",
            "Statuses of shipments that no webhook had told when an answer of the courier did.",
            ["courier", "status"],
            registry=registry,
        )
        self.webhook_lateness = Gauge(
            "waybill_reconcile_webhook_lateness_seconds",
            "How long after the event its webhook came, in the last five minutes, by quantile.",
            ["courier", "quantile"],
            registry=registry,
        )
