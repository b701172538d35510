"""The admin port, over real HTTP, and the metrics it shows."""

from collections.abc import Callable
from math import prod

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from deploy.metrics_page import labels_of, registries
from ingest.app import ANSWERS
from runtime.admin import admin_server
from runtime.errors import SetupError
from runtime.metrics import ClaimReason, IngestMetrics, PartitionActivity, ProcessorMetrics, StoreName, new_registry
from schemas.couriers import COURIERS
from schemas.vocabulary import AnomalyKind, DeadLetterReason, Outcome

INGEST = {
    "waybill_ingest_requests",
    "waybill_ingest_request_duration_seconds",
    "waybill_ingest_last_accepted_timestamp_seconds",
    "waybill_ingest_spool_records",
    "waybill_ingest_spool_oldest_age_seconds",
}
PROCESSOR = {
    "waybill_processor_observations",
    "waybill_processor_dead_letters",
    "waybill_processor_lag_records",
    "waybill_processor_event_delay_seconds",
    "waybill_processor_commit_duration_seconds",
    "waybill_processor_claims",
    "waybill_processor_partition_state",
    "waybill_processor_oldest_waiting_seconds",
    "waybill_processor_anomalies",
    "waybill_processor_store_up",
}


async def get(port: int, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, response.content_type, await response.text()


async def test_health_and_readiness() -> None:
    parts = {"kafka": False, "postgres": True}
    async with admin_server("127.0.0.1", 0, new_registry(), lambda: parts) as port:
        assert (await get(port, "/healthz"))[0] == 200
        status, content_type, body = await get(port, "/readyz")
        assert (status, content_type) == (503, "application/json")
        assert '"kafka": false' in body
        parts["kafka"] = True
        assert (await get(port, "/readyz"))[0] == 200
        assert (await get(port, "/nothing"))[0] == 404


@pytest.mark.parametrize(("metrics", "names"), [(IngestMetrics, INGEST), (ProcessorMetrics, PROCESSOR)])
async def test_every_documented_metric_is_shown(
    metrics: Callable[[CollectorRegistry], object], names: set[str]
) -> None:
    registry = new_registry()
    metrics(registry)
    async with admin_server("127.0.0.1", 0, registry, dict) as port:
        status, content_type, body = await get(port, "/metrics")
    assert (status, content_type) == (200, "text/plain")
    shown = {family.name for family in text_string_to_metric_families(body)}
    assert names | {"waybill_build_info"} <= shown


async def test_counters_end_in_total() -> None:
    registry = new_registry()
    IngestMetrics(registry).requests.labels("dash", "200").inc()
    assert registry.get_sample_value("waybill_ingest_requests_total", {"courier": "dash", "code": "200"}) == 1


def samples(registry: CollectorRegistry, labels: dict[str, str]) -> dict[tuple[str, ...], float]:
    """Return all samples with these labels among theirs, by name and the rest of their labels."""
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name not in labels)): sample.value
        for family in registry.collect()
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


def test_every_set_of_labels_of_the_processor_is_there_from_the_start() -> None:
    registry = new_registry()
    ProcessorMetrics(registry)
    for courier in COURIERS:
        found = samples(registry, {"courier": courier})
        assert {("waybill_processor_observations_total", each): 0.0 for each in Outcome}.items() <= found.items()
        assert {("waybill_processor_anomalies_total", each): 0.0 for each in AnomalyKind}.items() <= found.items()
    everything = samples(registry, {})
    for name, words in (
        ("waybill_processor_dead_letters_total", DeadLetterReason),
        ("waybill_processor_claims_total", ClaimReason),
        ("waybill_processor_commit_duration_seconds_count", StoreName),
        ("waybill_processor_store_up", StoreName),
    ):
        assert {key[1] for key in everything if key[0] == name} == set(words)
        assert {value for key, value in everything.items() if key[0] == name} == {0.0}


@pytest.mark.parametrize("process", ["ingest", "processor", "reconcile"])
def test_every_labelled_metric_has_all_its_sets_of_labels_at_0_from_the_start(process: str) -> None:
    """As many as its labels' values come to, multiplied; the door's codes differ where no courier is known."""
    for family in registries()[process].collect():
        if not family.name.startswith("waybill_") or family.type in {"histogram", "info"}:
            continue
        values = [len(each) for each in labels_of(family).values()]
        expected = len(ANSWERS) * len(COURIERS) + 4 if family.name == "waybill_ingest_requests" else prod(values)
        assert len(family.samples) == expected, family.name
        if family.name != "waybill_processor_partition_state":
            assert {sample.value for sample in family.samples} == {0.0}, family.name


def test_a_partition_shows_one_state_while_it_is_assigned_and_nothing_afterwards() -> None:
    registry = new_registry()
    metrics = ProcessorMetrics(registry)
    assert not samples(registry, {"partition": "3"})
    now = PartitionActivity.CLAIMING
    metrics.show_partition(3, lambda: now, lambda: 5.0, lambda: 17.5)
    for now in PartitionActivity:
        expected: dict[tuple[str, ...], float] = {
            ("waybill_processor_lag_records",): 5.0,
            ("waybill_processor_oldest_waiting_seconds",): 17.5,
        }
        for each in PartitionActivity:
            expected["waybill_processor_partition_state", each] = float(each is now)
        assert samples(registry, {"partition": "3"}) == expected
    metrics.hide_partition(3)
    assert not samples(registry, {"partition": "3"})


async def test_a_taken_port_is_one_clear_line() -> None:
    async with admin_server("127.0.0.1", 0, new_registry(), dict) as port:
        with pytest.raises(SetupError, match=f"cannot listen on 127.0.0.1:{port}: "):
            async with admin_server("127.0.0.1", port, new_registry(), dict):
                pass
