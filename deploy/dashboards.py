"""The Grafana dashboards, as committed under `deploy/grafana/dashboards/`: what each panel asks, and its place."""

from typing import Any, Final

import msgspec

FOLDER: Final = "deploy/grafana/dashboards"

COLUMNS: Final = 24
"""How wide a row is, in Grafana's own unit."""

SCHEMA: Final = 39
"""The dashboards' form: that of Grafana 11, which newer ones read."""

RATE: Final = "$__rate_interval"
"""Grafana puts in how long a rate must look back for the chosen range."""

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


class Query(msgspec.Struct, frozen=True):
    """One expression, and what its series are called."""

    expr: str
    legend: str = ""


class Panel(msgspec.Struct, frozen=True):
    """One picture: a number (`stat`) or lines over time. `unit` is Grafana's word for it."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    about: str = ""
    stat: bool = False
    red_from: float | None = None
    """Of a number: from here on it is red."""


class Dashboard(msgspec.Struct, frozen=True):
    """One page of panels."""

    name: str
    title: str
    about: str
    panels: tuple[Panel, ...]


def _number(title: str, expr: str, about: str, *, unit: str = "short", red_from: float = 1) -> Panel:
    return Panel(title, (Query(expr),), unit, about, stat=True, red_from=red_from)


def _lines(title: str, expr: str, legend: str, *, unit: str = "short", about: str = "") -> Panel:
    return Panel(title, (Query(expr, legend),), unit, about)


def _quantiles(title: str, histogram: str, about: str, by: str = "") -> Panel:
    """Show within how many seconds half, nine of ten and 99 of a hundred are done, by a label if one is given."""
    grouped = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return Panel(
        title,
        tuple(
            Query(
                f"histogram_quantile({share}, sum by ({grouped}) (rate({histogram}_bucket[{RATE}])))",
                f"{legend}{share:.0%}",
            )
            for share in (0.5, 0.9, 0.99)
        ),
        "s",
        about,
    )


OVERVIEW: Final = Dashboard(
    "waybill-overview",
    "Waybill: overview",
    "Does everything get on? What waits for somebody?",
    (
        _number("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', "Alerts that fire, of all kinds."),
        _number(
            "Partitions that stand still",
            'sum(max by (partition) (waybill_processor_partition_state{state="halted"}))',
            "`waybill doctor` says why, and what mends it.",
        ),
        _number(
            "Partitions nobody works on",
            "max(waybill_processor_raw_partitions) - sum(waybill_processor_assigned_partitions)",
            "The raw topic's partitions less those assigned to processors.",
        ),
        _number(
            "Oldest waiting",
            "max(waybill_processor_oldest_waiting_seconds)",
            "For how long the oldest webhook that is not processed has waited.",
            unit="s",
            red_from=300,
        ),
        _number(
            "Open dead letters",
            "sum(max by (reason) (waybill_processor_open_dead_letters))",
            "`waybill dlq list` shows them.",
        ),
        _number(
            "Open anomalies",
            "sum(max by (kind) (waybill_processor_open_anomalies))",
            "`waybill anomalies list` shows them.",
        ),
        _lines(
            "Webhooks accepted a second",
            f'sum by (courier) (rate(waybill_ingest_requests_total{{code="200"}}[{RATE}]))',
            "{{courier}}",
            unit="reqps",
        ),
        _lines(
            "Observations a second",
            f"sum by (outcome) (rate(waybill_processor_observations_total[{RATE}]))",
            "{{outcome}}",
            unit="ops",
            about="What came of the items of webhooks, of answers of couriers and of operators' decisions.",
        ),
        _quantiles(
            "From webhook to event",
            "waybill_processor_event_delay_seconds",
            "From a webhook received to its event committed: what subscribers wait.",
        ),
        _lines(
            "Oldest waiting, by partition",
            "max by (partition) (waybill_processor_oldest_waiting_seconds)",
            "{{partition}}",
            unit="s",
        ),
        _lines("Partitions by state", "sum by (state) (waybill_processor_partition_state)", "{{state}}"),
        _lines("Stores that answer", "min by (store) (waybill_processor_store_up)", "{{store}}", about="1: yes."),
        _quantiles(
            "Commits",
            "waybill_processor_commit_duration_seconds",
            "How long a batch's transaction takes.",
            "store",
        ),
        _lines(
            "Claims",
            f"sum by (reason) (increase(waybill_processor_claims_total[{RATE}]))",
            "{{reason}}",
            about="Partitions taken over, by why. After `assigned` there should be few.",
        ),
        _lines(
            "Records that wait",
            "sum by (partition) (waybill_processor_lag_records)",
            "{{partition}}",
            about="A backlog that gets on is no alarm.",
        ),
        Panel(
            "Console",
            (
                Query(f"sum by (code) (increase(waybill_console_requests_total[{RATE}]))", "{{code}}"),
                Query(f"sum(increase(waybill_console_refused_logins_total[{RATE}]))", "refused log-ins"),
            ),
            about="Pages and answers of the operators' console.",
        ),
        _lines("Memory", "process_resident_memory_bytes", "{{job}} {{instance}}", unit="bytes"),
    ),
)

DOOR: Final = Dashboard(
    "waybill-door",
    "Waybill: the door",
    "What couriers post, what they are answered, and what waits in the spool.",
    (
        _lines(
            "Answers a second",
            f"sum by (courier, code) (rate(waybill_ingest_requests_total[{RATE}]))",
            "{{courier}} {{code}}",
            unit="reqps",
            about="503: neither Kafka nor the spool takes it. 401: the secret is wrong.",
        ),
        _quantiles(
            "How long an answer takes",
            "waybill_ingest_request_duration_seconds",
            "From a webhook's head to its answer.",
        ),
        _lines(
            "Since the last webhook",
            "time() - max by (courier) (waybill_ingest_last_accepted_timestamp_seconds > 0)",
            "{{courier}}",
            unit="s",
        ),
        _lines("In the spool: records", "waybill_ingest_spool_records", "{{instance}}"),
        Panel(
            "In the spool: age of the oldest",
            (
                Query("waybill_ingest_spool_oldest_age_seconds", "{{instance}}"),
                Query("waybill_ingest_spool_age_limit_seconds", "{{instance}} limit"),
            ),
            "s",
            "At the limit the door answers 503.",
        ),
        Panel(
            "In the spool: bytes",
            (
                Query("waybill_ingest_spool_bytes", "{{instance}}"),
                Query("waybill_ingest_spool_limit_bytes", "{{instance}} limit"),
            ),
            "bytes",
            "At the limit the door answers 503.",
        ),
        _lines(
            "Set aside",
            "waybill_ingest_spool_refused_records",
            "{{instance}}",
            about="What Kafka refuses for good: `waybill spool list` on that machine.",
        ),
        _lines(
            "Out of the spool a second",
            f"rate(waybill_ingest_spool_drained_total[{RATE}])",
            "{{instance}}",
            unit="ops",
        ),
        _lines(
            "Processor time of the doors",
            f'rate(process_cpu_seconds_total{{job="waybill-ingest"}}[{RATE}])',
            "{{instance}}",
            unit="percentunit",
        ),
    ),
)

COURIERS: Final = Dashboard(
    "waybill-couriers",
    "Waybill: couriers",
    "What each courier tells, what it leaves out, and what asking it has brought.",
    (
        _lines(
            "Observations a second",
            f"sum by (courier, outcome) (rate(waybill_processor_observations_total[{RATE}]))",
            "{{courier}} {{outcome}}",
            unit="ops",
        ),
        _lines(
            "Anomalies in an hour",
            "sum by (courier, kind) (increase(waybill_processor_anomalies_total[1h]))",
            "{{courier}} {{kind}}",
        ),
        _lines(
            "Dead letters in an hour",
            "sum by (reason) (increase(waybill_processor_dead_letters_total[1h]))",
            "{{reason}}",
        ),
        _lines(
            "Open anomalies",
            "max by (kind) (waybill_processor_open_anomalies)",
            "{{kind}}",
            about="Among the newest 500.",
        ),
        _lines(
            "Open dead letters",
            "max by (reason) (waybill_processor_open_dead_letters)",
            "{{reason}}",
            about="Among the newest 2,000.",
        ),
        _lines(
            "Silent shipments",
            "max by (courier) (waybill_processor_silent_shipments)",
            "{{courier}}",
            about="Under way, without an event for WAYBILL_RECONCILE_STALE_AFTER.",
        ),
        _lines(
            "Asked in an hour",
            "sum by (courier, outcome) (increase(waybill_reconcile_asks_total[1h]))",
            "{{courier}} {{outcome}}",
        ),
        _lines("Due to be asked about", "max by (courier) (waybill_reconcile_due_shipments)", "{{courier}}"),
        _lines(
            "Since the last round",
            "time() - max(waybill_reconcile_last_round_timestamp_seconds)",
            "since the last round",
            unit="s",
        ),
        _lines(
            "Healed in an hour",
            "sum by (courier) (increase(waybill_reconcile_healed_total[1h]))",
            "{{courier}}",
            about="Shipments whose status an answer has moved.",
        ),
        _lines(
            "Appended in an hour",
            "sum by (courier) (increase(waybill_reconcile_records_total[1h]))",
            "{{courier}}",
            about="Raw records that no webhook had told.",
        ),
        _lines(
            "Webhooks that never came, in an hour",
            "sum by (courier, status) (increase(waybill_reconcile_only_by_pull_total[1h]))",
            "{{courier}} {{status}}",
            about="Statuses that only an answer has told.",
        ),
        _lines(
            "How late webhooks are",
            "max by (courier, quantile) (waybill_reconcile_webhook_lateness_seconds)",
            "{{courier}} {{quantile}}",
            unit="s",
        ),
    ),
)

DASHBOARDS: Final = (OVERVIEW, DOOR, COURIERS)


def documents() -> dict[str, str]:
    """Return each dashboard's JSON by its path from the project's root."""
    return {
        f"{FOLDER}/{each.name}.json": msgspec.json.format(msgspec.json.encode(_document(each)), indent=2).decode()
        + "\n"
        for each in DASHBOARDS
    }


def _document(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.name,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["waybill"],
        "schemaVersion": SCHEMA,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "links": [
            {"type": "dashboards", "title": "Waybill", "tags": ["waybill"], "asDropdown": True, "keepTime": True}
        ],
        "panels": _placed(dashboard.panels),
    }


def _placed(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Return the panels row by row: six numbers, or three pictures."""
    placed: list[dict[str, Any]] = []
    x = y = bottom = 0
    for number, panel in enumerate(panels, start=1):
        width, height = (4, 4) if panel.stat else (8, 8)
        if x + width > COLUMNS or (placed and placed[-1]["gridPos"]["h"] != height):
            x, y = 0, bottom
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": width, "h": height}))
        x, bottom = x + width, max(bottom, y + height)
    return placed


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.red_from is not None:
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": "green", "value": None}, {"color": "red", "value": panel.red_from}],
        }
    options: dict[str, Any] = (
        {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
        if panel.stat
        else {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    )
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": panel.stat,
                "range": not panel.stat,
            }
            for index, query in enumerate(panel.queries)
        ],
    }
