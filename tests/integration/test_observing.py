"""Prometheus watches a whole system through the stories: every panel of every dashboard has something to show."""

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
import pytest
import yaml

from cli.demo.scenario import load_stories, play
from cli.demo.surroundings import surroundings
from deploy.dashboards import DASHBOARDS
from devstack.ports import HOST, free_ports
from tests.children import environ_with
from tests.expressions import RANGE
from tests.integration.test_up import environ, up
from tests.waiting import until

__all__ = ["environ"]

RULES: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
QUERIES: Final = [query.expr for each in DASHBOARDS for panel in each.panels for query in panel.queries]

LOOK_BACK: Final = "10s"
"""What Grafana would put in for a scrape each second."""

SHOWN_SECONDS: Final = 60.0
"""Two scrapes of each process behind the stories, which take two seconds; and a machine that is busy."""

TRACKING: Final = {
    "WAYBILL_DASH_API_URL": "http://127.0.0.1:9",
    "WAYBILL_DASH_CLIENT_KEY": "key",
    "WAYBILL_DASH_CLIENT_SECRET": "secret",
}
"""A courier that nobody asks: nothing is due."""

SECRETS: Final = {"WAYBILL_DASH_SECRETS": "for-dash-in-this-test", "WAYBILL_KIRIMINAJA_TOKENS": "for-kiriminaja"}


class Prometheus:
    """A Prometheus that runs, asked by its API."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self._api = f"http://{HOST}:{port}/api/v1/query"
        self._session = session

    async def ask(self, expr: str) -> list[Any]:
        """Return the series of an expression as it is now; none while Prometheus starts."""
        try:
            async with self._session.post(self._api, data={"query": expr.replace(RANGE, LOOK_BACK)}) as answer:
                found = await answer.json()
        except aiohttp.ClientConnectionError:
            return []
        assert found["status"] == "success", (expr, found)
        series: list[Any] = found["data"]["result"]
        return series


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, int]) -> AsyncIterator[Prometheus]:
    """Run Prometheus with our rules, scraping each job's port every second."""
    if (program := shutil.which("prometheus")) is None:
        pytest.skip("prometheus is not installed (Debian's package of that name): no panel is asked")
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for job, port in targets.items()
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (port,) = free_ports(1)
    with (folder / "prometheus.log").open("w") as log:
        process = psutil.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={HOST}:{port}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            yield Prometheus(port, session)
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def reconciling(settings: Mapping[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "reconcile", "--courier", "dash"), env=environ_with(settings)
    )
    try:
        yield
        assert process.returncode is None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def post_the_stories(settings: Mapping[str, str]) -> int:
    """Post every webhook of the stories as fast as the door takes them. Return how many items they have at least."""
    around = surroundings(
        settings,
        kafka_bootstrap_servers=settings["WAYBILL_KAFKA_BOOTSTRAP_SERVERS"],
        database_url=settings["WAYBILL_DATABASE_URL"],
        is_free=lambda _: True,
        free_port=lambda: 0,
    )
    webhooks = play(load_stories(), "watched", datetime.now(UTC), None).webhooks
    async with aiohttp.ClientSession() as session:
        for webhook in webhooks:
            courier = webhook.story.courier
            url = f"{around.door}/webhooks/{courier}"
            async with session.post(url, data=webhook.body, headers=around.headers(courier)) as answer:
                assert answer.status == 200, await answer.text()
    return len(webhooks)


async def test_every_panel_shows_a_real_system(environ: dict[str, str], tmp_path: Path) -> None:
    settings = environ | SECRETS | TRACKING | {"WAYBILL_RECONCILE_ADMIN_PORT": str(free_ports(1)[0])}
    targets = {
        f"waybill-{name}": int(settings[f"WAYBILL_{name.upper()}_ADMIN_PORT"])
        for name in ("ingest", "processor", "reconcile")
    }
    targets["waybill-console"] = int(settings["WAYBILL_CONSOLE_PORT"])
    async with prometheus(tmp_path, targets) as watching, up(settings, tmp_path, "--no-samples") as run:
        await run.until("Ctrl-C")
        async with reconciling(settings):
            posted = await post_the_stories(settings)

            async def all_is_seen() -> bool:
                jobs = await watching.ask("up == 1")
                applied = await watching.ask("sum(waybill_processor_observations_total)")
                seen = len(jobs) == len(targets) and bool(applied) and float(applied[0]["value"][1]) >= posted
                return seen and bool(await watching.ask("max(waybill_processor_counted_timestamp_seconds) > 0"))

            await until(all_is_seen, SHOWN_SECONDS)
            left = set(QUERIES)

            async def all_is_shown() -> bool:
                left.difference_update([expr for expr in left if await watching.ask(expr)])
                return not left

            try:
                await until(all_is_shown, SHOWN_SECONDS)
            except TimeoutError:
                pytest.fail(f"these panels stay empty: {sorted(left)}")
            for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
                assert await watching.ask(f"count({rule['expr']}) or vector(0)")
            (unassigned,) = await watching.ask(
                "max(waybill_processor_raw_partitions) - sum(waybill_processor_assigned_partitions)"
            )
            assert unassigned["value"][1] == "0"
            late = "WaybillProcessDown"  # reconcile was started last
            assert not await watching.ask(f'ALERTS{{alertstate="firing", alertname!="{late}"}}')
    assert not re.search("Traceback", run.text)
