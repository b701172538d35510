"""The Helm chart: what it renders is what Kubernetes takes, and keeps to our rules. No cluster is needed."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as kubernetes_schemas

from cli.main import command_line
from console.access import contradictions
from deploy.chart import RULES, SET_BY_THE_CHART, secret_settings
from runtime.lifecycle import LAST_RESORT_SECONDS
from runtime.settings import PREFIX, Settings, declared, load_settings, unknown_settings
from tests.charts import CHART, ROOT, Object, RefusedError, named, objects, pod_of, render

VALUES: Final = ("minimal", "proxy", "full")
SERVICES: Final = ("ingest", "processor", "reconcile", "console")
CUSTOM: Final = ("ServiceMonitor", "PrometheusRule")
"""Of the Prometheus operator: Kubernetes itself does not know them."""

OLDEST: Final = "1.27"
SECRETS: Final = "/run/secrets/waybill/"
TOLD: Final = {
    "DATABASE_URL": "postgresql://waybill:secret@postgres/waybill?sslmode=verify-full",
    "CONSOLE_USERS": "ani:viewer:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
    "CONSOLE_SESSION_KEY": "k" * 40,
}
"""What a Secret might hold; of others anything."""

ONCE: Final = {"after": "migrate --after", "retention": "retention --yes"}
"""What is run to its end by itself, by its component."""

AFTER: Final = "waybill-after"

Run = tuple[str, Object, Object]
"""A component, a container of it and its pod's specification."""


def runs(values: str) -> Iterator[Run]:
    for each in named(values):
        if (pod := pod_of(each)) is not None:
            component = each["metadata"]["labels"]["app.kubernetes.io/component"]
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
                yield component, container, pod["spec"]


def of_kind(values: str, *kinds: str) -> list[Object]:
    return [each for each in named(values) if each["kind"] in kinds]


def of_component(values: str, component: str, kind: str) -> list[Object]:
    label = "app.kubernetes.io/component"
    return [each for each in of_kind(values, kind) if each["metadata"]["labels"][label] == component]


def environment(container: Object) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def settings_of(container: Object) -> Settings:
    """Load the settings as the container does, its files with something in them."""
    return load_settings(environment(container), lambda path: TOLD.get(Path(path).name, "secret"))


def chosen(selector: Object, values: str) -> list[Object]:
    """Return the pods that a selector of labels chooses."""
    pods = [pod for each in named(values) if (pod := pod_of(each)) is not None]
    return [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]


def written(tmp_path: Path, values: str) -> Path:
    file = tmp_path / "values.yaml"
    file.write_text(values)
    return file


