"""What of the Helm chart is written by the code: which values fit, by the settings that there are; the alerts' rules.

The chart's own templates are in `deploy/helm/waybill`. `make schemas` writes these two beside them.
"""

import json
from pathlib import Path
from typing import Any, Final

from runtime.settings import declared

CHART: Final = "deploy/helm/waybill"
RULES: Final = Path(__file__).parent / "prometheus" / "rules.yml"

SET_BY_THE_CHART: Final = frozenset(
    {
        "ACCOUNT",
        "ADMIN_HOST",
        "CONSOLE_HOST",
        "CONSOLE_PORT",
        "INGEST_ADMIN_PORT",
        "INGEST_HOST",
        "INGEST_PORT",
        "INGEST_SPOOL_DIR",
        "KAFKA_SSL_CAFILE",
        "LOG_FORMAT",
        "PROCESSOR_ADMIN_PORT",
        "RECONCILE_ADMIN_PORT",
    }
)
"""Settings that nobody may give: ports stay as they are by default, probes and services go by them."""

NAME: Final = "^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$"
"""A StatefulSet's name may have 52 characters; 24 are the release's."""

OTEL_NAME: Final = {"pattern": "^OTEL_[A-Z0-9_]+$", "not": {"pattern": "HEADERS$"}}
"""A setting of OpenTelemetry's library. Headers may hold a secret, and a secret is no value in plain view."""

QUANTITY: Final = {"type": "string", "pattern": r"^[0-9.]+(m|Ki|Mi|Gi|Ti|k|M|G|T)?$"}
TEXT: Final = {"type": "string"}
FLAG: Final = {"type": "boolean"}
ANY_OBJECT: Final = {"type": "object"}


def secret_settings() -> frozenset[str]:
    """Return the settings whose values are, or may hold, secrets."""
    return frozenset(name for name, setting in declared().items() if setting.mask)


def documents() -> dict[str, str]:
    """Return the chart's written files by their path from the project's root."""
    return {
        f"{CHART}/values.schema.json": json.dumps(values_schema(), indent=2) + "\n",
        f"{CHART}/files/rules.yml": RULES.read_text(),
    }


def values_schema() -> dict[str, Any]:
    """Return the JSON Schema of the chart's values: a misspelt setting, a secret in plain view, `latest` do not fit."""
    secrets = secret_settings()
    given = set(declared()) - secrets - SET_BY_THE_CHART
    resources = {"requests": _ref("quantities"), "limits": _ref("quantities")}
    told = {"settings": _ref("settings"), "secrets": _ref("secrets")}
    job = {**told, "deadlineSeconds": _whole(1), "resources": _ref("resources")}
    service = {**told, "replicas": _whole(0), "resources": _ref("resources")}
    spool = _closed({"size": QUANTITY, "storageClassName": TEXT})
    reconcile = _closed({"enabled": FLAG, **told})
    account = _closed(
        {"name": {"type": "string", "pattern": NAME}, "account": TEXT, **told, "reconcile": reconcile},
        required=["name", "account"],
    )
    image = {
        "repository": {"type": "string", "minLength": 1},
        "tag": {"type": "string", "not": {"const": "latest"}},
        "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        "pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    }
    brokers = {"KAFKA_BOOTSTRAP_SERVERS": {"type": "string", "minLength": 1}}
    peers = _closed({"from": _list(ANY_OBJECT)})
    ports = _list({"type": "integer", "minimum": 1, "maximum": 65535})
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of Waybill's chart",
        **_closed(
            {
                "global": ANY_OBJECT,  # Helm's own
                "image": _closed(image),
                "imagePullSecrets": _list(ANY_OBJECT),
                "settings": {"allOf": [_ref("settings"), {"required": list(brokers), "properties": brokers}]},
                "secrets": _ref("secrets"),
                "opentelemetry": {"type": "object", "propertyNames": OTEL_NAME, "additionalProperties": TEXT},
                "certificates": _closed({"kafka": _ref("certificate"), "postgres": _ref("certificate")}),
                "nodeSelector": ANY_OBJECT,
                "tolerations": _list(ANY_OBJECT),
                "setup": _closed(job),
                "accounts": {**_list(account), "minItems": 1},
                "ingest": _closed({**service, "spool": spool, "drainSeconds": _whole(1)}),
                "processor": _closed(service),
                "reconcile": _closed({**told, "resources": _ref("resources")}),
                "console": _closed({"enabled": FLAG, **service}),
                "retention": _closed({"enabled": FLAG, "schedule": TEXT, "timeZone": TEXT, **job}),
                "networkPolicy": _closed(
                    {
                        "enabled": FLAG,
                        **dict.fromkeys(("door", "console", "metrics"), peers),
                        **dict.fromkeys(("kafkaPorts", "postgresPorts", "apiPorts", "tracePorts"), ports),
                    }
                ),
                "serviceMonitor": _closed({"enabled": FLAG, "labels": ANY_OBJECT, "interval": TEXT}),
                "prometheusRule": _closed({"enabled": FLAG, "labels": ANY_OBJECT, "runbookPrefix": TEXT}),
            }
        ),
        "definitions": {
            "settings": _map(given, TEXT),
            "secrets": _map(secrets, _ref("key")),
            "key": _closed({"secret": TEXT, "key": TEXT}, required=["secret", "key"]),
            "certificate": _closed({"secret": TEXT, "configMap": TEXT, "key": TEXT}),
            "quantities": _closed({"cpu": QUANTITY, "memory": QUANTITY}, required=["cpu", "memory"]),
            "resources": _closed(resources, required=["requests", "limits"]),
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{name}"}


def _closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """Describe an object that has these properties and no others."""
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def _map(names: set[str] | frozenset[str], value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"enum": sorted(names)}, "additionalProperties": value}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _whole(least: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least}
