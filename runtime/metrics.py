"""Every metric, declared once. A process has its own registry with the metrics of its part."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from itertools import accumulate, product
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
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from schemas.couriers import COURIERS
from schemas.vocabulary import AnomalyKind, DeadLetterReason, Outcome, Status

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""A request takes a few milliseconds; the publish timeout (2 s) bounds it."""

COMMIT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 5.0, 15.0)
"""A commit takes 2 to 40 ms; the Kafka transaction's timeout (15 s) bounds it."""

LATENESS_QUANTILES: Final = (0.5, 0.9, 0.99)
"""Half of the webhooks, nine of ten, and all but one of a hundred."""

DELAY_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 14400.0)
"""Tens of milliseconds when all is well, hours behind an outage."""


class Delays(Collector):
    """A histogram of seconds that is told many values at once: `Histogram` takes several times as long for each."""

    def __init__(self, name: str, documentation: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        """Register it. `buckets` are the upper bounds, ascending."""
        self._name = name
        self._documentation = documentation
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: Iterable[float]) -> None:
        """Count values."""
        bounds, counts = self._bounds, self._counts
        for seconds in values:
            counts[bisect_left(bounds, seconds)] += 1
            self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what was counted so far."""
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)


class StoreName(StrEnum):
    """The two stores."""

    KAFKA = "kafka"
    POSTGRES = "postgres"


class PartitionActivity(StrEnum):
    """What a processor does with a partition assigned to it."""

    CLAIMING = "claiming"
    """It is being taken over, or its first batch is under way."""
    WORKING = "working"
    """A batch was done since it was taken over, or none waited."""
    HALTED = "halted"
    """It stands still: the log says `partition halted`, and why."""


class ClaimReason(StrEnum):
    """Why a partition was claimed."""

    ASSIGNED = "assigned"
    """The group has given it to this process."""
    MENDED = "mended"
    """What had halted it is mended."""
    LOST = "claim_lost"
    """Another claim has taken it over meanwhile, says PostgreSQL."""
    FENCED = "fenced"
    """Another claim has taken it over meanwhile, or a transaction took too long, says Kafka."""
    TIMEOUT = "timeout"
    """A store has not answered within the limit."""
    KAFKA = "kafka"
    """Kafka has answered with an error."""
    POSTGRES = "postgres"
    """PostgreSQL has answered with an error."""
    CONNECTION = "connection"
    """A store could not be reached, or a connection to it broke."""


class AskResult(StrEnum):
    """What came of asking a courier about a shipment: in the table, the metrics and the summary."""

    NEWS = "news"
    NO_NEWS = "no_news"
    NOT_FOUND = "not_found"
    THROTTLED = "throttled"
    FAILED = "failed"
    REFUSED = "refused"


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
        self.spool_bytes = Gauge(
            "waybill_ingest_spool_bytes",
            "How much the spool holds of what counts against its limit.",
            registry=registry,
        )
        self.spool_limit = Gauge(
            "waybill_ingest_spool_limit_bytes",
            "How much the spool may hold before the door answers 503; 0 without a spool.",
            registry=registry,
        )
        self.spool_age_limit = Gauge(
            "waybill_ingest_spool_age_limit_seconds",
            "How long a record may wait in the spool before the door answers 503; 0 without a spool.",
            registry=registry,
        )

        self._answered: dict[tuple[str, int], Counter] = {}

    def answered(self, courier: str, code: int) -> Counter:
        """Return what counts the answers of one courier and code. Finding it by its labels would take the longest."""
        counter = self._answered.get((courier, code))
        if counter is None:
            counter = self._answered[courier, code] = self.requests.labels(courier, str(code))
        return counter

    def begin(self, couriers: Iterable[str], codes: Sequence[int]) -> None:
        """Show what is counted by courier at 0: a rate over a label that comes into being misses its first."""
        for courier in couriers:
            self.last_accepted.labels(courier)
            for code in codes:
                self.requests.labels(courier, str(code))
        for code in (400, 404, 500, 503):  # of no courier: other paths, and what is no HTTP
            self.requests.labels("", str(code))


class ProcessorMetrics:
    """The processor's metrics. Every set of labels is there from the start, but for those of partitions: these are
    there while the partition is assigned to this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self.observations = Counter(
            "waybill_processor_observations_total",
            "Observations, by courier and by what they led to.",
            ["courier", "outcome"],
            registry=registry,
        )
        self.anomalies = Counter(
            "waybill_processor_anomalies_total",
            "Anomalies published, by courier and kind.",
            ["courier", "kind"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "waybill_processor_dead_letters_total",
            "Raw records that gave no observation.",
            ["reason"],
            registry=registry,
        )
        self.partition_state = Gauge(
            "waybill_processor_partition_state",
            "1 for what is done with a partition just now (claiming, working, halted), 0 for the rest.",
            ["partition", "state"],
            registry=registry,
        )
        self.lag_records = Gauge(
            "waybill_processor_lag_records",
            "Raw records of a partition that wait to be processed.",
            ["partition"],
            registry=registry,
        )
        self.oldest_waiting = Gauge(
            "waybill_processor_oldest_waiting_seconds",
            "For how long the oldest raw record of a partition that is not processed has waited; 0 where none waits.",
            ["partition"],
            registry=registry,
        )
        self.assigned_partitions = Gauge(
            "waybill_processor_assigned_partitions",
            "How many partitions of the raw topic this process works on.",
            registry=registry,
        )
        self.raw_partitions = Gauge(
            "waybill_processor_raw_partitions",
            "How many partitions the raw topic has, as this process has last seen.",
            registry=registry,
        )
        self.open_dead_letters = Gauge(
            "waybill_processor_open_dead_letters",
            "Dead letters about which nobody has decided, among the newest; counted by one process: take the maximum.",
            ["reason"],
            registry=registry,
        )
        self.open_anomalies = Gauge(
            "waybill_processor_open_anomalies",
            "Anomalies that are neither settled nor decided about, among the newest; counted by one process: take the "
            "maximum.",
            ["kind"],
            registry=registry,
        )
        self.silent_shipments = Gauge(
            "waybill_processor_silent_shipments",
            "Shipments under way without an event for WAYBILL_RECONCILE_STALE_AFTER, up to an hour more; "
            "counted by one process: take the maximum.",
            ["courier"],
            registry=registry,
        )
        self.counted = Gauge(
            "waybill_processor_counted_timestamp_seconds",
            "When the open dead letters and anomalies and the silent shipments were last counted, in seconds since the "
            "epoch; 0 in a process that does not count them.",
            registry=registry,
        )
        self.event_delay = Delays(
            "waybill_processor_event_delay_seconds",
            "From a webhook received to its event committed.",
            DELAY_SECONDS,
            registry,
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
        for courier, outcome in product(COURIERS, Outcome):
            self.observations.labels(courier, outcome)
        for courier, kind in product(COURIERS, AnomalyKind):
            self.anomalies.labels(courier, kind)
        for reason in DeadLetterReason:
            self.dead_letters.labels(reason)
        for store in StoreName:
            self.commit_duration.labels(store)
            self.store_up.labels(store)
        for why in ClaimReason:
            self.claims.labels(why)
        self.show_nothing_counted()

    def show_counted(
        self,
        dead_letters: Mapping[str, int],
        anomalies: Mapping[str, int],
        silent: Mapping[str, int],
        at: float,
    ) -> None:
        """Show what was counted in PostgreSQL at a time, in seconds since the epoch. What is not named is 0."""
        for reason in DeadLetterReason:
            self.open_dead_letters.labels(reason).set(dead_letters.get(reason, 0))
        for kind in AnomalyKind:
            self.open_anomalies.labels(kind).set(anomalies.get(kind, 0))
        for courier in COURIERS:
            self.silent_shipments.labels(courier).set(silent.get(courier, 0))
        self.counted.set(at)

    def show_nothing_counted(self) -> None:
        """Show zeros: this process does not count."""
        self.show_counted({}, {}, {}, 0.0)

    def show_partition(
        self,
        partition: int,
        state: Callable[[], PartitionActivity],
        lag_records: Callable[[], float],
        oldest_waiting: Callable[[], float],
    ) -> None:
        """Show a partition from now on. The functions are asked whenever somebody reads the metrics."""
        number = str(partition)
        for each in PartitionActivity:
            self.partition_state.labels(number, each).set_function(partial(_is_now, state, each))
        self.lag_records.labels(number).set_function(lag_records)
        self.oldest_waiting.labels(number).set_function(oldest_waiting)

    def hide_partition(self, partition: int) -> None:
        """Show a partition no longer: what this process knows of it is out of date."""
        number = str(partition)
        for each in PartitionActivity:
            self.partition_state.remove(number, each)
        self.lag_records.remove(number)
        self.oldest_waiting.remove(number)


def _is_now(state: Callable[[], PartitionActivity], wanted: PartitionActivity) -> float:
    return float(state() is wanted)


class ReconcileMetrics:
    """The metrics of asking couriers. Every set of labels is there from the start."""

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
            "Shipments that were due at the begin of the newest round; 20,000 stands for as many or more.",
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
        for courier in COURIERS:
            for by_courier in (self.records, self.due, self.healed):
                by_courier.labels(courier)
            for outcome in AskResult:
                self.asks.labels(courier, outcome)
            for status in Status:
                self.only_by_pull.labels(courier, status)
            for quantile in LATENESS_QUANTILES:
                self.webhook_lateness.labels(courier, quantile)


class ConsoleMetrics:
    """The console's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them."""
        self.requests = Counter(
            "waybill_console_requests_total",
            "Requests answered, by page (empty where it is none of the pages) and status code.",
            ["page", "code"],
            registry=registry,
        )
        self.refused_logins = Counter(
            "waybill_console_refused_logins_total",
            "Log-ins refused: a wrong name or password, or too many attempts.",
            registry=registry,
        )

    def begin(self, pages: Iterable[str], codes: Iterable[int]) -> None:
        """Show every answer that there may be, at 0, for pages by their names."""
        for page, code in product(("", *pages), codes):
            self.requests.labels(page, str(code))