@pytest.mark.parametrize(("values", "version"), [*((each, "1.37") for each in VALUES), ("full", OLDEST)])
def test_each_object_is_what_kubernetes_takes(values: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strictly: a field that is not known fails."""
    monkeypatch.setattr(kubernetes_schemas, "schema_contents", cache(kubernetes_schemas.schema_contents))
    for each in named(values):
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_oldest_kubernetes_is_the_one_that_the_chart_names() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]


@pytest.mark.parametrize("values", VALUES)
def test_everything_is_there_once_and_nothing_but_waybill(values: str) -> None:
    names = Counter((each["kind"], each["metadata"]["name"]) for each in named(values))
    assert {count for _, count in names.most_common()} == {1}
    assert {re.split("[:@]", container["image"])[0] for _, container, _ in runs(values)} == {"registry.example/waybill"}
    kinds = {each["kind"] for each in named(values)}
    assert kinds & {"Secret", "ServiceAccount", "ClusterRole", "Role"} == set()


@pytest.mark.parametrize("values", VALUES)
def test_nobody_is_root_or_writes_outside_the_volumes(values: str) -> None:
    for _, container, pod in runs(values):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(volume.keys() & {"emptyDir", "projected"} for volume in pod["volumes"])
    assert "uid 10001" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("values", VALUES)
def test_everybody_has_limits(values: str) -> None:
    for _, container, _ in runs(values):
        for bound in ("requests", "limits"):
            assert container["resources"][bound].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("values", VALUES)
def test_a_service_is_looked_at_by_its_own_ports(values: str) -> None:
    """What restarts it is /healthz alone, which a halted partition does not change."""
    for component, container, _ in runs(values):
        probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
        if component not in SERVICES:
            assert not probes
            continue
        paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
        assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        names = {port["name"] for port in container["ports"]}
        assert {probe["httpGet"]["port"] for probe in probes.values()} <= names
        admin = {
            "ingest": "ingest_admin_port",
            "processor": "processor_admin_port",
            "reconcile": "reconcile_admin_port",
            "console": "console_port",
        }[component]
        settings = settings_of(container)
        listened = {getattr(settings, admin), *([settings.ingest_port] if component == "ingest" else [])}
        assert {port["containerPort"] for port in container["ports"]} == listened
        assert getattr(settings, "console_host" if component == "console" else "admin_host") == "0.0.0.0"


@pytest.mark.parametrize("values", VALUES)
def test_each_name_is_a_setting_and_together_they_hold(values: str) -> None:
    for component, container, pod in runs(values):
        told = environment(container)
        assert unknown_settings(told) == ()
        assert all(name.startswith(PREFIX) for name in told)
        settings = settings_of(container)
        if component == "console":
            assert contradictions(settings) == []
        # For each service Kubernetes would set a variable such as WAYBILL_INGEST_PORT, which is a setting.
        assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("values", VALUES)
def test_secrets_are_files_and_the_door_has_no_database(values: str) -> None:
    for component, container, pod in runs(values):
        told = environment(container)
        assert not {f"{PREFIX}{name}" for name in secret_settings()} & told.keys()
        assert all("valueFrom" not in each for each in container["env"])
        assert "envFrom" not in container
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        held = {
            f"{mounts[volume['name']]['mountPath']}/{item['path']}"
            for volume in pod["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
            for item in (source.get("secret") or source["configMap"])["items"]
        }
        files = {value for name, value in told.items() if name.endswith(("_FILE", "_CAFILE"))}
        assert files <= held
        assert {path for path in held if path.startswith(SECRETS)} <= files
        assert (f"{SECRETS}DATABASE_URL" in held) == (component != "ingest")


@pytest.mark.parametrize("values", VALUES)
def test_what_is_run_are_commands_of_ours(values: str) -> None:
    ran: dict[str, list[str]] = {}
    for component, container, _ in runs(values):
        assert "command" not in container, "the image's own"
        command_line().parse_args(container["args"])
        ran.setdefault(component, []).append(" ".join(container["args"]))
    assert ran["setup"] == ["migrate", "topics apply"]
    assert {component: set(words) for component, words in ran.items() if component != "setup"} == {
        component: {ONCE.get(component, component)} for component in ran if component != "setup"
    }


def test_the_door_has_no_database_even_where_it_is_given_one(tmp_path: Path) -> None:
    given = "accounts: [{name: main, account: '', secrets: {DATABASE_URL: {secret: a, key: b}}}]"
    rendered = render(CHART / "ci" / "minimal-values.yaml", written(tmp_path, given))
    assert "DATABASE_URL" not in rendered["ingest.yaml"]


def test_each_account_has_a_door_and_one_who_asks() -> None:
    for component in ("ingest", "reconcile"):
        kind = "StatefulSet" if component == "ingest" else "Deployment"
        found = of_component("full", component, kind)
        accounts = [settings_of(each["spec"]["template"]["spec"]["containers"][0]).account for each in found]
        assert accounts == ["jkt", "bal"]
    assert all(each["spec"]["replicas"] == 1 for each in of_component("full", "reconcile", "Deployment"))
    couriers = [
        settings_of(each["spec"]["template"]["spec"]["containers"][0]).couriers_on
        for each in of_component("full", "ingest", "StatefulSet")
    ]
    assert couriers == [("kiriminaja",), ("dash",)]


@pytest.mark.parametrize("values", VALUES)
def test_a_door_keeps_its_spool_and_drains_it_before_it_ends(values: str) -> None:
    for each in of_kind(values, "StatefulSet"):
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (claim,) = each["spec"]["volumeClaimTemplates"]
        (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == claim["metadata"]["name"])
        assert str(settings_of(container).ingest_spool_dir).startswith(f"{mount['mountPath']}/")
        assert set(each["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
        shell, flag, script = container["lifecycle"]["preStop"]["exec"]["command"]
        slept, waited = re.fullmatch(r"sleep (\d+); waybill (spool wait --seconds \d+)", script).groups()  # type: ignore[union-attr]
        seconds = command_line().parse_args(waited.split()).seconds
        assert (shell, flag) == ("sh", "-c")
        assert pod["terminationGracePeriodSeconds"] >= int(slept) + seconds + LAST_RESORT_SECONDS


@pytest.mark.parametrize("values", VALUES)
def test_a_spool_fits_on_its_volume(values: str) -> None:
    for each in of_kind(values, "StatefulSet"):
        (claim,) = each["spec"]["volumeClaimTemplates"]
        gibibytes = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
        limit = settings_of(each["spec"]["template"]["spec"]["containers"][0]).ingest_spool_max_bytes
        assert gibibytes << 30 >= 2 * limit


@pytest.mark.parametrize("values", VALUES)
def test_who_ends_has_the_time_it_takes(values: str) -> None:
    for component, _, pod in runs(values):
        if component != "setup":
            assert pod["terminationGracePeriodSeconds"] > LAST_RESORT_SECONDS


@pytest.mark.parametrize("values", VALUES)
def test_one_processor_goes_before_another_comes(values: str) -> None:
    (processor,) = of_component(values, "processor", "Deployment")
    assert processor["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    for component in ("processor", "ingest"):
        for budget in of_component(values, component, "PodDisruptionBudget"):
            assert budget["spec"]["maxUnavailable"] == 1
            assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
            (pod,) = chosen(budget["spec"]["selector"]["matchLabels"], values)
            (spread,) = pod["spec"]["topologySpreadConstraints"]
            assert spread["topologyKey"] == "kubernetes.io/hostname"
            assert chosen(spread["labelSelector"]["matchLabels"], values) == [pod]


@pytest.mark.parametrize("values", VALUES)
def test_selectors_choose_one_kind_of_pod_and_ports_are_there(values: str) -> None:
    for each in of_kind(values, "Deployment", "StatefulSet"):
        assert chosen(each["spec"]["selector"]["matchLabels"], values) == [each["spec"]["template"]]
    for service in of_kind(values, "Service"):
        (pod,) = chosen(service["spec"]["selector"], values)
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for each in of_kind(values, "StatefulSet"):
        assert each["spec"]["serviceName"] in {
            service["metadata"]["name"]
            for service in of_kind(values, "Service")
            if service["spec"].get("clusterIP") == "None"
        }


def test_migrations_come_before_everything() -> None:
    (job,) = of_kind("minimal", "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    first = job["spec"]["template"]["spec"]["initContainers"]
    assert [container["args"] for container in first] == [["migrate"]]


@pytest.mark.parametrize("values", ["full", "proxy"])
def test_the_policy_of_the_first_pod_is_there_before_it_and_goes_with_it(values: str) -> None:
    """What is no hook comes after the hooks: where nothing goes out by default, the Job would reach nobody."""
    (policy,) = of_component(values, "setup", "NetworkPolicy")
    (job,) = of_kind(values, "Job")
    told, of_job = policy["metadata"]["annotations"], job["metadata"]["annotations"]
    assert told["helm.sh/hook"] == of_job["helm.sh/hook"]
    assert int(told["helm.sh/hook-weight"]) < int(of_job.get("helm.sh/hook-weight", "0"))
    # Helm forgets a hook: one that stayed would rule the next Job by the ports of before.
    assert told["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert [each for each in of_kind(values, "NetworkPolicy") if "annotations" in each["metadata"]] == [policy]


def unchangeable(rendered: list[Object]) -> dict[tuple[str, str], Object]:
    """Return by kind and name what Kubernetes refuses to change in an object that is there."""
    kept: dict[tuple[str, str], Object] = {}
    for each in rendered:
        spec = each["spec"]
        if each["kind"] == "StatefulSet":
            names = spec.keys() - {"replicas", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy"}
        else:
            names = {"Deployment": {"selector"}, "Service": {"clusterIP"}}.get(each["kind"], set()) & spec.keys()
        kept[each["kind"], each["metadata"]["name"]] = {name: spec[name] for name in names}
    return kept


def test_an_upgrade_changes_nothing_that_kubernetes_refuses_to_change(tmp_path: Path) -> None:
    """The spool's size alone is such a value, and the page says how it grows all the same."""
    minimal = CHART / "ci" / "minimal-values.yaml"
    changed = """
image: {tag: "9.9.9"}
settings: {RETENTION: 30d}
nodeSelector: {disk: fast}
certificates: {kafka: {secret: a, key: b}}
ingest: {replicas: 5, drainSeconds: 9, settings: {LOG_LEVEL: DEBUG}}
processor: {replicas: 5}
networkPolicy: {enabled: true}
"""
    before = unchangeable(objects(render(minimal)))
    after = unchangeable(objects(render(minimal, written(tmp_path, changed))))
    assert before.items() <= after.items()
    for each in of_kind("minimal", "StatefulSet"):
        assert [claim["metadata"] for claim in each["spec"]["volumeClaimTemplates"]] == [{"name": "spool"}]
    larger = unchangeable(objects(render(minimal, written(tmp_path, "ingest: {spool: {size: 4Gi}}"))))
    ((kind, name),) = [key for key, kept in before.items() if larger[key] != kept]
    page = (ROOT / "docs" / "deploying.md").read_text()
    assert f"kubectl delete {kind.lower()} {name} --cascade=orphan" in page
    assert f"kubectl patch pvc spool-{name}-0 " in page


@pytest.mark.parametrize("values", VALUES)
def test_the_second_phase_waits_for_somebody_who_starts_it(values: str) -> None:
    """By the same role and settings as the first. Nothing but `kubectl create job` makes a pod of it."""
    (cron,) = of_component(values, "after", "CronJob")
    assert cron["metadata"]["name"] == AFTER
    assert cron["spec"]["suspend"] is True
    assert cron["spec"]["schedule"] == "0 0 31 2 *", "a day that never comes, should somebody lift the suspension"
    assert "helm.sh/hook" not in cron["metadata"].get("annotations", {})
    (job,) = of_kind(values, "Job")
    first, after = job["spec"]["template"], cron["spec"]["jobTemplate"]["spec"]["template"]
    (migrate,), (second,) = first["spec"]["initContainers"], after["spec"]["containers"]
    assert second == migrate | {"args": ["migrate", "--after"]}
    assert after["spec"]["volumes"] == first["spec"]["volumes"]


def test_the_notes_and_the_page_say_how_the_second_phase_is_started() -> None:
    notes = render(CHART / "ci" / "minimal-values.yaml")["NOTES.txt"]
    for told in (notes, (ROOT / "docs" / "deploying.md").read_text()):
        assert f"create job --from=cronjob/{AFTER} {AFTER}-1" in told


def test_retention_comes_once_a_day_and_never_twice_at_once() -> None:
    (cron,) = of_component("full", "retention", "CronJob")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", cron["spec"]["schedule"])
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert of_component("proxy", "retention", "CronJob") == []


@pytest.mark.parametrize("values", ["full", "proxy"])
def test_each_pod_has_one_network_policy_and_what_is_open_is_a_port_of_it(values: str) -> None:
    policies = of_kind(values, "NetworkPolicy")
    met: Counter[str] = Counter()
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        for pod in chosen(policy["spec"]["podSelector"]["matchLabels"], values):
            (container,) = pod["spec"]["containers"]
            met[container["name"] + pod["metadata"]["labels"].get("waybill/account", "")] += 1
            opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
            assert opened == {port["name"] for port in container.get("ports", ())}
    assert set(met.values()) == {1}
    assert len(met) == len([each for each in named(values) if pod_of(each)])


def test_the_door_reaches_no_database_and_only_the_asker_the_internet() -> None:
    reached = {
        policy["metadata"]["name"].removeprefix("waybill-"): {
            port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]
        }
        for policy in of_kind("full", "NetworkPolicy")
    }
    assert reached["ingest"] == {53, 9093}
    assert [name for name, ports in reached.items() if 443 in ports] == ["reconcile"]
    assert [name for name, ports in reached.items() if 5432 not in ports] == ["ingest"]


