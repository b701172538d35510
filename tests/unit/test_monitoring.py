"""Rules, their stories, the runbook and the dashboards name what is there: metrics, labels, headings, commands."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from cli.main import command_line
from deploy.dashboards import DASHBOARDS
from tests.expressions import RECORDED, unknown_in
from tests.unit.test_docs import anchors

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RULES: Final = [
    rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
STORIES: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))
JSON: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOK: Final = ROOT / "docs" / "runbook.md"
QUERIES: Final = [query.expr for each in DASHBOARDS for panel in each.panels for query in panel.queries]

PROMTOOL_SECONDS: Final = 120.0


@pytest.mark.parametrize("expr", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_every_expression_names_what_the_processes_show(expr: str) -> None:
    assert unknown_in(expr) == []


@pytest.mark.parametrize(
    ("expr", "unknown"),
    [
        ("waybill_processor_claims", ["waybill_processor_claims"]),
        ('waybill_ingest_requests_total{status="503"}', ["waybill_ingest_requests_total{status='503'}"]),
        ('waybill_ingest_requests_total{code="418"}', ["waybill_ingest_requests_total{code='418'}"]),
        ("sum by (topic) (waybill_processor_lag_records)", ["topic"]),
    ],
)
def test_it_can_tell(expr: str, unknown: list[str]) -> None:
    assert unknown_in(expr) == unknown


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        unknown_in("sum by (")


def test_what_is_recorded_is_known() -> None:
    assert {rule["record"] for rule in RULES if "record" in rule} == RECORDED.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_goes_by_age_and_leads_into_the_runbook(name: str) -> None:
    rule = ALERTS[name]
    assert "lag_records" not in rule["expr"], "how many wait is no alarm"
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (ROOT / path, anchor) == (RUNBOOK, name.lower())
    assert anchor in anchors(RUNBOOK)


def sections() -> dict[str, str]:
    """Return what the runbook says, by its headings."""
    _, *parts = re.split(r"(?m)^## (.+)$", RUNBOOK.read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    assert sections().keys() == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_a_section_says_what_it_means_how_to_look_and_what_mends_it(name: str) -> None:
    text = sections()[name]
    for heading in ("**Means.**", "**Look.**", "**Mend.**"):
        assert heading in text
    mend = text.partition("**Mend.**")[2]
    assert "`" in mend, "a command, or a setting"


def test_the_runbook_names_commands_that_there_are() -> None:
    """With arguments that they take: the parser itself ends the test where it does not know one."""
    parser = command_line()
    named = {" ".join(command.split()) for command in re.findall(r"`waybill ([^`]+)`", RUNBOOK.read_text())}
    assert len(named) > 10
    for command in named:
        given = {"P:O": "3:17", "JOB": "a-job", "TEXT": "why"}
        parser.parse_args([given.get(word, word) for word in command.split()])


def test_each_alert_has_a_story_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    told: dict[str, set[bool]] = {name: set() for name in ALERTS}
    for story in (each for file in STORIES for each in yaml.safe_load(file.read_text())["tests"]):
        for asked in story["promql_expr_test"]:
            alert = re.search(r'alertname="(\w+)"', asked["expr"])
            assert alert, asked
            told[alert[1]].add(bool(asked["exp_samples"]))
    assert [name for name, seen in told.items() if seen != {True, False}] == []


def promtool(*arguments: str) -> None:
    if (tool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian's package prometheus): no alert's stories are played")
    done = subprocess.run(
        [tool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=PROMTOOL_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_the_rules_and_the_settings() -> None:
    promtool("check", "rules", "rules.yml")
    promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("story", STORIES, ids=lambda file: file.stem)
def test_the_alerts_fire_in_their_stories_and_in_no_others(story: Path) -> None:
    promtool("test", "rules", str(story))


@pytest.mark.parametrize("file", JSON, ids=lambda file: file.stem)
def test_a_dashboard_is_what_grafana_takes(file: Path) -> None:
    dashboard: dict[str, Any] = msgspec.json.decode(file.read_text())
    assert dashboard["uid"] == file.stem
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)), "no panel lies upon another"
    assert max(x for x, _ in taken) < 24


def test_each_dashboard_is_committed_and_no_other() -> None:
    assert {file.stem for file in JSON} == {each.name for each in DASHBOARDS}