def test_the_door_and_the_processor_alone_send_spans(tmp_path: Path) -> None:
    endpoint = "http://collector.example:4318"
    given = written(
        tmp_path,
        f"opentelemetry: {{OTEL_EXPORTER_OTLP_ENDPOINT: '{endpoint}'}}\nnetworkPolicy: {{tracePorts: [4318]}}\n",
    )
    told, reach = set(), set()
    for each in objects(render(CHART / "ci" / "full-values.yaml", given)):
        component = each["metadata"]["labels"].get("app.kubernetes.io/component")
        if (pod := pod_of(each)) is not None:
            for container in pod["spec"]["containers"]:
                if environment(container).get("OTEL_EXPORTER_OTLP_ENDPOINT") == endpoint:
                    told.add(component)
        elif (
            each["kind"] == "NetworkPolicy" and {"protocol": "TCP", "port": 4318} in each["spec"]["egress"][0]["ports"]
        ):
            reach.add(component)
    assert told == reach == {"ingest", "processor"}


def test_whoever_may_come_in_is_named() -> None:
    for policy in of_kind("full", "NetworkPolicy"):
        assert all(rule["from"] for rule in policy["spec"]["ingress"])
    assert all("from" not in rule for each in of_kind("proxy", "NetworkPolicy") for rule in each["spec"]["ingress"])


def test_prometheus_finds_each_service_under_the_name_that_rules_know() -> None:
    jobs = {}
    for monitor in of_kind("full", "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        (relabeling,) = endpoint["relabelings"]
        selector = monitor["spec"]["selector"]["matchLabels"]
        services = [
            service
            for service in of_kind("full", "Service")
            if selector.items() <= service["metadata"]["labels"].items()
            and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        ]
        pods = [pod for service in services for pod in chosen(service["spec"]["selector"], "full")]
        jobs[relabeling["replacement"]] = {pod["spec"]["containers"][0]["name"] for pod in pods}
        assert len(services) == len(pods) == (2 if "waybill-reconcile" in relabeling.values() else len(pods))
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs == {each["job_name"]: {each["job_name"].removeprefix("waybill-")} for each in scraped}


def test_the_alerts_are_those_of_the_rules_and_lead_to_ones_own_copy() -> None:
    (rule,) = of_kind("full", "PrometheusRule")
    prefix = "https://git.example/waybill/"
    assert rule["spec"] == yaml.safe_load(RULES.read_text().replace("docs/runbook.md", f"{prefix}docs/runbook.md"))
    assert of_kind("minimal", *CUSTOM) == []


def test_names_are_short_enough_for_any_release(tmp_path: Path) -> None:
    values = written(tmp_path, "accounts: [{name: an-account-long-name, account: x}]")
    minimal = CHART / "ci" / "minimal-values.yaml"
    for each in objects(render(minimal, values, release="a-release-with-a-name-of-53-characters-as-helm-allows")):
        longest = 52 if each["kind"] in {"StatefulSet", "CronJob"} else 63
        assert len(each["metadata"]["name"]) <= longest
        assert not each["metadata"]["name"].endswith("-")


def test_the_notes_lead_to_each_door() -> None:
    notes = render(CHART / "ci" / "full-values.yaml")["NOTES.txt"]
    for account in ("jakarta", "bali"):
        assert f"http://waybill-ingest-{account}.shop:8080/webhooks/" in notes
    assert "no courier is on" in render(CHART / "ci" / "proxy-values.yaml")["NOTES.txt"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ("image: {tag: latest}", "/image/tag"),
        ("image: {repository: ''}", "repository"),
        ("settings: {KAFKA_BOOTSTRAP_SERVERS: ''}", "KAFKA_BOOTSTRAP_SERVERS"),
        ("settings: {TOPIC_PREFFIX: shop.}", "TOPIC_PREFFIX"),
        ("settings: {DATABASE_URL: 'postgresql://u:p@h/d'}", "DATABASE_URL"),
        ("settings: {TOPIC_PARTITIONS: 12}", "TOPIC_PARTITIONS"),
        ("processor: {settings: {PROCESSOR_ADMIN_PORT: '1'}}", "PROCESSOR_ADMIN_PORT"),
        ("secrets: {DATABASE_URL: 'postgresql://u:p@h/d'}", "DATABASE_URL"),
        ("opentelemetry: {OTEL_EXPORTER_OTLP_HEADERS: 'key=secret'}", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("opentelemetry: {PATH: '/'}", "PATH"),
        ("secrets: {LOG_LEVEL: {secret: a, key: b}}", "LOG_LEVEL"),
        ("secrets: null", "needs the secret DATABASE_URL"),
        ("accounts: []", "accounts"),
        ("accounts: [{name: Main, account: ''}]", "Main"),
        ("processor: {resources: {limits: null}}", "limits"),
        ("processor: {replica: 3}", "replica"),
        ("console: {enabled: true}", "needs the secret CONSOLE_USERS"),
        (
            "console: {enabled: true, replicas: 2, secrets: {CONSOLE_USERS: {secret: a, key: b}}}",
            "need the secret CONSOLE_SESSION_KEY",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(values: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=why):
        render(CHART / "ci" / "minimal-values.yaml", written(tmp_path, values))


def test_every_setting_is_given_or_kept_somewhere() -> None:
    assert declared().keys() >= SET_BY_THE_CHART
    assert not SET_BY_THE_CHART & secret_settings()


def test_the_charts_own_values_are_sets_that_are_tried() -> None:
    assert {file.name.removesuffix("-values.yaml") for file in (CHART / "ci").iterdir()} == set(VALUES)


def test_a_lookup_needs_a_cluster_so_there_is_none() -> None:
    templates: list[Any] = list((CHART / "templates").iterdir())
    assert not [path.name for path in templates if "lookup " in path.read_text()]
